"""Each iteration's policy against the one before, on prompts that it was not trained on."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import pytest

from harness.core import config
from harness.core.config import Component
from harness.core.jobs import ShardedJob
from harness.core.manifests import PROVENANCE
from harness.core.stages import TIMING, scratch_directory
from harness.core.workspace import Workspace
from harness.engines.vllm import VLLMEngine
from harness.errors import CheckError, ConfigError
from harness.training import records, schedule
from harness.training.head_to_head import (
    RESULT_FILE,
    accelerator_timing,
    run_head_to_head,
)
from harness.training.rollout import held_out_ids
from harness.training.spec import TrainSpec
from harness.types import Comparison, Completion, Prompt
from harness.types import Message as Turn
from tests.conftest import tiny

SMALL = (
    "prompts.count=20",
    "samples=4",
    "iterations=2",
    "optimiser.epochs=1",
    "optimiser.batch=4",
    "head_to_head_prompts=8",
)


def spec(*overrides: str, **keys) -> TrainSpec:
    data = config.load("train", "toy/inpo", (*SMALL, *overrides))
    return config.construct(TrainSpec, {**data, "policy": tiny(), **keys})


class ConstantEngine(Component):
    """An engine that gives the same response to every prompt."""

    text: str

    def generate(self, policy, requests, sampling, advance) -> list[Completion]:
        completions = []
        for request in requests:
            values = (request.prompt.id, 0, self.text, (1,), (2,), "stop", request.seed)
            completions.append(Completion(*values))
        return completions


class Silent(Component):
    """An engine that must not be asked."""

    def generate(self, policy, requests, sampling, advance) -> list[Completion]:
        raise AssertionError("asked again")


class Longer(Component):
    """An oracle that prefers the longer response."""

    transitive: bool = True

    def compare(self, comparisons: Sequence[Comparison], advance) -> list[float]:
        return [float(len(c.first) > len(c.second)) for c in comparisons]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Workspace, TrainSpec]:
    workspace, method = Workspace(tmp_path_factory.mktemp("head-to-head")), spec()
    schedule.train(method, workspace, "inpo")
    return workspace, method


def stages(trained, name: str):
    workspace, method = trained
    return [path for stage, path in schedule.plan(method, workspace) if stage.name == name]


def test_every_iteration_has_a_contest_on_prompts_that_it_was_not_trained_on(trained):
    played, paired = stages(trained, "head-to-head"), stages(trained, "pair")
    assert len(played) == 2
    for t, (directory, pairs) in enumerate(zip(played, paired, strict=True), 1):
        result = json.loads((directory / RESULT_FILE).read_text())
        assert result["prompts"] == 8
        assert result["low"] <= result["value"] <= result["high"]
        sampled = records.read_completions(str(stages(trained, "generate")[t - 1]))
        held_out = held_out_ids(trained[1], t, sampled)
        assert len(held_out) == 8
        assert not held_out & {pair.prompt_id for pair in records.read_pairs(str(pairs))}
        assert json.loads((pairs / "counts.json").read_text())["held out"] == 8


def test_two_workers_hold_the_contest_that_one_process_holds(trained, tmp_path):
    workspace, _ = trained
    copy = Workspace(tmp_path / "copy")
    shutil.copytree(workspace.root, copy.root)
    path = stages((copy, spec()), "head-to-head")[0]
    before = (path / RESULT_FILE).read_bytes()
    shutil.rmtree(path)
    two = spec("launcher.workers=2", "launcher.shard_size=3")  # 8 prompts: shards of 3, 3 and 2
    schedule.train(two, copy, "inpo")
    assert (path / RESULT_FILE).read_bytes() == before
    assert json.loads((path / PROVENANCE / TIMING).read_text())["seconds"] > 0


def test_a_contest_goes_on_from_its_finished_pieces(tmp_path):
    out, done = tmp_path / "out", []
    out.mkdir()
    inputs = write_inputs(tmp_path, "short")
    method = spec(
        "prompts.count=40",
        "launcher.shard_size=3",
        engine=ConstantEngine(text="no"),
        oracle=Longer(),
    )
    run_head_to_head(method, 1, out, inputs, lambda *_: nullcontext(done.append))
    (part,) = (scratch_directory(out) / "comparing").glob("shards-of-3/shard-00001")
    shutil.rmtree(part)
    before = (out / RESULT_FILE).read_text()
    silent = spec("prompts.count=40", "launcher.shard_size=3", engine=Silent(), oracle=Longer())
    run_head_to_head(
        silent, 1, out, inputs, lambda *_: nullcontext(done.append)
    )  # nothing is sampled again
    assert (out / RESULT_FILE).read_text() == before


def test_the_hours_of_a_contest_are_each_ones_gpus_times_its_seconds(tmp_path):
    method = spec(engine=VLLMEngine(tensor_parallel_size=4))  # and a rule, which needs no GPU
    works = [
        ShardedJob(nullcontext, {}, (1, 1), tmp_path / name) for name in ("sampled", "compared")
    ]
    for work, seconds in zip(works, (5.0, 3.0), strict=True):
        for part in work.shard_paths():
            part.mkdir(parents=True)
            timing = json.dumps({"seconds": seconds, "accelerator": "NVIDIA H100"})
            (part / TIMING).write_text(timing)
    expected = {"seconds": 10.0, "accelerator": "NVIDIA H100"}
    assert accelerator_timing(method, *works) == expected  # (4 × 10 + 0 × 6) / 4
    both = spec(engine=VLLMEngine(tensor_parallel_size=4), oracle=Longer())
    assert accelerator_timing(both, *works) == expected | {"seconds": 11.5}  # (4 × 10 + 1 × 6) / 4


def test_no_policy_depends_on_a_contest_and_nothing_is_asked_where_none_is_wanted(
    trained, tmp_path
):
    workspace, method = trained
    assert not {s.name for s in schedule.Schedule(method).policies()[-1].inputs.values()} & {
        "head-to-head"
    }
    without = spec("head_to_head_prompts=0")
    assert "head-to-head" not in {stage.name for stage, _ in schedule.plan(without, workspace)}


def write_inputs(tmp_path, before: str, count: int = 40) -> dict[str, str]:
    """Prompts and the previous policy's responses to them."""
    prompts = [Prompt(f"p{i}", (Turn("user", f"{i}"),)) for i in range(count)]
    completions = [Completion(p.id, 0, before, (1,), (2,), "stop", 0) for p in prompts]
    records.write_prompts(tmp_path, prompts)
    records.write_completions(tmp_path, completions)
    return {"prompts": str(tmp_path), "generate": str(tmp_path), "policy": "nowhere"}


