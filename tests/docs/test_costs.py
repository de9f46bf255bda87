"""The hours, memory and dollars on the page about reproducing INPO are the computed ones."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from tests.docs.pages import ROOT, commands


@pytest.fixture(scope="module")
def costs():
    spec = importlib.util.spec_from_file_location("costs", ROOT / "docs/costs.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["costs"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["costs"]


@pytest.mark.parametrize("name", ["trained", "machines", "disk", "together"])
def test_the_page_shows_the_computed_table(costs, name):
    remedy = "run `python docs/costs.py`, with HARNESS_ASSETS naming the protocol data"
    assert costs.page_blocks()[name] == costs.COMPUTED[name](), remedy


def test_the_judges_bills_stand_in_the_page(costs, shared, monkeypatch):
    monkeypatch.setenv("HARNESS_ASSETS", str(shared / "assets"))
    assert costs.page_blocks()["bills"] == costs.bills()


def test_every_row_is_trained_and_judged_by_a_command_that_is_shown(costs):
    shown = {c.text for c in commands() if c.page == "docs/reproduce.md"}
    assert len(costs.rows()) == 10
    for row in costs.rows():
        assert f"harness train {row.recipe}" in shown
        for bench in costs.BENCHMARKS:
            judged = f"harness eval --bench {bench} --run {row.recipe} "
            assert any(line.startswith(judged) for line in shown)


def test_a_row_by_hand(costs):
    (line,) = (x for x in costs.trained().splitlines() if "| `inpo` |" in x)
    # 8.03 billion parameters; 989 teraflops: 15 % of them sampling, 50 % reading, 40 % training
    hours = [
        2 * 8.030261248e9 * 192e6 / (0.15 * 989e12) / 3600,
        2 * 8.030261248e9 * 1320e6 / (0.5 * 989e12) / 3600,
        2 * 8.030261248e9 * 120e6 * (1 / 0.5 + 3 / 0.4) / 989e12 / 3600,
    ]
    expected = [f"{value:.1f}" for value in (*hours, sum(hours))]
    assert line.split(" | ")[4:8] == expected == ["5.8", "11.9", "5.1", "22.8"]
    assert line.endswith(f" {sum(hours) * 3.99:.0f} |")


def test_what_is_shared_is_counted_once(costs):
    # of the first iteration: INPO, INPO without KL and iterative DPO sample and compare the same
    from harness.training.schedule import Schedule
    from harness.training.spec import TrainSpec

    def keys(recipe, stage):
        spec = costs.construct(TrainSpec, costs.load("train", recipe))
        return costs.keys(Schedule(spec).policies()[-1], stage)

    for stage in ("generate", "compare"):
        inpo, dpo = keys("inpo", stage), keys("iterative-dpo", stage)
        assert (len(inpo), len(dpo), len(inpo & dpo)) == (3, 3, 1)
    assert len(keys("inpo", "generate") & keys("inpo-reward-model", "generate")) == 1
    assert not keys("inpo", "compare") & keys("inpo-reward-model", "compare")
    assert not keys("inpo", "generate") & keys("inpo-llama3-instruct", "generate")
