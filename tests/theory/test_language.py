"""Claim 7: a small transformer, trained by the stages of `harness train`, plays a three-cycle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.core import config
from harness.core.workspace import Workspace
from harness.theory.games import single_game
from harness.theory.language import (
    GameCorpus,
    GamePreference,
    GamePrompts,
    enumerate_responses,
    exact_policy,
    parse_action,
    response_for,
)
from harness.theory.nash import duality_gap, solve_nash
from harness.training import schedule
from harness.training.reference_logps import frozen_logps
from harness.training.spec import TrainSpec
from harness.types import Policy

GAME = config.build(config.load("game", "three-cycle"))


def trained(name: str, root: Path, *overrides: str) -> tuple[np.ndarray, float]:
    """Train a method; return what its last policy plays exactly, and the mass outside actions."""
    spec = config.construct(TrainSpec, config.load("train", name, overrides))
    run = schedule.train(spec, Workspace(root), name)
    policy = Policy("last", run.policies[-1])
    rows = enumerate_responses(policy, GAME)
    logps = frozen_logps(policy, rows, "float32", lambda _: None)[0::2]
    return exact_policy(logps, GAME)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("games")


@pytest.fixture(scope="module")
def inpo(root) -> tuple[np.ndarray, float]:
    # half of the prompts: the gap is .206 where all 128 give .2163
    return trained("game/inpo", root, "prompts.count=64")


def test_inpo_plays_the_three_cycle_as_well_as_the_tabular_optimum(inpo):
    # gap of the original game: regularised Nash .2130, the transformer .2163 (seeds 1 and 2: .215,
    # .220), the reference .400; of the regularised one, whose optimum is 0: .0007 from .0704
    preference, reference = GAME.draw(0).rows()
    policy, outside = inpo
    optimum = solve_nash(preference, reference, 0.3).policy
    best, reached = (duality_gap(preference, p, reference, 0.0).item() for p in (optimum, policy))
    assert best == pytest.approx(0.2130, abs=1e-4)
    assert reached == pytest.approx(best, rel=0.10)
    start = duality_gap(preference, reference, reference, 0.3).item()
    assert duality_gap(preference, policy, reference, 0.3).item() < 0.1 * start
    assert outside < 0.05


@pytest.mark.faults
def test_iterative_dpo_does_not(root):
    # its kind on exact policies is in test_dynamics; the gap here is .69 (seeds 1 and 2: .63, .51),
    # above the reference's .40
    preference, reference = GAME.draw(0).rows()
    policy, _ = trained("game/iterative-dpo", root)
    assert duality_gap(preference, policy, reference, 0.0).item() > 1.1 * 0.40
    start = duality_gap(preference, reference, reference, 0.3).item()
    assert duality_gap(preference, policy, reference, 0.3).item() > start


def test_the_command_line_shows_what_a_run_plays(inpo, root):
    done = CliRunner().invoke(app, ("theory", "play", "game/inpo", "--workspace", str(root)))
    lines = [line for line in done.stdout.splitlines() if line.startswith("│")]
    assert len(lines) == 7  # π_1 and the policies of six iterations
    assert "the reference's is 0.4000" in done.stdout
    refused = CliRunner().invoke(app, ("theory", "play", "inpo", "--workspace", str(root)))
    assert "no run called 'inpo'" in str(refused.exception)


def test_every_action_is_a_response_and_no_other_text_is():
    for action in range(4):
        assert parse_action(response_for(action, 4), 4) == action
    assert [response_for(a, 3) for a in range(3)] == ["stop", "on stop", "on on"]
    assert parse_action("on on on", 3) is None
    assert parse_action("", 3) is None


def test_the_oracles_rule_is_the_matrix():
    rule = GamePreference(game=GAME)
    assert rule("play 0", "stop", "on on") == 0.8  # a ≻ c
    assert rule("play 0", "on on", "stop") == pytest.approx(0.2)
    assert rule("play 0", "nonsense", "stop") == 0.0
    assert rule("play 0", "on on", "nonsense") == 1.0
    assert rule("play 0", "nonsense", "other") == 0.5


def test_texts_come_as_often_as_the_reference_says():
    examples = GameCorpus(game=GAME, count=10).examples()
    assert examples == [("play 0", "stop")] * 6 + [("play 0", "on stop")] * 3 + [
        ("play 0", "on on")
    ]


def test_prompts_differ_in_their_ids_alone():
    prompts = GamePrompts(game=GAME, count=3).prompts(2)
    assert [p.id for p in prompts] == ["2-0-0", "2-0-1", "2-0-2"]
    assert {p.text for p in prompts} == {"play 0"}


def test_an_exact_policy_is_normalised_and_comes_with_the_mass_outside():
    policy, outside = exact_policy(np.log([0.5, 0.3, 0.1]).tolist(), GAME)
    assert policy[0] == pytest.approx([5 / 9, 3 / 9, 1 / 9])
    assert outside == pytest.approx(0.1)
    assert single_game([[0.5]], None).reference.item() == 1.0
