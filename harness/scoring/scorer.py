"""Log-probabilities of token rows, for training, for anchors and for oracles alike.

Exactly the sampled tokens are scored: no text is tokenised again, and a response includes its
end-of-turn token. Since one code scores the policy in training and the frozen ones, objectives'
margins are exactly 0 where these agree.
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
"""Two small rows on which packed log-probabilities are compared with the model's own."""
TOLERANCE_NATS = 1e-3
"""Largest difference on the probe; for unsupported architectures it is several nats."""


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
        self.backend = backend or choose_backend(model.device, self.dtype, _head_width(model))
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
        return token_logps(hidden, weight, bias, packed.targets, self._head_settings())

    def _entropies(self, packed: PackedBatch) -> Tensor:
        packed = packed.to(self.model.device)
        hidden = self.hidden(packed)[packed.predictors]
        return token_entropies(hidden, *self._head_weights(), self._head_settings())

    def compile_layers(self) -> Scorer:
        """Compile every layer but its attention, in place."""
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
    """Round a model's weights in place, as sharding does; its buffers stay."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(getattr(torch, dtype))
    return model


def check_architecture(model: PreTrainedModel) -> None:
    """Compare a model's packed log-probabilities with those of its own code, on a small probe.

    The model is in evaluation mode afterwards. The check finds attention that bypasses
    transformers' interface, and heads that do more than multiply. The model's own code is run with
    eager attention: others leave out what they do not support, such as Gemma 2's cap on scores.

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
            f"{type(model).__name__} is not supported: its log-probabilities of packed rows differ "
            f"from its own by {difference:.3g} nats"
        )


def _head_width(model: PreTrainedModel) -> int:
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
