"""No result overwrites another: each identity has its file, and a changed one is refused."""

# ruff: noqa: F401, F811 - fixtures of the runner's tests

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from harness.core.workspace import read_graded, read_items, read_result, result_path, result_paths
from harness.errors import ConfigError, ResultExistsError, StoreError
from harness.evaluation.run import evaluate
from harness.judges.cached import CachedJudge
from harness.toy import judge
from tests.evaluation.test_run import (
    COUNT,
    Parrot,
    ToyClient,
    Weights,
    bench,
    change,
    client,
    evaluation,
)


class OfRun(Weights):
    """A policy that a run trained."""

    origin: str = "a"
    setting: str = "0"

    def run(self):
        known = {"method": "INPO", "iteration": 2, "base": "sft", "seed": 0}
        return {"name": self.origin, "setting": self.setting, **known}


def judged_by(model, workspace):
    other = ToyClient()
    other.model = model
    other.grade = lambda messages, body: replace(judge.grade(messages, body), model=model)
    return CachedJudge(client=other, store=workspace.verdicts)


def records(workspace):
    return [read_result(path) for path in result_paths(workspace)]


def test_every_identity_under_one_label_is_kept(evaluation, workspace):
    variants = {
        "first": evaluation,
        "second judge": change(evaluation, judge=judged_by("judge-2", workspace)),
        "third judge": change(evaluation, judge=judged_by("judge-3", workspace)),
        "other overrides": change(evaluation, benchmark=bench(count=COUNT - 2)),
        "other answers": change(evaluation, engine=Parrot(calls=[], words=3)),
        "a run": change(evaluation, policy=OfRun(name="ours")),
        "another run": change(evaluation, policy=OfRun(name="ours", origin="b")),
        "another setting": change(evaluation, policy=OfRun(name="ours", setting="1")),
        "another engine": change(
            evaluation, policy=OfRun(name="ours"), engine=Parrot(calls=[], words=4)
        ),
    }
    results = {name: evaluate(variant, workspace) for name, variant in variants.items()}
    assert len({result.identity_sha256 for result in results.values()}) == len(variants)
    assert {r.identity_sha256 for r in records(workspace)} == {
        r.identity_sha256 for r in results.values()
    }
    assert {result.label for result in records(workspace)} == {"ours"}
    first, *others = (
        result_path(workspace, "toy-weighted", "ours", result.identity)
        for result in results.values()
    )
    assert first.name == "ours.json"
    assert all(path.name.startswith("ours~") and len(path.stem) == 13 for path in others)
    for name, variant in variants.items():  # again: the same files, with the same content
        assert evaluate(variant, workspace).identity == results[name].identity
    assert len(result_paths(workspace)) == len(variants)


def test_an_identity_is_readable_and_names_no_folder_of_assets(evaluation, workspace):
    identity = evaluate(evaluation, workspace).identity
    assert json.loads(json.dumps(identity)) == identity
    assert identity["benchmark"]["settings"]["count"] == COUNT
    assert identity["judge"] == {"model": judge.MODEL, "settings": dict(bench().parameters)}
    assert identity["baseline"]["label"] == "base"
    assert set(identity["contestant"]) == {"answers_sha256"}


def test_the_baseline_is_the_same_whatever_the_contestant_leaves_out(
    evaluation,
    workspace,
    tmp_path,
):
    expected = evaluate(evaluation, workspace).identity["baseline"]
    path = workspace.root / "results/toy-weighted/ours/model_outputs.json"
    rows = json.loads(path.read_text())[3:]
    (tmp_path / "part.json").write_text(json.dumps(rows))
    part = change(evaluation, policy=None, answers=tmp_path / "part.json", allow_missing=True)
    assert evaluate(part, workspace).identity["baseline"] == expected


def other_answers(evaluation):
    """The same run and engine, whose answers have another text: as if it were not deterministic."""

    class Other(Parrot):
        def generate(self, policy, requests, sampling, advance):
            completions = super().generate(policy, requests, sampling, advance)
            return [replace(c, text=c.text + "!" * (policy.name == "ours")) for c in completions]

    Other.__module__, Other.__qualname__ = Parrot.__module__, Parrot.__qualname__
    return change(evaluation, engine=Other(calls=[]), seed=0)


