"""Policies as people have them: loaded whole or refused, saved whatever lies beside the weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.core.hub import (
    end_token_ids,
    load_model,
    load_tokenizer,
    render_conversation,
    save_policy,
    template_end_token_id,
)
from harness.errors import PolicyError
from harness.types import Message, Policy


@pytest.fixture
def folder(tiny_policy: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_policy, tmp_path / "policy"))


def policy(folder: Path) -> Policy:
    return Policy("policy", str(folder))


def change(path: Path, **keys: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def rename(folder: Path, new_name) -> None:
    weights = load_file(folder / "model.safetensors")
    renamed = {new_name(name): tensor for name, tensor in weights.items()}
    renamed.pop("", None)
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})


def resaved(folder: Path, out: Path) -> Path:
    model = load_model(policy(folder), torch.float32, "cpu")
    save_policy(model, load_tokenizer(policy(folder)), out, policy(folder))
    return out


def test_weights_that_lack_a_tensor_are_refused_not_filled_at_random(folder):
    rename(folder, lambda name: "" if "layers.1.mlp.up_proj" in name else name)
    with pytest.raises(PolicyError, match=r"lack 1 of the model's tensors .*up_proj"):
        load_model(policy(folder), torch.float32, "cpu")


def test_weights_under_other_names_are_refused_with_the_names(folder):
    rename(folder, lambda name: f"module.{name}")
    with pytest.raises(PolicyError, match=r"lack .* but holds module\."):
        load_model(policy(folder), torch.float32, "cpu")


def test_a_generation_config_that_cannot_be_saved_costs_no_weights(folder, tmp_path, caplog):
    change(folder / "generation_config.json", temperature=0.6, do_sample=False)
    out = resaved(folder, tmp_path / "out")
    assert "generation config cannot be saved" in caplog.text
    saved = json.loads((out / "generation_config.json").read_text())
    assert saved["temperature"] == 0.6
    weights = [load_file(path / "model.safetensors") for path in (folder, out)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_saved_policy_keeps_the_keys_that_older_versions_read(folder, tmp_path):
    change(folder / "config.json", rope_parameters={"rope_type": "default", "rope_theta": 5e5})
    config = json.loads((resaved(folder, tmp_path / "out") / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 5e5
    assert config["torch_dtype"] == "float32"


def test_a_turn_ends_with_the_token_that_the_template_ends_it_with(folder):
    tokenizer = load_tokenizer(policy(folder))
    words = [word for word in tokenizer.get_vocab() if word.isalpha()]
    end = words[0]
    tokenizer.add_special_tokens({"additional_special_tokens": [end]})
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }} " + end + " {% endfor %}"
    token = tokenizer.convert_tokens_to_ids(end)
    assert template_end_token_id(tokenizer) == token
    assert token in end_token_ids(tokenizer, str(folder))
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }} {% endfor %}"
    assert template_end_token_id(tokenizer) is None
    load_tokenizer.__globals__["_load_tokenizer"].cache_clear()  # the changed one is not kept


def test_end_tokens_of_the_model_count_where_there_is_no_generation_config(folder):
    (folder / "generation_config.json").unlink()
    change(folder / "config.json", eos_token_id=[3, 5])
    assert {3, 5} <= set(end_token_ids(load_tokenizer(policy(folder)), str(folder)))


def test_a_template_that_refuses_a_role_is_refused_in_one_line(folder):
    (folder / "chat_template.jinja").write_text(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    )
    messages = (Message("system", "be brief"), Message("user", "hello"))
    with pytest.raises(PolicyError, match=r"roles system, user \(no system role\)"):
        render_conversation(load_tokenizer(policy(folder)), messages)
