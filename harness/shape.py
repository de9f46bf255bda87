"""How large a model is, without its weights: what a plan needs to know."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from harness.config import Component


class Shape(Component):
    """The sizes of a transformer with gated feed-forward layers, as Llama and its kin have them."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    vocabulary: int
    head_size: int | None = None
    """None: hidden / heads."""
    tied: bool = False
    """Whether the head is the embedding."""

    @property
    def linear(self) -> dict[str, tuple[int, int]]:
        """A layer's linear maps by the names that Llama's code has for them: inputs, outputs."""
        size = self.head_size or self.hidden // self.heads
        all_heads, shared_heads = self.heads * size, self.key_value_heads * size
        return {
            "self_attn.q_proj": (self.hidden, all_heads),
            "self_attn.k_proj": (self.hidden, shared_heads),
            "self_attn.v_proj": (self.hidden, shared_heads),
            "self_attn.o_proj": (all_heads, self.hidden),
            "mlp.gate_proj": (self.hidden, self.intermediate),
            "mlp.up_proj": (self.hidden, self.intermediate),
            "mlp.down_proj": (self.intermediate, self.hidden),
        }

    @property
    def layer(self) -> int:
        """Parameters of a layer: attention, feed-forward, two norms."""
        return sum(given * made for given, made in self.linear.values()) + 2 * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters."""
        embedding = self.vocabulary * self.hidden
        return embedding * (1 if self.tied else 2) + self.layers * self.layer + self.hidden


@runtime_checkable
class Shaped(Protocol):
    """What can tell how large its model is."""

    def sizes(self) -> Shape | None:
        """Return the model's sizes; None where they are not known."""


@runtime_checkable
class Priced(Shaped, Protocol):
    """An oracle that can tell how much it reads."""

    def tokens(self, prompt: int, response: int, k: int, comparisons: int) -> int:
        """Return how many tokens it reads to compare k responses to a prompt so often.

        Args:
            prompt: the prompt's length, in tokens.
            response: a response's mean length, in tokens.
            k: how many responses there are.
            comparisons: how many comparisons are asked.
        """