def test_the_same_identity_with_another_content_is_refused_unless_it_replaces(
    evaluation,
    workspace,
):
    first = change(evaluation, policy=OfRun(name="ours"))
    before = evaluate(first, workspace)
    shutil.rmtree(workspace.root / "stages")
    second = other_answers(first)
    second_workspace = type(workspace)(workspace.root)
    with pytest.raises(ResultExistsError, match=r"other answers.*--label.*--replace") as refused:
        evaluate(second, second_workspace)
    assert refused.value.exit_code == 8
    (stored,) = records(workspace)
    assert stored.answers_sha256 == before.answers_sha256
    evaluate(change(second, replace=True), second_workspace)
    (replaced,) = records(workspace)
    assert replaced.answers_sha256 != before.answers_sha256
    evaluate(change(second, label="beside"), second_workspace)
    assert len(records(workspace)) == 2


def test_an_edited_result_is_refused_and_the_same_evaluation_mends_it(
    evaluation,
    workspace,
):
    result = evaluate(evaluation, workspace)
    path = result_path(workspace, "toy-weighted", "ours")
    value = result.score.estimates["win_rate"].value
    written = path.read_text()
    for old, new in ((f"{value!r}", "98.2"), ('"judged": 12', '"judged": 11'), ("base", "best")):
        assert old in written
        path.write_text(written.replace(old, new))
        with pytest.raises(StoreError, match=r"ours\.json was changed .*harness eval"):
            read_result(path)
    data = json.loads(written)
    del data["sha256"]
    path.write_text(json.dumps(data))
    with pytest.raises(StoreError, match="holds no sha256"):
        read_result(path)
    evaluate(evaluation, workspace)
    assert read_result(path).score.estimates["win_rate"].value == value


@pytest.mark.parametrize(("name", "read"), [("items.json", read_items), ("graded.json", None)])
def test_edited_items_and_verdicts_are_refused(evaluation, workspace, name, read):
    evaluate(evaluation, workspace)
    path = result_path(workspace, "toy-weighted", "ours")
    beside = path.with_suffix("") / name
    beside.write_text(beside.read_text().replace("1", "2", 1))
    with pytest.raises(StoreError, match=rf"{name} was changed .*harness eval"):
        read(beside) if read else read_graded(path)
    evaluate(evaluation, workspace)
    assert len(read_items(path.with_suffix("") / "items.json")) == COUNT
    assert read_graded(path).label == "ours"


def test_a_file_that_nobody_can_read_is_not_overwritten(evaluation, client, workspace):
    path = result_path(workspace, "toy-weighted", "ours")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(StoreError, match=r"ours\.json is damaged .*remove it"):
        evaluate(evaluation, workspace)
    assert client.asked == 0
    assert path.read_text() == "{"


def test_a_result_of_an_older_schema_is_taken_for_what_it_tells(evaluation, workspace):
    evaluate(evaluation, workspace)
    path = result_path(workspace, "toy-weighted", "ours")
    data = json.loads(path.read_text())
    for key in ("identity", "identity_sha256", "files", "sha256"):
        del data[key]
    path.write_text(json.dumps(data | {"schema": 4}))
    evaluate(evaluation, workspace)  # the same answers, judge, settings, baseline and texts
    assert [p.name for p in result_paths(workspace)] == ["ours.json"]
    assert read_result(path).identity
    path.write_text(json.dumps(data | {"schema": 4, "judge": "another"}))
    evaluate(evaluation, workspace)
    assert len(result_paths(workspace)) == 2
    assert json.loads(path.read_text())["judge"] == "another"


@pytest.mark.parametrize("label", ["../x", "/x", "a\nb", " ", "a\udce9"])
def test_a_label_of_a_policy_or_a_file_is_checked_before_a_verdict_is_paid(
    evaluation,
    client,
    workspace,
    label,
):
    with pytest.raises(ConfigError, match="--label"):
        evaluate(change(evaluation, label=label), workspace)
    assert client.asked == 0
    assert not (workspace.root / "results").exists()
