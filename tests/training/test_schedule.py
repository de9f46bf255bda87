"""The policies that an iteration fits, where a fit starts, and its anchors; nothing is trained."""

from __future__ import annotations

import re

import pytest

from harness.core import config
from harness.core.stages import Node, Stage
from harness.errors import ConfigError
from harness.training.schedule import Schedule
from harness.training.spec import TrainSpec


def spec(*overrides: str) -> TrainSpec:
    return config.construct(TrainSpec, config.load("train", "toy/inpo", overrides))


def scheduled(*overrides: str) -> list[Node]:
    return Schedule(spec(*overrides)).policies()


def anchored(stage: Node, name: str) -> Node:
    """The policy whose log-probabilities a fit reads under a name."""
    assert isinstance(stage, Stage)
    frozen = stage.inputs[name]
    assert isinstance(frozen, Stage)
    return frozen.inputs["policy"]


def test_inpo_reads_where_it_began_and_where_the_iteration_began():
    first, second, third, last = scheduled()
    for policy, start in ((second, first), (third, second), (last, third)):
        assert anchored(policy, "previous") is policy.inputs["policy"] is start
        assert anchored(policy, "reference") is first


def test_a_previous_reference_costs_no_second_anchor():
    for policy in scheduled("reference=previous")[1:]:
        assert policy.inputs["reference"] is policy.inputs["previous"]


def test_a_reference_is_moved_up_every_so_many_iterations():
    policies = scheduled("reference={every: 2}", "iterations=5")
    assert [policies.index(anchored(policy, "reference")) for policy in policies[1:]] == [
        0,
        0,
        2,
        2,
        4,
    ]


def test_several_previous_policies_are_as_many_as_there_are():
    objective = "{use: 'baselines.mnpo:MNPO', eta: 0.2, tau: 0.1, weights: [1, 1, 1]}"
    policies = scheduled(f"objective={objective}", "iterations=4")
    for t, policy in enumerate(policies[1:], 1):
        names = {name for name in policy.inputs if name.startswith("previous")}
        assert names == {"previous", "previous-2", "previous-3"} - {
            f"previous-{j}" for j in range(t + 1, 4)
        }
        if t >= 3:
            assert anchored(policy, "previous-3") is policies[t - 3]
    # at t = 3 the reference is the third policy back: one anchor serves both
    assert policies[3].inputs["reference"] is policies[3].inputs["previous-3"]


def test_two_fits_a_round_share_their_pairs():
    fits = "fits=[{start: extra, result: extra}, {start: extra, result: policy}]"
    objective = "objective={use: 'baselines.onpo:ONPO', eta: 5.0}"
    policies = scheduled(fits, objective, "iterations=3")
    start, before = policies[0], policies[0]
    for policy in policies[1:]:
        extra = anchored(policy, "previous")  # π'_{t+1}
        assert extra is policy.inputs["policy"]
        assert anchored(extra, "previous") is before  # π'_t; π_1 at first
        assert extra.inputs["pair"] is policy.inputs["pair"]
        before = extra
    # the samples are those of π_t, not of the auxiliary policy
    generate = policies[2].inputs["pair"].inputs["generate"]
    assert generate.inputs["policy"] is policies[1]
    assert start not in policies[1:]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "objective={use: 'baselines.sppo:SPPO', eta: 5}",
            "it reads win rates, for which the pairing must compare all",
        ),
        ("fits=[{result: extra}]", "the last one must result in `policy`"),
        ("fits=[]", "fits: list should have at least 1 item"),
        ("reference={every: 0}", "greater than 0"),
        ("reference=newest", "'initial' or 'previous'"),
    ],
)
def test_a_schedule_that_does_not_fit_is_named(override, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        spec(override)


def test_the_plan_says_how_much_is_compared():
    stages = [s for s in walk(scheduled()[1]) if s.name == "compare"]
    assert stages[0].size == "1536 prompts × 11 comparisons"


def walk(node: Node) -> list[Stage]:
    if not isinstance(node, Stage):
        return []
    return [node, *(stage for inner in node.inputs.values() for stage in walk(inner))]


CHANGED = (
    "changes={2: {optimiser: {learning_rate: 1.0e-5}}, 3: {objective: {eta: 0.4}}}",
    "iterations=4",
)


def test_what_is_changed_holds_from_its_iteration_on():
    stages = [stage for stage in scheduled(*CHANGED) if stage.name == "optimise"]
    configured = [
        (s.config["optimiser"]["learning_rate"], s.config["objective"]["eta"]) for s in stages
    ]
    assert configured == [(2e-4, 0.2), (1e-5, 0.2), (1e-5, 0.4), (1e-5, 0.4)]
    # the function that runs a stage gets the same settings
    executed = [
        (s.run.args[0].optimiser.learning_rate, s.run.args[0].objective.eta) for s in stages
    ]
    assert executed == configured
    # plain data restores the same specification in another process
    again = config.from_data(config.to_data(spec(*CHANGED)))
    assert again.for_iteration(3).objective == spec(*CHANGED).for_iteration(3).objective


def test_nothing_moves_where_nothing_is_changed():
    assert spec().for_iteration(2).optimiser == spec().optimiser
    assert [s.config for s in scheduled("changes={}")] == [s.config for s in scheduled()]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("{2: {optimiser: {rate: 1}}}", "unknown key"),
        ("{1: {optimiser: {epochs: 1}}}", "1 is not an iteration of 2 to 3"),
        ("{4: {optimiser: {epochs: 1}}}", "4 is not an iteration of 2 to 3"),
        ("{2: {oracle: {a: 1}}}", "changes"),
    ],
)
def test_a_change_that_cannot_be_made_is_reported_at_once(changes, message):
    with pytest.raises(ConfigError, match=message):
        spec(f"changes={changes}")


def test_selm_learns_more_slowly_each_iteration():
    selm = config.construct(TrainSpec, config.load("train", "selm"))
    assert [selm.for_iteration(t).optimiser.learning_rate for t in (1, 2, 3)] == [5e-7, 3e-7, 1e-7]
