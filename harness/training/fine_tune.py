"""A policy made from nothing: a small Llama with a tokenizer of its own, fine-tuned on text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from harness.config import Component, identity
from harness.models import end_ids, load_tokenizer, render, save
from harness.runs import Node, Stage, scratch
from harness.scoring import packing
from harness.scoring.scorer import Scorer
from harness.seeds import derive
from harness.shape import Shape
from harness.training import order
from harness.training.alarms import Watch
from harness.training.checkpoints import Checkpoints
from harness.training.log import Log
from harness.training.loop import Part, Plan, Trainer
from harness.training.optimisers import Optimiser
from harness.types import Message, Policy, Track

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SPECIAL = ("<pad>", "<unk>", "<|user|>", "<|assistant|>", "<|end|>")
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|> {{ m.content }} <|end|> {% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@runtime_checkable
class Texts(Protocol):
    """Instructions with answers."""

    def examples(self) -> list[tuple[str, str]]:
        """Return (instruction, answer) pairs."""
        ...

    def words(self) -> list[str]:
        """Return every word that the texts can hold."""
        ...


class FineTuned(Component):
    """A recipe: a Llama of these sizes, initialised from the seed, fine-tuned on the texts."""

    name: str
    texts: Texts
    optimiser: Optimiser
    hidden: int
    layers: int
    heads: int
    intermediate: int
    context: int = 64
    """Longest sequence, in tokens."""
    seed: int = 0

    def sizes(self) -> Shape:
        """Return the model's sizes."""
        return Shape(
            layers=self.layers,
            hidden=self.hidden,
            intermediate=self.intermediate,
            heads=self.heads,
            key_value_heads=self.heads,
            vocabulary=len(SPECIAL) + len(self.texts.words()),
            tied=True,
        )

    def weights(self) -> Node:
        """Return the stage that makes the weights."""
        return Stage(
            name="fine-tune",
            version=2,
            config=identity(self),
            inputs={},
            make=partial(fine_tune, self),
            label=f"{self.name} · fine-tune",
            size=f"{self.optimiser.batch} texts a step",
            device=True,
        )

    def at(self, path: str) -> Policy:
        """Return the policy whose weights lie at `path`."""
        return Policy(self.name, path)


def fine_tune(recipe: FineTuned, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Make the weights: initialise, minimise −log π(answer | instruction), save."""
    model = initialised(recipe)
    save(model, tokenizer_of(recipe.texts.words()), out)
    tokenizer = load_tokenizer(Policy(recipe.name, str(out)))
    rows = tokenised(tokenizer, recipe.texts.examples(), end_ids(tokenizer, str(out))[0])
    settings, scorer = recipe.optimiser, Scorer(model.train())

    def loss(items: Sequence[int]) -> Part:
        return -scorer(packing.pack([rows[i] for i in items])), {}

    steps = order.steps(len(rows), settings.batch, recipe.seed, settings.epochs)
    plan = Plan(steps, [packing.size(row) for row in rows])
    place = scratch(out)
    kept = Checkpoints(place, identity(recipe), settings.checkpoint_minutes, settings.checkpoints)
    log, label = Log(place, Watch(), settings.track), f"{recipe.name} · fine-tune"
    with log.open(label, identity(recipe)), track(label, len(steps)) as advance:
        Trainer(scorer, settings, plan, loss, log, kept).run(advance)
    save(model, tokenizer, out)
    log.keep(out)


def initialised(recipe: FineTuned) -> PreTrainedModel:
    """Return a Llama with random weights that depend on the recipe's seed only."""
    from transformers import LlamaConfig, LlamaForCausalLM

    ids = {word: i for i, word in enumerate(SPECIAL)}
    config = LlamaConfig(
        vocab_size=len(SPECIAL) + len(recipe.texts.words()),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.intermediate,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        pad_token_id=ids["<pad>"],
        bos_token_id=None,
        eos_token_id=ids["<|end|>"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(derive(recipe.seed, "initialise"))
        model: PreTrainedModel = LlamaForCausalLM(config)
    return model


def tokenizer_of(words: Sequence[str]) -> PreTrainedTokenizerBase:
    """Return a tokenizer that knows exactly these words, with a chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast: PreTrainedTokenizerBase = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<|end|>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
    return fast


def tokenised(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[tuple[str, str]], end: int
) -> list[packing.Row]:
    """Return (prompt, answer with its end-of-turn token) rows."""
    answers = tokenizer([answer for _, answer in examples], add_special_tokens=False)["input_ids"]
    return [
        (render(tokenizer, [Message("user", text)]).token_ids, ((*answer, end),))
        for (text, _), answer in zip(examples, answers, strict=True)
    ]
