"""A scalar reward model: a language model with a head of one number, as Bradley and Terry have it.

P(first preferred) = σ(r(first) − r(second)): transitive. Whatever is compared, every response is
scored once. For the models that transformers calls sequence classifiers with one label: FsfairX,
Skywork-Reward and their like.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PrivateAttr

from harness.config import Component
from harness.errors import PolicyError
from harness.files import folder_digest
from harness.models import load_tokenizer
from harness.oracles.rows import Row, in_batches
from harness.oracles.weights import load_with_head
from harness.protocols import Advance
from harness.shape import Shape
from harness.types import Comparison, Policy, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Item = tuple[Prompt, str]


class RewardModel(Component):
    """P(first preferred) from the difference of two rewards."""

    transitive: ClassVar[bool] = True
    name: str
    path: str
    revision: str | None = None
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    max_length: int = Field(4096, gt=0)
    """Longer conversations, in tokens, lose their beginning."""
    batch_size: int = Field(8, gt=0, exclude=True)
    """Conversations in memory at once."""
    shape: Shape | None = Field(default=None, exclude=True)
    """How large it is, for estimates."""
    _known: dict[tuple[str, str], float] = PrivateAttr(default_factory=dict)

    def fingerprint(self) -> str | None:
        """Return a folder's content digest; None for a hub id, which its revision identifies."""
        return folder_digest(Path(self.path)) if Path(self.path).is_dir() else None

    def sizes(self) -> Shape | None:
        """Return the model's sizes, where the configuration tells."""
        return self.shape

    def tokens(self, prompt: int, response: int, k: int, comparisons: int) -> int:
        """Return how many tokens it reads: every response once."""
        return k * (prompt + response)

    def compare(self, comparisons: Sequence[Comparison], advance: Advance) -> list[float]:
        """Return P(first preferred to second), in [0, 1]; `advance` counts responses.

        Raises:
            PolicyError: the model cannot be used or has no head of one number.
        """
        items = [(c.prompt, text) for c in comparisons for text in (c.first, c.second)]
        rewards = self.score(items, advance)
        return [sigmoid(a - b) for a, b in zip(rewards[::2], rewards[1::2], strict=True)]

    def score(self, responses: Sequence[Item], advance: Advance) -> list[float]:
        """Return the reward of each response to its prompt, in nats; `advance` counts new ones.

        Raises:
            PolicyError: the model cannot be used or has no head of one number.
        """
        items = {key(item): item for item in responses if key(item) not in self._known}
        if items:
            self._ask(items, advance)
        return [self._known[key(item)] for item in responses]

    def _ask(self, items: dict[tuple[str, str], Item], advance: Advance) -> None:
        policy = Policy(self.name, self.path, self.revision)
        tokenizer = load_tokenizer(policy)
        model = load_with_head(policy, "AutoModelForSequenceClassification", self.dtype)
        if model.config.num_labels != 1:
            raise PolicyError(f"{self.path} has {model.config.num_labels} labels: no scalar reward")
        rows = [conversation(tokenizer, *item)[-self.max_length :] for item in items.values()]
        size = self.batch_size if model.config.pad_token_id is not None else 1
        asked = list(items)
        answers = in_batches(rows, size, lambda part: rewards_of(model, part), len)
        for place, reward in answers:
            self._known[asked[place]] = reward
            advance(1)


def key(item: Item) -> tuple[str, str]:
    """Return what a response is known by."""
    return item[0].id, item[1]


def conversation(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, response: str) -> Row:
    """Render a whole conversation in the reward model's own template.

    The tokenizer adds its special tokens; a beginning-of-text that the template has already written
    is taken off before, so that there is one.
    """
    turns = [{"role": m.role, "content": m.content} for m in prompt.messages]
    turns.append({"role": "assistant", "content": response})
    text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    row: Row = tokenizer(text.removeprefix(tokenizer.bos_token or ""))["input_ids"]
    return row


def rewards_of(model: PreTrainedModel, rows: Sequence[Row]) -> list[float]:
    """Return the reward of every row, in nats.

    Padded on the right with the model's own padding, from which it knows a row's last token.
    """
    import torch

    width = max(len(row) for row in rows)
    pad = model.config.pad_token_id or 0
    ids = torch.tensor([list(row) + [pad] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    with torch.inference_mode():
        logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits[
            :, 0
        ]
    told: list[float] = logits.float().tolist()
    return told


def sigmoid(value: float) -> float:
    """Return 1 / (1 + exp(−value)); neither end overflows."""
    if value < 0:
        return 1 - sigmoid(-value)
    return 1 / (1 + math.exp(-value))
