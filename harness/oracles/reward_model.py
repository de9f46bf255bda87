"""A Bradley-Terry reward model: a language model with a scalar head.

P(first preferred) = σ(r(first) − r(second)), which is transitive; every response is scored once.
For models that transformers loads as sequence classifiers with one label: FsfairX, Skywork-Reward
and similar ones. The head reads the last token that is not the padding token, as transformers'
classes do: where the padding token also ends a turn, that is a token of the response. When a model
is loaded, its own `logits` on two conversations are compared with ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PrivateAttr

from harness.core.hub import load_tokenizer
from harness.errors import PolicyError
from harness.oracles.hidden_states import StateRequest, TokenRow, hidden_states
from harness.oracles.weights import OracleWeights, load_with_head, render_turns
from harness.protocols import Advance
from harness.types import Comparison, Message, Policy, Prompt

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PromptResponse = tuple[Prompt, str]
PROBE_PROMPT = Prompt("probe", (Message("user", "What is two and two?"),))
PROBE = (
    (PROBE_PROMPT, "Four."),
    (PROBE_PROMPT, "It is five, I think: one, two, three, four, five"),
)
"""Conversations on which our rewards are compared with the model's own when it is loaded."""
TOLERANCE = {"float32": 0.01, "bfloat16": 0.25}
"""The largest difference, as a share of the spread of the head's outputs over a row's tokens."""
ROUNDING = 1e-4
"""The same in nats, for a head that gives every token the same."""


class RewardModel(OracleWeights):
    """P(first preferred) from the difference of two rewards."""

    result_version: ClassVar[int] = 2
    """2: the token that the model's own forward reads, also where padding ends a turn."""
    transitive: ClassVar[bool] = True
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    max_length: int = Field(4096, gt=1)
    """Tokens of a conversation; the beginning of a longer one is cut off."""
    micro_tokens: int = Field(8192, gt=0, exclude=True)
    """Tokens per batch; a longer conversation forms a batch alone."""
    _rewards: dict[tuple[str, str], float] = PrivateAttr(default_factory=dict)

    def tokens(self, prompt: int, response: int, k: int, comparisons: int) -> int:
        """Return the tokens of the forward passes: every response once."""
        return k * (prompt + response)

    def compare(self, comparisons: Sequence[Comparison], advance: Advance) -> list[float]:
        """Return P(first preferred to second), in [0, 1]; `advance` counts responses.

        Raises:
            PolicyError: the model cannot be used or has no scalar head.
        """
        items = [(c.prompt, text) for c in comparisons for text in (c.first, c.second)]
        rewards = self.score(items, advance)
        return [sigmoid(a - b) for a, b in zip(rewards[::2], rewards[1::2], strict=True)]

    def score(self, responses: Sequence[PromptResponse], advance: Advance) -> list[float]:
        """Return the reward of each response to its prompt, in nats; `advance` counts new ones.

        Raises:
            PolicyError: the model cannot be used or has no scalar head.
        """
        items = {
            response_key(item): item
            for item in responses
            if response_key(item) not in self._rewards
        }
        if items:
            self._score_new(items, advance)
        return [self._rewards[response_key(item)] for item in responses]

    def _score_new(self, items: dict[tuple[str, str], PromptResponse], advance: Advance) -> None:
        tokenizer, model = self.load_cached(self._load)
        keys = list(items)
        requests = [self._state_request(tokenizer, model, item) for item in items.values()]
        for index, state in hidden_states(model, requests, self.micro_tokens):
            self._rewards[keys[index]] = reward(model, state[0])
            advance(1)

    def _load(self, policy: Policy) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
        tokenizer = load_tokenizer(policy)
        model = load_with_head(policy, "AutoModelForSequenceClassification", self.dtype)
        if model.config.num_labels != 1 or not hasattr(model, "score"):
            labels = model.config.num_labels
            raise PolicyError(f"{self.path} has {labels} labels per sequence: no scalar reward")
        requests = [self._state_request(tokenizer, model, item) for item in PROBE]
        check_rewards(self.path, model, requests)
        return tokenizer, model

    def _state_request(
        self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, item: PromptResponse
    ) -> StateRequest:
        row = conversation(tokenizer, *item)[-self.max_length :]
        return StateRequest(row, item[0].id, (scored_position(model, row),))


def scored_position(model: PreTrainedModel, row: TokenRow) -> int:
    """Return the token that the head reads: the last that is not the model's padding token."""
    padding = model.config.get_text_config().pad_token_id
    if padding is None:
        return len(row) - 1
    return max((i for i, token in enumerate(row) if token != padding), default=0)


def check_rewards(path: str, model: PreTrainedModel, requests: Sequence[StateRequest]) -> None:
    """Compare our rewards with the model's own on some conversations.

    Args:
        path: the model's path, for the error.
        model: a sequence classifier with one label, in evaluation mode.
        requests: the conversations, and the token that we read of each.

    Raises:
        PolicyError: they differ.
    """
    expected = [own_reward(model, request.row) for request in requests]  # before we pack
    ours = {index: reward(model, state[0]) for index, state in hidden_states(model, requests, 1)}
    for index, (own, spread) in enumerate(expected):
        if not abs(ours[index] - own) <= TOLERANCE[dtype_name(model)] * spread + ROUNDING:
            raise PolicyError(
                f"{path} scores a conversation with {own:.4g}, and its head on the last token that "
                f"is no padding gives {ours[index]:.4g}: it pools in another way, and cannot be "
                "used; name another reward model, or set the pad token of its config.json"
            )


def own_reward(model: PreTrainedModel, row: TokenRow) -> tuple[float, float]:
    """Return the model's own reward of a row, and the spread of its head over the row's tokens."""
    import torch

    ids = torch.tensor([list(row)], device=model.device)
    with torch.inference_mode():
        states = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        spread = model.score(states).float().std()
        return float(model(input_ids=ids).logits.squeeze()), float(spread)


def dtype_name(model: PreTrainedModel) -> str:
    """Return a model's dtype as configurations write it."""
    return str(model.dtype).removeprefix("torch.")


def response_key(item: PromptResponse) -> tuple[str, str]:
    """Return the cache key of a response: prompt id, text."""
    return item[0].id, item[1]


def conversation(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, response: str) -> TokenRow:
    """Render a whole conversation in the reward model's own template.

    The tokenizer adds its special tokens; a beginning-of-text token that the template wrote is
    removed first, so that the row has one.
    """
    text = render_turns(tokenizer, [*prompt.messages, Message("assistant", response)])
    row: TokenRow = tokenizer(text.removeprefix(tokenizer.bos_token or ""))["input_ids"]
    return row


def reward(model: PreTrainedModel, state: Tensor) -> float:
    """Return the head's output for the state of a conversation's last token, shape (width,)."""
    import torch

    with torch.inference_mode():
        return float(model.score(state).squeeze(-1))


def sigmoid(value: float) -> float:
    """Return 1 / (1 + exp(−value)); neither end overflows."""
    if value < 0:
        return 1 - sigmoid(-value)
    return 1 / (1 + math.exp(-value))
