"""The one place where token rows become numbers: for training, for anchors, for oracles.

Exactly the tokens that were sampled are scored; nothing is tokenised again, and a response's
end-of-turn token counts as part of it. Live and frozen log-probabilities come from the same code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harness.errors import PolicyError
from harness.scoring import attention
from harness.scoring.attention import choose_backend
from harness.scoring.head import Head, token_entropies, token_logps
from harness.scoring.packing import PackedBatch, pack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROBE_ROWS = (((0, 1, 2), ((3, 1), (2, 0, 1))), ((1, 0), ((2,), (1, 3))))
"""Two small rows on which a model's packed answer is held against its own."""
TOLERANCE_NATS = 1e-3
"""Largest difference in nats on the probe; architectures that do not fit are whole nats apart."""


class Scorer(nn.Module):
    """A model with a head, seen as a function of packed rows.

    A module, so that its weights can be sharded: the head's is used within `forward`.
    """

    model: PreTrainedModel

    def __init__(
        self,
        model: PreTrainedModel,
        dtype: str | None = None,
        backend: attention.Backend | None = None,
    ) -> None:
        """Wrap a model; it computes in its weights' type, softmax and sums in float32.

        Args:
            model: a causal language model, or one with a scalar head.
            dtype: what its weights will be rounded to when it is sharded; None: they stay.
            backend: how attention is computed; None: what fits the device.
        """
        from transformers import AttentionInterface

        super().__init__()
        AttentionInterface.register(attention.NAME, attention.attend)
        self.model = model
        self.dtype = model.dtype if dtype is None else getattr(torch, dtype)
        self.backend = backend or choose_backend(model.device, self.dtype, _head_width(model))
        self.model.set_attn_implementation(attention.NAME)

    def forward(self, packed: PackedBatch, entropy: bool = False) -> Tensor:
        """Return log π(response | prompt) of every sequence, in nats, float32, shape (s,).

        Summed in float64: 300 tokens of 4 nats lose 5e-4 nats in float32. With `entropy` the mean
        entropy at the response tokens instead, in nats a token: one entry for all, since sharded
        weights are whole within this function only.
        """
        if entropy:
            return self._entropies(packed).mean()
        logps = self.token_logps(packed).double()
        sums = logps.new_zeros(packed.sequences)
        return sums.index_add(0, packed.sequence_ids.to(logps.device), logps).float()

    def token_logps(self, packed: PackedBatch) -> Tensor:
        """Return the log-probability of every response token, in nats, float32, shape (m,)."""
        packed = packed.to(self.model.device)
        hidden = self.hidden(packed)[packed.predictors]
        weight, bias = self._head_weights()
        return token_logps(hidden, weight, bias, packed.targets, self._head_settings())

    def _entropies(self, packed: PackedBatch) -> Tensor:
        packed = packed.to(self.model.device)
        hidden = self.hidden(packed)[packed.predictors]
        return token_entropies(hidden, *self._head_weights(), self._head_settings())

    def compile_layers(self) -> Scorer:
        """Have every layer compiled, in place; attention stays as it is."""
        for layer in self.model.base_model.layers:
            layer.compile(dynamic=True)
        return self

    def hidden(self, packed: PackedBatch) -> Tensor:
        """Return the last hidden states of a pack on the model's device, shape (n, width)."""
        out: Any = self.model.base_model(
            input_ids=packed.token_ids,
            position_ids=packed.positions,
            use_cache=False,
            packed=attention.build_layout(packed, self.backend),
        )
        states: Tensor = out.last_hidden_state[0]
        return states

    def _head_weights(self) -> tuple[Tensor, Tensor | None]:
        head: Any = self.model.get_output_embeddings()
        return head.weight, head.bias

    def _head_settings(self) -> Head:
        return Head(getattr(self.model.config, "final_logit_softcapping", None))


def round_weights(model: PreTrainedModel, dtype: str) -> PreTrainedModel:
    """Round a frozen model's weights, in place, as a sharded one's are; buffers stay."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(getattr(torch, dtype))
    return model


def check_architecture(model: PreTrainedModel) -> None:
    """Hold a model's packed log-probabilities against those of its own code, on a small probe.

    Leaves the model in evaluation mode. It catches attention that does not go through transformers'
    interface, and heads that do more than multiply. Its own code is the eager one: others leave
    out what they cannot do, such as the cap on Gemma 2's attention scores.

    Raises:
        PolicyError: they differ; the model cannot be trained packed.
    """
    implementation = model.eval().config._attn_implementation
    with torch.inference_mode():
        packed_logps = Scorer(model, backend="rows")(pack(PROBE_ROWS))
        model.set_attn_implementation("eager")
        unpacked_logps = torch.stack(
            [
                _unpacked_logp(model, prompt, response)
                for prompt, responses in PROBE_ROWS
                for response in responses
            ]
        )
    model.set_attn_implementation(implementation)
    difference = float((packed_logps - unpacked_logps).abs().max())
    if not difference <= TOLERANCE_NATS:
        raise PolicyError(
            f"{type(model).__name__} gives log-probabilities {difference:.3g} nats away from its own "
            "when rows are packed: this architecture is not supported by the optimiser"
        )


def _head_width(model: PreTrainedModel) -> int:
    """Return the width of an attention head."""
    config: Any = model.config.get_text_config()
    width: int = (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    return width


def _unpacked_logp(
    model: PreTrainedModel, prompt: tuple[int, ...], response: tuple[int, ...]
) -> Tensor:
    ids = torch.tensor([[*prompt, *response]], device=model.device)
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
    targets = ids[0, len(prompt) :, None]
    return torch.log_softmax(logits, -1).gather(-1, targets).sum()
