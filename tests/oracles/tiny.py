"""Tiny models of the oracles' architectures with random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from harness.core.hub import save_policy
from harness.training.sft import build_word_tokenizer
from harness.types import Comparison, Message, Prompt

WORDS = ("<s>", "one", "two", "three", "four", "five", "USER:", "ASSISTANT:")
TEXTS = ["one", "two two", "three one four five", "five four three two one"]
PROMPT = Prompt("p", (Message("user", "one two three"),))
SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


def all_pairs(texts: list[str] = TEXTS) -> list[Comparison]:
    return [Comparison(PROMPT, a, b) for i, a in enumerate(texts) for b in texts[i + 1 :]]


def tokenizer(*, bos: bool = False, template: str = ""):
    """A tokenizer of whole words; with `bos` it begins every text with <s>."""
    from tokenizers.processors import TemplateProcessing

    words = build_word_tokenizer(WORDS)
    if template:
        words.chat_template = template + words.chat_template
    if bos:
        words.bos_token = "<s>"
        ids = [("<s>", words.convert_tokens_to_ids("<s>"))]
        words.backend_tokenizer.post_processor = TemplateProcessing("<s> $A", special_tokens=ids)
    return words


def saved(kind: str, path: Path, words=None, **settings) -> str:
    """Write a Llama of transformers' class `kind` with random weights."""
    import transformers

    words = words or tokenizer()
    config = transformers.LlamaConfig(
        vocab_size=len(words), pad_token_id=words.pad_token_id, **SIZES, **settings
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(transformers, kind)(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
    save_policy(model, words, path)
    return str(path)
