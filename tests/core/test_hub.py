"""Policies as people have them: loaded whole or refused, saved whatever lies beside the weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jinja2
import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.core.chat_templates import with_arguments
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
    assert token in end_token_ids(tokenizer, policy(folder))
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }} {% endfor %}"
    assert template_end_token_id(tokenizer) is None
    load_tokenizer.__globals__["_load_tokenizer"].cache_clear()  # the changed one is not kept


def test_end_tokens_of_the_model_count_where_there_is_no_generation_config(folder):
    (folder / "generation_config.json").unlink()
    change(folder / "config.json", eos_token_id=[3, 5])
    assert {3, 5} <= set(end_token_ids(load_tokenizer(policy(folder)), policy(folder)))


QWEN3 = """{%- for m in messages %}<|im_start|>{{ m.role }} {{ m.content }} <|im_end|> {% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{%- if enable_thinking is defined and enable_thinking is false %} <think> </think> {% endif %}
{%- endif %}"""
"""Qwen3's template, reduced: thinking is switched off by an empty thought."""


@pytest.fixture
def qwen3(folder: Path) -> Policy:
    """A policy whose template is Qwen3's, without the thinking that it has by default."""
    (folder / "chat_template.jinja").write_text(QWEN3)
    return Policy("policy", str(folder), template_arguments={"enable_thinking": False})


def test_template_arguments_become_part_of_the_template_that_is_saved(qwen3, tmp_path):
    tokenizer = load_tokenizer(qwen3)
    hello = [Message("user", "hello")]
    assert render_conversation(tokenizer, hello).text.endswith("assistant <think> </think> ")
    model = load_model(qwen3, torch.float32, "cpu")
    save_policy(model, tokenizer, tmp_path / "first", qwen3)
    again = Policy("policy", str(tmp_path / "first"), template_arguments=qwen3.template_arguments)
    save_policy(model, load_tokenizer(again), tmp_path / "second", again)
    for folder in ("first", "second"):
        saved = load_tokenizer(policy(tmp_path / folder))
        assert saved.chat_template == tokenizer.chat_template
        assert "<think>" in render_conversation(saved, hello).text
    turns = [hello[0].as_dict()]
    loud = saved.apply_chat_template(
        turns, add_generation_prompt=True, tokenize=False, enable_thinking=True
    )
    assert "<think>" not in loud


def test_template_arguments_may_be_any_plain_data():
    template = "{{ messages }}{{ date_string }}{{ options.depth + options.names[1] }}{{ off }}"
    arguments = {"date_string": 'a "b" é😀', "options": {"depth": 1, "names": [0, 2]}, "off": None}
    text = with_arguments(template, arguments, "p")
    assert jinja2.Template(text).render(messages="m") == 'ma "b" é😀3None'
    assert with_arguments(text, arguments, "p") == text
    assert with_arguments({"default": template}, {"off": 1}, "p")["default"].endswith(template)


def test_an_argument_that_the_template_never_reads_is_refused_with_those_that_it_reads(qwen3):
    wrong = Policy("policy", qwen3.path, template_arguments={"thinking": False})
    with pytest.raises(PolicyError, match=r"never reads thinking; it reads enable_thinking$"):
        load_tokenizer(wrong)
    with pytest.raises(PolicyError, match="never reads messages"):
        with_arguments(QWEN3, {"messages": 1}, "p")
    with pytest.raises(PolicyError, match="cannot be parsed"):
        with_arguments("{% if %}", {"x": 1}, "p")


def test_end_tokens_that_the_policy_names_count_and_are_saved(folder, tmp_path):
    word = next(word for word in load_tokenizer(policy(folder)).get_vocab() if word.isalpha())
    ended = Policy("policy", str(folder), end_tokens=(word,))
    tokenizer = load_tokenizer(ended)
    token = tokenizer.convert_tokens_to_ids(word)
    assert end_token_ids(tokenizer, ended) == tuple(
        sorted({token, *end_token_ids(tokenizer, policy(folder))})
    )
    save_policy(load_model(ended, torch.float32, "cpu"), tokenizer, tmp_path / "out", ended)
    saved = policy(tmp_path / "out")
    assert end_token_ids(load_tokenizer(saved), saved) == end_token_ids(tokenizer, ended)
    with pytest.raises(PolicyError, match=r"has no token '<\|eot\|>'; its special tokens are "):
        load_tokenizer(Policy("policy", str(folder), end_tokens=("<|eot|>",)))


def test_a_template_that_refuses_a_role_is_refused_in_one_line(folder):
    (folder / "chat_template.jinja").write_text(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    )
    messages = (Message("system", "be brief"), Message("user", "hello"))
    with pytest.raises(PolicyError, match=r"roles system, user \(no system role\)"):
        render_conversation(load_tokenizer(policy(folder)), messages)
