"""Model folders that transformers 4.5x reads too: the keys that it needs, beside version 5's own.

What 4.5x does with each key was tried with 4.51.3 and 4.57.1: from these folders both give the
log-probabilities of version 5, for Llama 3 and 3.1, Mistral, Qwen 2 and 3, Gemma 2 and 3, OLMo 2,
StableLM, Phi 3, Granite and GPT-2.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import transformers

from harness.core.hub import load_tokenizer, save_policy
from harness.core.portable_models import copy_policy, portable_config, portable_tokenizer_config
from harness.errors import PolicyError
from harness.types import Policy

LLAMA31 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def test_plain_rotary_constants_are_where_version_4_looks():
    config = {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}
    portable = portable_config({**config, "dtype": "bfloat16"})
    assert (portable["rope_theta"], portable["rope_scaling"]) == (500000.0, None)
    assert (portable["dtype"], portable["torch_dtype"]) == ("bfloat16", "bfloat16")
    assert portable["rope_parameters"] == config["rope_parameters"]


def test_scaled_rotary_constants_keep_their_kind_and_factors():
    portable = portable_config({"rope_parameters": LLAMA31})
    assert portable["rope_theta"] == 500000.0
    assert portable["rope_scaling"] == {k: v for k, v in LLAMA31.items() if k != "rope_theta"}


def test_partial_rotary_factors_and_layers_of_two_kinds_are_distinguished():
    partial = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25}
    assert portable_config({"rope_parameters": partial})["partial_rotary_factor"] == 0.25
    gemma3 = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    portable = portable_config({"text_config": {"rope_parameters": gemma3}})["text_config"]
    assert portable["rope_theta"] == 1e6
    assert portable["rope_local_base_freq"] == 1e4
    assert portable["rope_scaling"] == {"rope_type": "linear", "factor": 8.0}


def test_a_configuration_of_version_4_stays_as_it_is():
    config = {"rope_theta": 1e6, "rope_scaling": None, "torch_dtype": "float32"}
    assert portable_config(config) == config


def test_a_tokenizer_has_the_class_and_the_special_tokens_of_version_4():
    config = {
        "tokenizer_class": "TokenizersBackend",
        "backend": "tokenizers",
        "is_local": True,
        "extra_special_tokens": ["<|user|>"],
        "eos_token": "<|end|>",
    }
    assert portable_tokenizer_config(config) == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "additional_special_tokens": ["<|user|>"],
        "eos_token": "<|end|>",
    }
    model_own = {"tokenizer_class": "Qwen2Tokenizer", "extra_special_tokens": {"image": "<image>"}}
    assert portable_tokenizer_config(model_own) == model_own


def test_a_copied_policy_holds_the_models_files_alone_and_answers_alike(tiny_policy, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    copy_policy(Path(tiny_policy), tmp_path / "copy")
    names = {path.name for path in (tmp_path / "copy").iterdir()}
    assert names == {
        *("config.json", "generation_config.json", "model.safetensors"),
        *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
    }
    config = json.loads((tmp_path / "copy/config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"]
    tokenizer_config = json.loads((tmp_path / "copy/tokenizer_config.json").read_text())
    assert tokenizer_config["chat_template"] == (tmp_path / "copy/chat_template.jinja").read_text()
    readings = []
    for path in (tiny_policy, tmp_path / "copy"):
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(path, trust_remote_code=False)
        ids = tokenizer("<|user|> smallest <|end|>", return_tensors="pt").input_ids
        readings.append((ids.tolist(), model(ids).logits.tolist()))
    assert readings[0] == readings[1]
    assert (tmp_path / "copy/model.safetensors").stat().st_mode & 0o444  # a colleague can read it


def test_what_would_be_read_otherwise_is_refused(tiny_policy, tmp_path, monkeypatch):
    shutil.copytree(tiny_policy, tmp_path / "source")
    monkeypatch.setattr(
        "harness.core.portable_models.portable_config", lambda config: {**config, "hidden_size": 8}
    )
    with pytest.raises(PolicyError, match="would be read otherwise"):
        copy_policy(tmp_path / "source", tmp_path / "copy")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(PolicyError, match="it has no config.json"):
        copy_policy(tmp_path, tmp_path / "copy")


OLDER = os.environ.get("HARNESS_OLDER_TRANSFORMERS", "")
"""A folder for PYTHONPATH: `pip install --no-deps --target DIR transformers==4.57.1
tokenizers==0.22.1 huggingface_hub==0.36.0`."""
READER = """
import json, sys, torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
path = sys.argv[1]
model = AutoModelForCausalLM.from_pretrained(path).eval()
tokenizer = AutoTokenizer.from_pretrained(path)
turns = [{"role": "user", "content": "sort the list"}]
text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
ids = torch.arange(200)[None] * 7 % model.config.vocab_size
with torch.no_grad():
    logps = model(ids).logits.log_softmax(-1)[0, :, 3].double().tolist()
print(json.dumps({
    "version": transformers.__version__, "text": text, "ids": tokenizer(text)["input_ids"],
    "end": model.generation_config.eos_token_id, "logps": logps}))
"""


def read_with(folder: Path, packages: str) -> dict:
    environment = {**os.environ, "PYTHONPATH": packages, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", READER, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not OLDER, reason="HARNESS_OLDER_TRANSFORMERS names no folder with 4.57")
@pytest.mark.parametrize("family", ["LlamaForCausalLM", "Qwen3ForCausalLM"])
def test_a_saved_policy_is_read_alike_by_an_older_version(tmp_path, tiny_policy, family):
    source, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(tiny_policy, source)
    start = Policy("p", str(source), end_tokens=("<pad>",))
    tokenizer = load_tokenizer(start)
    config = getattr(transformers, family).config_class(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=16384,
        rope_parameters=LLAMA31,
        initializer_range=0.3,
    )
    save_policy(getattr(transformers, family)(config), tokenizer, out, start)
    newer, older = read_with(out, ""), read_with(out, OLDER)
    assert (older["version"][:2], newer["version"][:2]) == ("4.", "5.")
    assert older["logps"] == pytest.approx(newer["logps"], abs=1e-5)
    for what in ("text", "ids", "end"):
        assert older[what] == newer[what]
