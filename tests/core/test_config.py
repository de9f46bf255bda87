"""Configuration: the errors about names, keys and types, and the identity of components."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import Field

from harness.core import config
from harness.core.config import Component
from harness.errors import ConfigError
from harness.protocols import Sampling
from harness.training.spec import TrainSpec

CONFIGS = Path(__file__).parents[2] / "configs"
SHIPPED = sorted(
    p.relative_to(CONFIGS).with_suffix("").as_posix() for p in CONFIGS.rglob("*/*.yaml")
)


def spec(*overrides: str) -> TrainSpec:
    return config.construct(TrainSpec, config.load("train", "toy/inpo", overrides))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_configuration_builds(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # one names a file of the user's
    row = {"key": 1, "prompt": "p", "instruction_id_list": [], "kwargs": []}
    (tmp_path / "constraints.jsonl").write_text(json.dumps(row))
    kind, _, rest = name.partition("/")
    data = config.load(kind, rest)
    built = config.construct(TrainSpec, data) if kind == "train" else config.build(data)
    assert config.identity(built)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"did you mean 'inpo'\? Known: .*iterative-dpo"):
        config.load("train", "inpoo")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("objective.etaa=1", r"unknown key 'objective.etaa'; did you mean 'eta'\? Known: eta, tau"),
        ("iteration=1", r"unknown key 'iteration'; did you mean 'iterations'\?"),
        ("objective.tau=1/3", r"objective.tau: expected a number, got '1/3'; write it out"),
        ("iterations=two", "iterations: expected a whole number, got 'two'"),
        ("iterations=0", "iterations: input should be greater than 0, got 0"),
        ("objective.tau=0.5", r"tau must not exceed eta"),
        ("policy={path: x, use: 'harness.training.sources:Pretrained'}", "policy.name is missing"),
        (
            "oracle={use: 'harness.nowhere:Oracle'}",
            "oracle: cannot import 'harness.nowhere:Oracle'",
        ),
        ("oracle={ref: oracle/none}", "no oracle called 'none'. Known: .*toy"),
        (
            "oracle={use: 'harness.toy.preference:ToyPreference'}",
            "oracle: 'harness.toy.preference:ToyPreference' is now 'harness.toy.world:ToyPref",
        ),
        ("contest_prompts=3", "^'contest_prompts' is now 'head_to_head_prompts'$"),
        ("launcher={ref: launcher/local, piece: 8}", "launcher: 'piece' is now 'shard_size'"),
        (
            "engine={ref: engine/auto, prefer: {ref: engine/vllm}}",
            "engine: 'prefer' is now 'preferred'",
        ),
        ("fits=[{makes: policy}]", "'makes' is now 'result'"),
        ("objective.eta", "write it as key.key=value"),
        ("objective.eta=[", "the value is not YAML"),
    ],
)
def test_what_does_not_fit_is_named_with_what_is_known(override, message):
    with pytest.raises(ConfigError, match=message):
        spec(override)


def test_an_override_reaches_the_component():
    assert spec("objective.eta=0.5").objective.eta == 0.5


def test_a_reference_keeps_what_its_file_says_and_changes_what_is_overridden():
    inpo, ablation = (config.load("train", name) for name in ("toy/inpo", "toy/inpo-without-kl"))
    assert ablation["objective"] == {**inpo["objective"], "tau": 0.0}
    same = {key for key in inpo if key not in ("objective", "method")}
    assert all(inpo[key] == ablation[key] for key in same)


def test_a_mapping_that_names_its_class_replaces_instead_of_mixing():
    assert "eta" not in config.load("train", "iterative-dpo")["objective"]


def test_a_users_file_is_a_configuration_too(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("ref: train/toy/inpo\nseed: 7\n")
    assert config.construct(TrainSpec, config.load("train", str(path))).seed == 7


def test_a_file_that_is_not_yaml_is_named(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("a: [")
    with pytest.raises(ConfigError, match=r"broken\.yaml is not YAML"):
        config.load("train", str(path))


class Sized(Component):
    rate: float
    batch: int = Field(1, exclude=True)
    sampling: Sampling = Sampling()


def test_identity_leaves_out_what_does_not_change_results():
    assert config.identity(Sized(rate=1, batch=2)) == config.identity(Sized(rate=1, batch=3))
    assert config.identity(Sized(rate=1)) != config.identity(Sized(rate=2))


def test_identity_names_the_class_and_defaults():
    data = config.identity(Sized(rate=1))
    assert data["use"].endswith(":Sized")
    assert data["sampling"]["temperature"] == 1.0


def test_an_object_without_identity_is_refused():
    with pytest.raises(ConfigError, match="has no identity"):
        config.identity(object())


def test_a_bare_name_in_the_place_of_a_component_is_refused_with_how_it_is_written():
    data = config.load("train", "toy/inpo", ("engine=vllm",))
    with pytest.raises(ConfigError, match=r"engine: .* --set 'engine=\{ref: engine/vllm\}'"):
        config.construct(TrainSpec, data)
