"""Curves of training: numbers worked by hand from logs and anchors that lie in stages."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from harness.core.manifests import load_manifest
from harness.core.stages import ExternalInput
from harness.core.workspace import Workspace, read_log
from leaderboard.report.training import last_log_means, training_curves
from tests.leaderboard.conftest import run_record, stored_stage

Scores = Sequence[tuple[float, float]]
"""Log-probabilities of each pair's chosen and rejected response, in nats."""


def external(line: Path | str) -> ExternalInput:
    """What goes into a stage: another one's result, or a digest alone."""
    digest = load_manifest(line)["digest"] if isinstance(line, Path) else line
    return ExternalInput(str(line), digest)


def optimise(
    root: Path,
    weights: str,
    inputs: dict[str, Path | str],
    *,
    lines: Sequence[Any] = (),
    key: str = "",
) -> Path:
    files = {"weights": weights, "log.jsonl": "".join(json.dumps(line) + "\n" for line in lines)}
    nodes = {name: external(line) for name, line in inputs.items()}
    return stored_stage(root, "optimise", files, inputs=nodes, key=key)


def anchor(root: Path, policy: Path | str, scores: Scores, key: str) -> Path:
    columns = {
        name: [pair[at] for pair in scores] for at, name in enumerate(("chosen", "rejected"))
    }
    data = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(columns), data)
    files = {"logps.parquet": data.getvalue().to_pybytes()}
    return stored_stage(root, "anchor", files, inputs={"policy": external(policy)}, key=key)


Train = Callable[..., Path]


@pytest.fixture
def train(tmp_path) -> Train:
    """Two iterations of a method from `start`; the second one's pairs are scored as given."""

    def train_run(
        name: str = "inpo",
        method: str = "INPO",
        *,
        live: Scores = ((-1.0, -2.0), (-3.0, -4.0)),
        reference: Scores | None = ((-2.0, -2.0), (-3.0, -6.0)),
        of: str = "start",
        figures: Sequence[dict[str, float]] = ({}, {}),
    ) -> Path:
        both = anchor(tmp_path, "start", [(-1.0, -1.0)], f"{name}-1")
        inputs = {"policy": "start", "previous": both}
        inputs |= {"reference": both} if reference else {}
        log = [[{"step": 1, "learning_rate": 0.1, **line}] for line in figures]
        line = optimise(tmp_path, f"{name}-1", inputs, lines=log[0], key=name)
        inputs = {"policy": line, "previous": anchor(tmp_path, line, live, f"{name}-2")}
        if reference:
            inputs["reference"] = anchor(tmp_path, of, reference, f"{name}-3")
        two = optimise(tmp_path, f"{name}-2", inputs, lines=log[1], key=name)
        path = tmp_path / "train" / name / "run.json"
        path.parent.mkdir(parents=True)
        path.write_text(run_record(name, method, ["hub/start", str(line), str(two)]))
        return path

    return train_run


def curve(workspace: Path, name: str) -> dict[str, Any]:
    return next(line for line in training_curves(Workspace(workspace)) if line["name"] == name)


def test_kl_to_the_reference_is_of_each_policys_own_samples(train, tmp_path):
    train()
    (line,) = curve(tmp_path, "kl_to_reference")["series"]
    (i, start), (j, first) = line["points"]
    assert (i, start) == (0, {"value": 0.0, "low": 0.0, "high": 0.0})
    # the pairs have moved by ((-1 + 2) + (-2 + 2)) / 2 = 0.5 and ((-3 + 3) + (-4 + 6)) / 2 = 1
    assert (j, first["value"]) == (1, 0.75)
    # s^2 = 2 * 0.25^2 / 1 = 0.125; 1.96 * sqrt(0.125 / 2) = 0.49
    assert first["high"] - 0.75 == pytest.approx(1.959964 * 0.25)
    assert 0.75 - first["low"] == pytest.approx(1.959964 * 0.25)


def test_where_no_anchor_is_of_the_start_the_kl_is_not_known_and_it_is_reported(train, tmp_path):
    train("sppo", "SPPO", reference=None)
    train("moving", "INPO, moving", of="another")
    data = curve(tmp_path, "kl_to_reference")
    assert data["series"] == []
    (note,) = data["notes"]
    assert note.startswith("Not known of INPO, moving, SPPO:")
    train()
    data = curve(tmp_path, "kl_to_reference")
    assert [line["label"] for line in data["series"]] == ["INPO"]
    assert len(data["notes"]) == 2


