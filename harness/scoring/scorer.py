"""Log-probabilities of token rows, for training, for anchors and for oracles alike.

Exactly the sampled tokens are scored: no text is tokenised again, and a response includes its
end-of-turn token. Since one code scores the policy in training and the frozen ones, objectives'
margins are exactly 0 where these agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harness.errors import PolicyError, first_line
from harness.scoring import attention
from harness.scoring.architectures import (
    context_length,
    decoder,
    decoder_layers,
    head_settings,
    head_width,
    windows,
)
from harness.scoring.attention import choose_backend
from harness.scoring.head import token_entropies, token_logps
from harness.scoring.packing import PackedBatch, Row, pack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROBE_ROWS: tuple[Row, ...] = (((0, 1, 2), ((3, 1), (2, 0, 1))), ((1, 0), ((2,), (1, 3))))
"""Two small rows on which packed log-probabilities are compared with the model's own."""
TOLERANCE_NATS = 1e-3
"""Largest difference on the probe; for unsupported architectures it is several nats."""
PROBED_TOKENS = 512
"""Windows of attention below this are always probed, longer ones if rows are longer than they."""


class Scorer(nn.Module):
    """A model with its head, as a function of packed rows.

    It is a module so that its weights can be sharded: the head's weight is used within `forward`.
    """

    model: PreTrainedModel

    def __init__(
        self,
        model: PreTrainedModel,
        dtype: str | None = None,
        backend: attention.Backend | None = None,
    ) -> None:
        """Wrap a model, which computes in the type of its weights, with a float32 softmax.

        Args:
            model: a causal language model, or one with a scalar head.
            dtype: the type of its weights once it is sharded; None: unchanged.
            backend: how attention is computed; None: the fastest for the device.
        """
        from transformers import AttentionInterface

        super().__init__()
        AttentionInterface.register(attention.NAME, attention.attend)
        self.model = model
        self.dtype = model.dtype if dtype is None else getattr(torch, dtype)
        self.backend = backend or choose_backend(model.device, self.dtype, head_width(model.config))
        self.model.set_attn_implementation(attention.NAME)

    def forward(self, packed: PackedBatch, entropy: bool = False) -> Tensor:
        """Return log π(response | prompt) of every sequence, in nats, float32, shape (s,).

        The sum is in float64: over 300 tokens of 4 nats, float32 would lose 5e-4 nats. With
        `entropy`, return the mean entropy at the response tokens instead, in nats per token: both
        are one function because sharded weights are whole within `forward` only.
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
        return token_logps(hidden, weight, bias, packed.targets, head_settings(self.model.config))

    def _entropies(self, packed: PackedBatch) -> Tensor:
        packed = packed.to(self.model.device)
        hidden = self.hidden(packed)[packed.predictors]
        return token_entropies(hidden, *self._head_weights(), head_settings(self.model.config))

    def compile_layers(self) -> Scorer:
        """Compile every layer but its attention, in place."""
        for layer in decoder_layers(self.model):
            layer.compile(dynamic=True)
        return self

    def hidden(self, packed: PackedBatch) -> Tensor:
        """Return the last hidden states of a pack on the model's device, shape (n, width)."""
        out: Any = decoder(self.model)(
            input_ids=packed.token_ids,
            position_ids=packed.positions,
            use_cache=False,
            packed=attention.build_layout(packed, self.backend),
        )
        states: Tensor = out.last_hidden_state[0]
        return states

    def _head_weights(self) -> tuple[Tensor, Tensor | None]:
        head: Any = self.model.get_output_embeddings()
        return head.weight, getattr(head, "bias", None)


def round_weights(model: PreTrainedModel, dtype: str) -> PreTrainedModel:
    """Round a model's weights in place, as sharding does; its buffers stay."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(getattr(torch, dtype))
    return model


def check_architecture(model: PreTrainedModel, longest: int = PROBED_TOKENS) -> float:
    """Compare a model's packed log-probabilities with those of its own code, on a small probe.

    Returns the largest difference, in nats.

    The model is in evaluation mode afterwards. The check finds attention that bypasses
    transformers' interface, windows that are not handed to it, and heads that do more than
    multiply. The model's own code is run with eager attention: others leave out what they do not
    support, such as Gemma 2's cap on scores.

    Args:
        model: a causal language model.
        longest: tokens of the longest row that will be scored; the probe reaches past every window
            of attention below it.

    Raises:
        PolicyError: they differ, or its code cannot be run so; the model cannot be trained packed.
    """
    name = type(model).__name__
    implementation = model.eval().config._attn_implementation
    try:
        difference = _probe_difference(model, probe_rows(model.config, longest))
    except torch.OutOfMemoryError:
        raise
    except _FORWARD_ERRORS as error:
        raise PolicyError(
            f"{name} is not supported: it cannot score packed rows ({first_line(error)})"
        ) from error
    finally:
        model.set_attn_implementation(implementation)
    if not difference <= TOLERANCE_NATS:
        raise PolicyError(
            f"{name} is not supported: its log-probabilities of packed rows differ "
            f"from its own by {difference:.3g} nats"
        )
    return difference


_FORWARD_ERRORS = (
    *(TypeError, ValueError, AttributeError, KeyError, IndexError, AssertionError),
    RuntimeError,  # of shapes
)
"""What a model's code raises where it cannot take packed rows."""


def probe_rows(config: Any, longest: int) -> tuple[Row, ...]:
    """Return rows to compare on; some reach past each window of attention below `longest`."""
    vocabulary = config.get_text_config().vocab_size
    longest = min(longest, context_length(config) or longest)

    def tokens(count: int, first: int) -> tuple[int, ...]:
        return tuple((first + 7 * i) % min(vocabulary, 101) for i in range(count))

    long_rows = [
        (tokens(window + 1, 1), (tokens(4, 2), tokens(6, 3)))
        for window in windows(config)
        if window + 7 <= longest
    ]
    return (*PROBE_ROWS, *long_rows)


def _probe_difference(model: PreTrainedModel, rows: Sequence[Row]) -> float:
    with torch.inference_mode():
        packed_logps = Scorer(model, backend="rows")(pack(rows))
        model.set_attn_implementation("eager")
        unpacked_logps = torch.stack(
            [
                _unpacked_logp(model, prompt, response)
                for prompt, responses in rows
                for response in responses
            ]
        )
    return float((packed_logps - unpacked_logps).abs().max())


def _unpacked_logp(
    model: PreTrainedModel, prompt: Sequence[int], response: Sequence[int]
) -> Tensor:
    ids = torch.tensor([[*prompt, *response]], device=model.device)
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
    targets = ids[0, len(prompt) :, None]
    return torch.log_softmax(logits, -1).gather(-1, targets).sum()
