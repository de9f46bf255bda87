"""Policies without a pretrained model: a small Llama and its tokenizer, trained on instructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from harness.core.config import Component, identity
from harness.core.hardware import ModelShape
from harness.core.hub import end_token_ids, load_tokenizer, render_conversation, save_policy
from harness.core.lean_transformers import import_generation
from harness.core.seeds import derive
from harness.core.stages import Node, Stage, scratch_directory
from harness.protocols import InstructionCorpus
from harness.scoring import packing
from harness.scoring.scorer import Scorer
from harness.training import trainer
from harness.training.checkpoints import Checkpoints
from harness.training.metrics import AlarmMonitor
from harness.training.optimisers import OptimiserSettings
from harness.training.tracking import TrainingLog
from harness.training.trainer import BatchPlan, LossOutput, Trainer
from harness.types import Message, Policy, Track

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SPECIAL_TOKENS = ("<pad>", "<unk>", "<|user|>", "<|assistant|>", "<|end|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|> {{ m.content }} <|end|> {% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


class FineTunedPolicy(Component):
    """A Llama of these sizes, initialised from the seed and fine-tuned on the texts."""

    name: str
    texts: InstructionCorpus
    optimiser: OptimiserSettings
    hidden: int
    layers: int
    heads: int
    intermediate: int
    context: int = 64
    """Longest sequence, in tokens."""
    seed: int = 0

    def sizes(self) -> ModelShape:
        """Return the model's sizes."""
        return ModelShape(
            layers=self.layers,
            hidden=self.hidden,
            intermediate=self.intermediate,
            heads=self.heads,
            key_value_heads=self.heads,
            vocabulary=len(SPECIAL_TOKENS) + len(self.texts.words()),
            tied=True,
        )

    def weights(self) -> Node:
        """Return the stage that trains the weights."""
        return Stage(
            name="fine-tune",
            version=4,
            config=identity(self),
            inputs={},
            run=partial(fine_tune, self),
            label=f"{self.name} · fine-tune",
            size=f"{self.optimiser.batch} texts a step",
            device=True,
        )

    def with_weights(self, path: str) -> Policy:
        """Return the policy with the weights at `path`."""
        return Policy(self.name, path)


def fine_tune(recipe: FineTunedPolicy, out: Path, inputs: Mapping[str, str], track: Track) -> None:
    """Initialise the weights, minimise −log π(answer | instruction), and save them."""
    model = initialize_model(recipe)
    save_policy(model, build_word_tokenizer(recipe.texts.words()), out)
    tokenizer = load_tokenizer(saved := Policy(recipe.name, str(out)))
    end = end_token_ids(tokenizer, saved)[0]
    rows = tokenize_examples(tokenizer, recipe.texts.examples(), end)
    settings, scorer = recipe.optimiser, Scorer(model.train())

    def loss(items: Sequence[int]) -> LossOutput:
        return -scorer(packing.pack([rows[i] for i in items])), {}

    steps = trainer.batch_order(len(rows), settings.batch, recipe.seed, settings.epochs)
    plan = BatchPlan(steps, [packing.row_size(row) for row in rows])
    directory, config = scratch_directory(out), identity(recipe)
    checkpoints = Checkpoints(directory, config, settings.checkpoint_minutes, settings.checkpoints)
    log = TrainingLog(directory, AlarmMonitor(), settings.tracker)
    label = f"{recipe.name} · fine-tune"
    with log.open(label, config), track(label, len(steps)) as advance:
        Trainer(scorer, settings, plan, loss, log, checkpoints).run(advance)
    save_policy(model, tokenizer, out)
    log.save(out)


def initialize_model(recipe: FineTunedPolicy) -> PreTrainedModel:
    """Return a Llama with random weights that the recipe's seed determines."""
    import_generation()
    from transformers import LlamaConfig, LlamaForCausalLM

    ids = {word: i for i, word in enumerate(SPECIAL_TOKENS)}
    config = LlamaConfig(
        vocab_size=len(SPECIAL_TOKENS) + len(recipe.texts.words()),
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


def build_word_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerBase:
    """Return a word-level tokenizer for these words, with a chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate((*SPECIAL_TOKENS, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    hf_tokenizer: PreTrainedTokenizerBase = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<|end|>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
    return hf_tokenizer


def tokenize_examples(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[tuple[str, str]], end: int
) -> list[packing.Row]:
    """Return one row an example: the prompt, and the answer with its end-of-turn token."""
    answers = tokenizer([answer for _, answer in examples], add_special_tokens=False)["input_ids"]
    return [
        (render_conversation(tokenizer, [Message("user", text)]).token_ids, ((*answer, end),))
        for (text, _), answer in zip(examples, answers, strict=True)
    ]
