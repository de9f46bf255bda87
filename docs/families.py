"""The table of architectures in docs/training.md; `python docs/families.py` writes it.

Of each family a model of two layers with random weights is scored packed and by transformers' own
code. A test checks that the page has the computed table.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from harness.errors import PolicyError
from harness.scoring.scorer import check_architecture

PAGE = Path(__file__).with_name("training.md")
BLOCK = re.compile(r"(<!-- computed: families -->\n\n)(.*?)(\n<!-- end -->)", re.DOTALL)
SIZES = {
    **{"vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0},
    **{"max_position_embeddings": 256, "eos_token_id": 1, "bos_token_id": 1},
    **{"n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 48, "n_positions": 256},
    **{"num_local_experts": 2, "num_experts": 2, "num_experts_per_tok": 1, "ffn_dim": 48},
    **{"moe_intermediate_size": 16, "word_embed_proj_dim": 32, "query_pre_attn_scalar": 8},
    **{"intermediate_size_mlp": 48},
}
"""By the names of several families; a model takes those that its configuration has."""
WINDOW = {"sliding_window": 7}
FAMILIES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Apertus": ("apertus", {}),
    "Cohere, Command R": ("cohere", {}),
    "Cohere 2": ("cohere2", WINDOW),
    "ERNIE 4.5": ("ernie4_5", {}),
    "EXAONE 4": ("exaone4", WINDOW),
    "Gemma": ("gemma", {}),
    "Gemma 2": ("gemma2", WINDOW),
    "Gemma 3": ("gemma3_text", WINDOW),
    "GLM 4": ("glm4", {}),
    "GPT-2": ("gpt2", {}),
    "Granite": ("granite", {}),
    "Llama": ("llama", {}),
    "Mistral": ("mistral", WINDOW),
    "Mixtral": ("mixtral", {}),
    "Nemotron": ("nemotron", {}),
    "OLMo 2": ("olmo2", {}),
    "OLMo 3": ("olmo3", WINDOW),
    "OPT": ("opt", {}),
    "Phi-3, Phi-4": ("phi3", WINDOW),
    "Qwen 2": ("qwen2", {}),
    "Qwen 3": ("qwen3", {}),
    "Qwen 3 MoE": ("qwen3_moe", {}),
    "SmolLM 3": ("smollm3", {}),
    "StarCoder 2": ("starcoder2", WINDOW),
    "BLOOM": ("bloom", {}),
    "gpt-oss": ("gpt_oss", WINDOW),
    "Mamba": ("mamba", {}),
    "Phi-3.5 MoE": ("phimoe", WINDOW),
    "StableLM": ("stablelm", {}),
}
"""A name, transformers' name of the model's type, and settings of its own."""


def tiny_model(kind: str, settings: Mapping[str, Any]) -> transformers.PreTrainedModel:
    """Return a model of two layers with random weights, far from uniform, so that errors show."""
    config_class = type(transformers.AutoConfig.for_model(kind))
    known = config_class()
    sizes = {name: value for name, value in SIZES.items() if hasattr(known, name)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: transformers.PreTrainedModel = transformers.AutoModelForCausalLM.from_config(
            config_class(**{**sizes, **settings})
        )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def outcome(kind: str, settings: Mapping[str, Any]) -> str:
    """Return the power of ten above the largest difference in nats, or why it is refused."""
    try:
        difference = check_architecture(tiny_model(kind, settings))
    except PolicyError as error:
        reason = re.split(r" by | \(", str(error).partition("supported: ")[2])[0]
        return f"refused: {reason}"
    return next(f"below {bound}" for bound in ("1e-4", "1e-3") if difference < float(bound))


def rows() -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| family | `model_type` | probed | largest difference, nats, float32 |"
    yield "|---|---|---|---|"
    for name, (kind, settings) in FAMILIES.items():
        probed = "with a window of 7" if settings else ""
        yield f"| {name} | `{kind}` | {probed} | {outcome(kind, settings)} |"


def page_table() -> str:
    """Return the table that the page has now."""
    (match,) = BLOCK.finditer(PAGE.read_text("utf-8"))
    return match[2]


def write() -> None:
    """Compute the table and write it into the page."""
    table = "\n".join(rows()) + "\n"
    text = BLOCK.sub(lambda match: match[1] + table + match[3], PAGE.read_text("utf-8"))
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(write())
