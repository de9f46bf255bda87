"""A run's export: everything a colleague needs, in formats that need no harness."""

from __future__ import annotations

import json

import pyarrow.parquet
import pytest
import yaml

import harness as ph
from harness.api.run_export import export_run
from harness.api.runs import describe_run
from harness.core import config
from harness.core.config import construct, identity
from harness.errors import ConfigError, StoreError
from harness.training.records import read_pairs
from harness.training.spec import TrainSpec
from tests.api.test_workspaces import flip


@pytest.fixture(scope="module")
def exported(two_runs, tmp_path_factory):
    return ph.run("a", workspace=two_runs).export(tmp_path_factory.mktemp("export") / "out")


def test_an_export_holds_policies_pairs_configuration_results_and_a_page(exported):
    top = {path.name for path in exported.path.iterdir()}
    assert top == {"README.md", "config.yaml", "pairs", "policies", "results"}
    assert [path.name for path in exported.policies] == [f"iteration-{t}" for t in range(3)]
    assert not list(exported.path.rglob("manifest.json"))
    assert not list(exported.path.parent.glob(".partial-*"))


def test_the_policies_are_the_runs(exported, two_runs):
    from transformers import AutoModelForCausalLM

    for policy, path in zip(
        ph.run("a", workspace=two_runs).policies, exported.policies, strict=True
    ):
        ours, _ = policy.load(device="cpu")
        theirs = AutoModelForCausalLM.from_pretrained(path, trust_remote_code=False)
        for name, tensor in ours.state_dict().items():
            assert tensor.equal(theirs.state_dict()[name])


def test_pairs_are_conversations_as_trl_takes_them(exported, two_runs):
    from datasets import load_dataset

    assert [path.name for path in exported.pairs] == ["iteration-1.jsonl", "iteration-2.jsonl"]
    rows = [json.loads(line) for line in exported.pairs[0].read_text().splitlines()]
    (stage,) = {
        use.path
        for use in describe_run("a", two_runs).stages
        if use.kind == "pair" and "iteration 1" in use.label
    }
    assert len(rows) == len(read_pairs(str(stage)))
    for row in rows:
        assert row.keys() == {"prompt", "chosen", "rejected"}
        assert [turn["role"] for turn in row["prompt"]] == ["user"]
        for side in ("chosen", "rejected"):
            ((turn),) = row[side]
            assert turn["role"] == "assistant"
            assert "<|" not in turn["content"]
        assert row["chosen"] != row["rejected"]
    assert load_dataset("json", data_files=str(exported.pairs[0]), split="train").num_rows


def test_pairs_can_be_parquet_and_iterations_chosen(two_runs, tmp_path):
    written = export_run(
        "a", tmp_path / "out", iterations=[2], pair_format="parquet", workspace=two_runs
    )
    assert [path.name for path in written.policies] == ["iteration-2"]
    (path,) = written.pairs
    assert path.name == "iteration-2.parquet"
    table = pyarrow.parquet.read_table(path)
    assert table.column_names == ["prompt", "chosen", "rejected"]


def test_the_configuration_trains_the_same_run(exported, two_runs):
    record = ph.run("a", workspace=two_runs).record
    spec = construct(TrainSpec, config.load("train", str(exported.path / "config.yaml")))
    assert identity(spec) == config.without_locations(record.config)
    assert "identified_by" not in (exported.path / "config.yaml").read_text()
    assert yaml.safe_load((exported.path / "config.yaml").read_text())["method"] == "INPO"


def test_results_and_verdicts_come_along(exported):
    (path,) = exported.results
    assert json.loads(path.read_text())["label"] == "a"
    assert (path.with_suffix("") / "graded.json").is_file()
    page = (exported.path / "README.md").read_text()
    assert 'from_pretrained("policies/iteration-2")' in page


def test_a_folder_that_holds_something_is_refused(two_runs, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        export_run("a", tmp_path / "out", workspace=two_runs)
    with pytest.raises(ConfigError, match="is not empty"):
        export_run("a", tmp_path / "out/mine.txt", workspace=two_runs)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine.txt"]
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(ConfigError, match="the working folder cannot be replaced"):
        export_run("a", ".", workspace=two_runs)
    assert export_run("b", tmp_path / "empty/new", workspace=two_runs).path.is_dir()


def test_an_empty_folder_is_taken(two_runs, tmp_path):
    (tmp_path / "empty").mkdir()
    assert len(export_run("b", tmp_path / "empty", workspace=two_runs).policies) == 3


def test_unknown_iterations_and_formats_are_refused(two_runs, tmp_path):
    with pytest.raises(ConfigError, match="has iterations 0 to 2, not 3"):
        export_run("a", tmp_path / "out", iterations=[3], workspace=two_runs)
    with pytest.raises(ConfigError, match="no format called 'csv'"):
        export_run("a", tmp_path / "out", pair_format="csv", workspace=two_runs)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_policy_is_not_exported_and_nothing_is_left(runs_copy, tmp_path):
    flip(ph.run("a", workspace=runs_copy).policies[-1].path / "model.safetensors")
    with pytest.raises(StoreError, match="model.safetensors has another content"):
        export_run("a", tmp_path / "out", workspace=runs_copy)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]