def test_methods_that_share_a_policys_content_share_its_samples(train, tmp_path):
    record = json.loads(train().read_text())
    # another stage with the same content, which the anchors do not name
    line = [{"step": 1, "learning_rate": 0.1}]
    twin = optimise(tmp_path, "inpo-1", {"policy": "start"}, lines=line, key="twin")
    policies = ["hub/start", str(twin), record["policies"][2]]
    (tmp_path / "train/twin").mkdir()
    (tmp_path / "train/twin/run.json").write_text(run_record("twin", "twin", policies))
    lines = curve(tmp_path, "kl_to_reference")["series"]
    assert [(line["label"], line["points"][-1][1]["value"]) for line in lines] == [
        ("INPO", 0.75),
        ("twin", 0.75),
    ]


def test_logged_figures_are_means_of_the_last_steps(tmp_path):
    log = tmp_path / "log.jsonl"
    # 20 steps: the last tenth is steps 19 and 20, whose margins are 0.19 and 0.2
    rows = [{"step": s, "learning_rate": 1.0, "margin": s / 100} for s in range(1, 21)]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert last_log_means(read_log(log)) == {"margin": pytest.approx(0.195)}
    assert read_log(tmp_path / "missing") == []
    for damage in ("{", "[1]", '{"step": 1, "margin": "x"}', "\x00"):
        log.write_text(damage)
        assert last_log_means(read_log(log)) == {}


def test_curves_come_in_the_order_of_what_matters_with_what_their_samples_are(train, tmp_path):
    figures = {"margin": 1.5, "previous_drift": 0.25, "reference_drift": -0.25, "loss": 2.0}
    train(figures=[figures, {**figures, "previous_drift": 0.5}])
    data = training_curves(Workspace(tmp_path))
    assert [(line["name"], line["first"]) for line in data] == [
        ("kl_to_reference", True),
        ("previous_drift", True),
        ("margin", True),
        ("loss", False),
        ("reference_drift", False),
    ]
    points = data[1]["series"][0]["points"]
    assert [(i, line["value"]) for i, line in points] == [(1, 0.25), (2, 0.5)]
    # less than zero cannot be a divergence
    assert data[4]["series"][0]["points"][0][1]["value"] == -0.25
    assert "Not an estimate of KL" in data[4]["notes"][0]


def test_the_drifts_of_earlier_logs_keep_their_meaning(train, tmp_path):
    # they were logged as divergences: of the previous policy with the opposite sign
    train(figures=[{"kl_previous": 0.25, "kl_reference": -0.25}] * 2)
    for name, value in (("previous_drift", -0.25), ("reference_drift", -0.25)):
        assert curve(tmp_path, name)["series"][0]["points"][0][1]["value"] == value


def test_runs_of_one_method_go_by_their_own_names(train, tmp_path):
    for name in ("a", "b"):
        train(name, "INPO", figures=[{"loss": 1.0}] * 2)
    labels = [line["label"] for line in curve(tmp_path, "loss")["series"]]
    assert labels == ["INPO, a", "INPO, b"]


def test_a_workspace_that_has_moved_finds_its_stages(train, tmp_path):
    path = train(figures=[{"loss": 1.0}] * 2)
    data = json.loads(path.read_text())
    data["policies"] = [f"/elsewhere/{Path(p).name}" for p in data["policies"]]
    path.write_text(json.dumps(data))  # of the first schema, with whole paths
    assert len(curve(tmp_path, "loss")["series"][0]["points"]) == 2


def test_a_log_that_was_altered_is_not_drawn(train, tmp_path):
    record = json.loads(train(figures=[{"loss": 1.0}] * 2).read_text())
    log = Path(record["policies"][1]) / "log.jsonl"
    log.write_text(log.read_text().replace("1.0", "9.0"))
    assert [i for i, _ in curve(tmp_path, "loss")["series"][0]["points"]] == [2]


@pytest.mark.parametrize("policies", [None, 3, {}, ["start"], [None, 4, "\x00", "n" * 5000]])
def test_a_record_that_does_not_fit_says_nothing(tmp_path, policies):
    (tmp_path / "train/x").mkdir(parents=True)
    record = json.loads(run_record("x", "x", [])) | {"policies": policies}
    (tmp_path / "train/x/run.json").write_text(json.dumps(record))
    assert all(curve["series"] == [] for curve in training_curves(Workspace(tmp_path)))