@pytest.mark.parametrize(
    ("after", "value", "warned"), [("longer words", 100, 0), ("short", 50, 0), ("no", 0, 1)]
)
def test_the_win_rate_is_the_oracles_and_losing_is_said(tmp_path, caplog, after, value, warned):
    method = spec("prompts.count=40", engine=ConstantEngine(text=after), oracle=Longer())
    out = tmp_path / "out"
    out.mkdir()
    with caplog.at_level(logging.WARNING):
        run_head_to_head(
            method,
            1,
            out,
            write_inputs(tmp_path, "short"),
            lambda *_: Workspace(tmp_path).track("", 0),
        )
    assert json.loads((out / RESULT_FILE).read_text())["value"] == value
    assert len(caplog.records) == warned
    assert not warned or "wins 0.0 % [0.0, 36.9] of 8 held-out comparisons" in caplog.text


class GappyEngine(ConstantEngine):
    """An engine whose server does not answer some prompts."""

    gaps: tuple[str, ...]

    def generate(self, policy, requests, sampling, advance) -> list[Completion]:
        completions = super().generate(policy, requests, sampling, advance)
        return [
            replace(c, text="refused: 403", finish_reason="missing")
            if c.prompt_id in self.gaps
            else c
            for c in completions
        ]


def test_prompts_without_a_response_are_left_out_and_counted(tmp_path, caplog):
    inputs, track = write_inputs(tmp_path, "short"), lambda *_: Workspace(tmp_path).track("", 0)
    held_out = sorted(held_out_ids(spec("prompts.count=40"), 1, [f"p{i}" for i in range(40)]))
    for gaps, out in ((held_out[:2], tmp_path / "some"), (held_out, tmp_path / "all")):
        engine = GappyEngine(text="no", gaps=tuple(gaps))
        method = spec("prompts.count=40", engine=engine, oracle=Longer())
        out.mkdir()
        if gaps == held_out:
            with pytest.raises(CheckError, match="none of the 8 held-out prompts"):
                run_head_to_head(method, 1, out, inputs, track)
            return
        with caplog.at_level(logging.WARNING):
            run_head_to_head(method, 1, out, inputs, track)
        result = json.loads((out / RESULT_FILE).read_text())
        assert (result["value"], result["prompts"], result["missing"]) == (0, 6, 2)
        assert "2 held-out prompts without a response" in caplog.text


def test_some_prompts_must_be_left():
    with pytest.raises(ConfigError, match="of 20 prompts some must be left to train on"):
        spec("head_to_head_prompts=20")


def test_which_prompts_does_not_depend_on_their_order():
    names = [f"p{i}" for i in range(30)]
    assert held_out_ids(spec(), 1, names) == held_out_ids(spec(), 1, reversed(names))
    assert held_out_ids(spec(), 1, names) != held_out_ids(spec(), 2, names)
