"""Prompts from files and datasets, weights from directories and hub ids."""

from __future__ import annotations

import json
import shutil

import pytest

from harness.api.components import open_workspace
from harness.core.config import identity
from harness.core.hub import whole_commit
from harness.engines.vllm import VLLMEngine
from harness.errors import ConfigError, InputError, MissingDependencyError, PolicyError
from harness.oracles.weights import OracleWeights
from harness.toy.world import held_out_instructions
from harness.training.sources import FilePrompts, HubPrompts, Pretrained, ToyPrompts

TURNS = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "three"},
]


def test_a_file_of_prompts_and_conversations_is_read(tmp_path):
    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": "hello"}, {"messages": TURNS, "id": "mine"}, {"prompt": "third"}]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    first, second = FilePrompts(path=str(path), count=2).prompts(1)
    assert (first.text, len(first.id)) == ("hello", 16)
    assert (second.id, [m.role for m in second.messages]) == (
        "mine",
        ["user", "assistant", "user"],
    )


def test_a_file_is_known_by_its_content(tmp_path):
    path = tmp_path / "prompts.jsonl"
    identities = []
    for text in ('{"prompt": "a"}', '{"prompt": "b"}'):
        path.write_text(text)
        identities.append(identity(FilePrompts(path=str(path))))
    assert identities[0] != identities[1]
    with pytest.raises(InputError, match="cannot read the prompts"):
        identity(FilePrompts(path=str(tmp_path / "none.jsonl")))


@pytest.mark.parametrize("text", ["{", '{"question": "x"}', '["x"]', '{"messages": [1]}'])
def test_a_line_that_does_not_fit_is_an_input_error(tmp_path, text):
    path = tmp_path / "prompts.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match="'prompt' or 'messages' in each line"):
        FilePrompts(path=str(path)).prompts(1)


def test_a_dataset_gives_another_part_each_iteration(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        row = {"context_messages": [{"role": "user", "content": name}]}
        (tmp_path / name / "train.jsonl").write_text(json.dumps(row) + "\n")
    source = HubPrompts(datasets=[str(tmp_path / "first"), str(tmp_path / "second")])
    assert [source.prompts(t)[0].text for t in (1, 2, 3)] == ["first", "second", "second"]


def test_a_dataset_that_is_not_there_says_what_to_do():
    with pytest.raises(MissingDependencyError, match="FilePrompts, path: FILE"):
        HubPrompts(datasets=["./no-such-dataset"]).prompts(1)


def test_toy_prompts_are_new_each_iteration_and_never_evaluated():
    source = ToyPrompts(count=200)
    first, second = ({p.id for p in source.prompts(t)} for t in (1, 2))
    assert len(first) == len(second) == 200
    assert not first & second
    assert not (first | second) & set(held_out_instructions())


def test_a_folder_is_known_by_its_content_and_a_hub_id_by_its_commit(tmp_path, tiny_policy):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_policy, copy)
    here, there = (Pretrained(name="x", path=str(p)).weights() for p in (tiny_policy, copy))
    assert here.digest == there.digest
    (copy / "config.json").write_text("{}")
    assert Pretrained(name="x", path=str(copy)).weights().digest != here.digest
    hub = [Pretrained(name="x", path="a/b", revision=r).weights().digest for r in ("1", "2")]
    assert hub[0] != hub[1]


def test_a_path_that_holds_no_model_is_named(tmp_path):
    with pytest.raises(PolicyError, match="holds no model"):
        Pretrained(name="x", path=str(tmp_path)).weights()
    with pytest.raises(PolicyError, match="does not exist"):
        Pretrained(name="x", path="./nowhere").weights()


def test_the_template_is_part_of_what_a_policy_is_and_stays_with_it(tmp_path, tiny_policy):
    template = tmp_path / "template.jinja"
    template.write_text("{{ messages[0].content }}")
    policy = Pretrained(name="x", path=tiny_policy, chat_template=str(template))
    assert policy.weights().digest != Pretrained(name="x", path=tiny_policy).weights().digest
    assert policy.with_weights("elsewhere").chat_template == str(template)


def test_an_abbreviated_commit_is_looked_up(monkeypatch):
    """The hub takes whole hashes only."""
    from types import SimpleNamespace

    from huggingface_hub import HfApi

    commits = [SimpleNamespace(commit_id=c * 20) for c in ("ab", "ac", "a1")]
    commits.append(SimpleNamespace(commit_id="ab" * 19 + "cc"))
    monkeypatch.setattr(HfApi, "list_repo_commits", lambda *_, repo_type: commits)
    assert whole_commit("some/set", "acacaca") == "ac" * 20
    assert whole_commit("some/set", "main") == "main"
    assert whole_commit("some/set", "ab" * 20) == "ab" * 20
    with pytest.raises(ConfigError, match="some/set: 2 commits begin with abababa"):
        whole_commit("some/set", "abababa")
    with pytest.raises(ConfigError, match="no commit begins with 1234567"):
        whole_commit("some/set", "1234567")

    def offline(*_, repo_type):
        raise OSError

    monkeypatch.setattr(HfApi, "list_repo_commits", offline)
    assert whole_commit("some/set", "acacaca") == "acacaca"


def test_template_arguments_and_end_tokens_are_part_of_a_policy(tmp_path, tiny_policy):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_policy, copy)
    (copy / "chat_template.jinja").write_text("{{ messages }}{{ enable_thinking }}")
    plain = Pretrained(name="x", path=str(copy))
    quiet = Pretrained(name="x", path=str(copy), template_arguments={"enable_thinking": False})
    ended = Pretrained(name="x", path=str(copy), end_tokens=("a",))
    assert len({source.weights().digest for source in (plain, quiet, ended)}) == 3
    later = quiet.with_weights("elsewhere")
    assert (later.template_arguments, later.end_tokens) == ({"enable_thinking": False}, ())
    assert ended.with_weights("elsewhere").end_tokens == ("a",)
    wrong = Pretrained(name="x", path=str(copy), template_arguments={"think": 1})
    with pytest.raises(PolicyError, match="never reads think; it reads enable_thinking"):
        wrong.weights()


def test_paths_may_begin_with_the_users_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Pretrained(name="x", path="~/model").path == f"{tmp_path}/model"
    assert VLLMEngine(python="~/bin/python").python == f"{tmp_path}/bin/python"
    assert OracleWeights(name="x", path="~/oracle").path == f"{tmp_path}/oracle"
    assert open_workspace("~/runs").root == tmp_path / "runs"
