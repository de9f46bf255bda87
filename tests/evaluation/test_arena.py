"""Arenas: contestants answer once, pairs are compared in both orders, nothing is asked twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from pydantic import Field

import harness as ph
from harness.api.arena import prepare
from harness.api.workspaces import plan_prune, verify_workspace
from harness.core.workspace.arenas import arena_paths, read_arena
from harness.errors import CheckError, ConfigError, InputError, StoreError
from harness.evaluation import arena
from harness.evaluation.arena import Arena, ArenaContestant, PromptSet
from harness.protocols import Sampling
from harness.types import Answer, Comparison, Message, ParsedVerdict, Prompt, Verdict

PROMPTS = tuple(Prompt(f"p{i}", (Message("user", f"question {i}"),)) for i in range(12))


class LongerWins(ph.Component):
    """Prefers the longer answer, and the first place by a tenth; counts what it is asked."""

    transitive: bool = True
    asked: list[int] = Field(default_factory=list, exclude=True)

    def compare(self, comparisons: Sequence[Comparison], advance) -> list[float]:
        self.asked.append(len(comparisons))
        return [0.5 + 0.3 * np.sign(len(c.first) - len(c.second)) + 0.1 for c in comparisons]


def contestant(name: str, lengths: Sequence[int]) -> ArenaContestant:
    answers = tuple(Answer(p.id, "x" * n) for p, n in zip(PROMPTS, lengths, strict=False))
    return ArenaContestant(name, answers=answers)


def small(*contestants: ArenaContestant, **changes) -> Arena:
    oracle = LongerWins(asked=[])
    questions = PromptSet("questions", PROMPTS, Sampling())
    return replace(Arena(contestants, questions, None, oracle, "longer"), **changes)


@pytest.fixture
def trio() -> Arena:
    rising = contestant("rising", range(1, 13))
    return small(rising, contestant("same", range(1, 13)), contestant("long", [6] * 12))


def test_both_orders_are_asked_and_averaged_and_equal_answers_are_ties(trio, workspace):
    comparisons = arena.hold(trio, workspace)
    values = comparisons.preferences.values
    # rising against same: equal answers; against long: shorter for five prompts, equal at the sixth
    assert values[:, 0].tolist() == [0.5] * 12
    assert values[:, 1] == pytest.approx([0.2] * 5 + [0.5] + [0.8] * 6)  # 0.1 cancels out
    assert values[:, 2] == pytest.approx(values[:, 1])
    assert (comparisons.identical, comparisons.ties, comparisons.missing) == (14, 14, 0)
    # two pairs of eleven unequal answers, in both orders; one stage serves both, as alike answers
    assert trio.oracle.asked == [11, 11]


def test_nothing_is_compared_twice_and_a_new_contestant_costs_its_own_pairs(trio, workspace):
    arena.hold(trio, workspace)
    trio.oracle.asked.clear()
    arena.hold(trio, workspace)
    assert trio.oracle.asked == []
    again = replace(trio, contestants=(*reversed(trio.contestants), contestant("one", [1] * 12)))
    values = arena.hold(again, workspace).preferences.values
    assert len(trio.oracle.asked) == 2 * 2  # with long, and with the two that are alike
    assert values[:, 0] == pytest.approx([0.8] * 5 + [0.5] + [0.2] * 6)  # long against same


def test_prompts_that_somebody_leaves_out_are_dropped_and_counted(trio, workspace):
    shorter = replace(trio, contestants=(*trio.contestants[:2], contestant("few", [3] * 7)))
    comparisons = arena.hold(shorter, workspace)
    assert comparisons.preferences.values.shape == (7, 3)
    assert comparisons.answers.dropped == 5
    with pytest.raises(CheckError, match="no prompt of questions is answered .* few has 0 answers"):
        arena.hold(
            replace(trio, contestants=(trio.contestants[0], contestant("few", []))), workspace
        )


@pytest.mark.parametrize("answer", [1.5, float("nan")])
def test_an_oracle_that_answers_no_probability_is_refused(answer, trio, workspace):
    class Wrong(LongerWins):
        def compare(self, comparisons, advance):
            return [answer] * len(comparisons)

    with pytest.raises(CheckError, match="a probability is within 0 and 1"):
        arena.hold(replace(trio, oracle=Wrong(asked=[])), workspace)


def test_arenas_that_cannot_be_held_are_refused_in_a_line(trio, workspace):
    first = trio.contestants[0]
    for changes, message in (
        ({"contestants": (first,)}, "two contestants or more, not 1"),
        ({"contestants": (first, first)}, "two contestants are called 'rising'"),
        ({"oracle": None}, "--oracle NAME or --judge NAME"),
        ({"oracle": None, "judge": object()}, "by the protocol of a benchmark"),
    ):
        with pytest.raises(ConfigError, match=message):
            arena.plan_arena(replace(trio, **changes), workspace)


def test_the_plan_counts_pairs_and_comparisons(trio, workspace):
    plan = arena.plan_arena(trio, workspace)
    assert (plan.contestants, plan.pairs, plan.prompts) == (3, 3, 12)
    assert plan.comparisons == 2 * 3 * 12
    assert plan.stages == []
    assert plan.cost is None


class FirstPlace:
    """A judge that always prefers the first place, and cannot be parsed on one prompt."""

    model = "first-place"

    def judge(self, requests, parser, advance):
        return [
            Verdict(r.id, None if "9" in r.id else ParsedVerdict(0.9), self.model) for r in requests
        ]


def test_a_judges_preference_for_the_first_place_cancels_out(workspace):
    benchmark = ph.benchmark("toy-weighted", {"count": 30})
    prompts = benchmark.prompts()
    sides = [
        ArenaContestant(name, answers=tuple(Answer(p.id, name * 3) for p in prompts))
        for name in "ab"
    ]
    held = arena.hold(Arena(tuple(sides), benchmark, None, judge=FirstPlace()), workspace)
    values = held.preferences.values
    assert np.nanmax(np.abs(values - 0.5)) < 1e-12
    assert held.missing == sum("9" in p.id for p in prompts)


# --- `ph.arena`


@pytest.fixture
def files(tmp_path):
    """Three files of answers to twenty prompts of the toy world."""
    prompts = ph.benchmark("toy-weighted", {"count": 20}).prompts()
    paths = []
    for n, name in enumerate(("short", "middle", "long"), 1):
        rows = [{"instruction": p.text, "output": "red " * n, "generator": name} for p in prompts]
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(rows))
    return paths


def test_the_library_holds_files_and_keeps_an_arena_with_its_sum(files, workspace):
    options = {"prompts": "toy-weighted", "overrides": {"count": 20}, "rounds": 100}
    result = ph.arena(files, oracle="toy", workspace=workspace, **options)
    assert result.analysis.names == ("short", "middle", "long")
    assert result.to_frame().loc["short", "short"] == 0.5
    record = read_arena(result.path)
    assert record["contestants"] == ["short", "middle", "long"]
    assert np.array(record["preferences"]).shape == (20, 3)
    assert record["analysis"]["nash"]["mixture"][0]["value"] is not None
    again = ph.arena(files, oracle="toy", workspace=workspace, **options)
    assert (again.path, read_arena(again.path)) == (result.path, record)
    ph.arena(files[:2], oracle="toy", workspace=workspace, **options)
    assert len(arena_paths(workspace)) == 2  # another arena under the name overwrites nothing
    result.path.write_text(result.path.read_text().replace('"short"', '"shirt"'))
    with pytest.raises(StoreError, match="was changed after it was written"):
        read_arena(result.path)


def test_a_workspace_keeps_what_its_arenas_rest_on_and_verifies_them(files, workspace):
    ph.arena(
        files, oracle="toy", workspace=workspace, prompts="toy-weighted", overrides={"count": 20}
    )
    assert plan_prune(workspace=workspace) == ()
    assert list(verify_workspace(workspace)) == []
    (path,) = arena_paths(workspace)
    path.write_text(path.read_text().replace('"short"', '"shirt"'))
    assert [finding.kind for finding in verify_workspace(workspace)] == ["arena"]
    with pytest.raises(StoreError, match="was changed after it was written"):
        plan_prune(workspace=workspace)
    path.unlink()
    assert {leftover.kind for leftover in plan_prune(workspace=workspace)} == {"stage"}


def test_prompts_of_a_file(files, tmp_path, workspace):
    prompts = tmp_path / "prompts.jsonl"
    texts = [p.text for p in ph.benchmark("toy-weighted", {"count": 20}).prompts()]
    prompts.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts[:5]))
    for file in files:
        file.write_text(json.dumps(json.loads(file.read_text())[:5]))
    result = ph.arena(files, prompts=str(prompts), oracle="toy", workspace=workspace, rounds=100)
    assert result.analysis.prompts == 5
    assert "prompts, by oracle toy" in result.tables[0].title


def test_unknown_names_are_refused_with_what_is_known(files, workspace):
    with pytest.raises(ConfigError, match="toy-weigted is no benchmark, no run and no file"):
        prepare(files, workspace, prompts="toy-weigted", oracle="toy")
    with pytest.raises(ConfigError, match="no configuration|unknown|no oracle|called 'toi'"):
        prepare(files, workspace, prompts="toy-weighted", overrides={"count": 20}, oracle="toi")
    with pytest.raises(InputError, match="not one of its prompts|instruction"):
        prepare(files, workspace, prompts="toy-weighted", overrides={"count": 10}, oracle="toy")


def test_a_sparse_design_asks_for_what_it_may_and_is_filed_as_such(files, workspace):
    options = {"prompts": "toy-weighted", "overrides": {"count": 20}, "rounds": 100}
    sparse = ph.arena(files, oracle="toy", workspace=workspace, comparisons=40, **options)
    values = sparse.comparisons.preferences.values
    assert (~np.isnan(values)).sum() == 20  # of 60; both orders are two comparisons
    assert sparse.comparisons.missing == 0
    assert "makes 33 % of the comparisons" in " ".join(sparse.tables[0].notes)
    full = ph.arena(files, oracle="toy", workspace=workspace, **options)
    asked = ~np.isnan(values)
    assert values[asked] == pytest.approx(full.comparisons.preferences.values[asked])
    assert full.path != sparse.path
