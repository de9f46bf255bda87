"""A Bradley-Terry reward model: a language model with a scalar head.

P(first preferred) = σ(r(first) − r(second)), which is transitive; every response is scored once.
For models that transformers loads as sequence classifiers with one label: FsfairX, Skywork-Reward
and similar ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PrivateAttr

from harness.core.hub import load_tokenizer
from harness.errors import PolicyError
from harness.oracles.hidden_states import StateRequest, TokenRow, hidden_states
from harness.oracles.weights import OracleWeights, load_with_head
from harness.protocols import Advance
from harness.types import Comparison, Policy, Prompt

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PromptResponse = tuple[Prompt, str]


class RewardModel(OracleWeights):
    """P(first preferred) from the difference of two rewards."""

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
        requests = [self._state_request(tokenizer, item) for item in items.values()]
        for index, state in hidden_states(model, requests, self.micro_tokens):
            self._rewards[keys[index]] = reward(model, state[0])
            advance(1)

    def _load(self, policy: Policy) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
        tokenizer = load_tokenizer(policy)
        model = load_with_head(policy, "AutoModelForSequenceClassification", self.dtype)
        if model.config.num_labels != 1 or not hasattr(model, "score"):
            labels = model.config.num_labels
            raise PolicyError(f"{self.path} has {labels} labels per sequence: no scalar reward")
        return tokenizer, model

    def _state_request(
        self, tokenizer: PreTrainedTokenizerBase, item: PromptResponse
    ) -> StateRequest:
        row = conversation(tokenizer, *item)[-self.max_length :]
        return StateRequest(row, item[0].id, (len(row) - 1,))


def response_key(item: PromptResponse) -> tuple[str, str]:
    """Return the cache key of a response: prompt id, text."""
    return item[0].id, item[1]


def conversation(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, response: str) -> TokenRow:
    """Render a whole conversation in the reward model's own template.

    The tokenizer adds its special tokens; a beginning-of-text token that the template wrote is
    removed first, so that the row has one.
    """
    turns = [m.as_dict() for m in prompt.messages]
    turns.append({"role": "assistant", "content": response})
    text = str(tokenizer.apply_chat_template(turns, tokenize=False))
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
