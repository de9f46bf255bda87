"""YAML and JSON within limits: a document that would hurt is one line, at once."""

from __future__ import annotations

import itertools
import json
import time

import pytest

from harness.core import config
from harness.core.documents import parse_json, parse_yaml
from harness.errors import ConfigError

LETTERS = "abcdefghi"
BOMB = "\n".join(
    ["a: &a [x, x, x, x, x, x, x, x, x]"]
    + [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in itertools.pairwise(LETTERS)]
)
MERGES = "\n".join(
    ["a: &a {k: 1}"]
    + [f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}" for a, b in itertools.pairwise(LETTERS)]
)

HURTFUL = {
    "bomb": (BOMB, "unfolds to more than 100,000 values"),
    "merge bomb": (MERGES, "unfolds to more than 100,000 values"),
    "values": ("a: [" + "1, " * 200_000 + "]", "unfolds to more than 100,000 values"),
    "size": ("a: " + "x" * 11_000_000, "larger than 10 MB"),
    "brackets": ("a: " + "[" * 100_000, "nests deeper than 64 levels"),
    "braces": ("{a: " * 100_000, "nests deeper than 64 levels"),
    "dashes": ("- " * 100_000, "nests deeper than 64 levels"),
    "indented": ("\n".join(" " * i + "a:" for i in range(2000)), "nests deeper than 64 levels"),
    "itself": ("a: &a [*a]", r"\*a in line 1 holds itself"),
    "itself in a mapping": ("a: &a\n  b: *a", r"\*a in line 2 holds itself"),
    "decimal": ("a: " + "9" * 5000, "a number of 5,000 characters in line 1"),
    "float": ("a: 1." + "9" * 5000, "a number of 5,002 characters"),
    "hexadecimal": ("a: 0x" + "f" * 5000, "a number of 5,002 characters"),
    "sexagesimal": ("a: " + "1:" * 500_000 + "1", "a number of 1,000,001 characters"),
    "tagged": ('a: !!int "' + "9" * 5000 + '"', "a number of 5,000 characters"),
    "a key twice": ("a: 1\nb: 2\na: 3", "the key 'a' is there twice, in line 3"),
    "a key twice within": ('a: {b: 1, "b": 2}', "the key 'b' is there twice"),
    "a date that is none": ("a: 2024-99-99", "month must be in 1..12"),
    "code": ("a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
    "a list as a key": ("? [1]\n: 2", "unhashable key"),
    "half a character": ("a: \udcff", "surrogates"),
}


@pytest.mark.parametrize(("text", "message"), HURTFUL.values(), ids=HURTFUL)
def test_yaml_that_would_hurt_is_one_line_within_a_second(text, message):
    start = time.monotonic()
    with pytest.raises(ValueError, match=message) as caught:
        parse_yaml(text)
    assert time.monotonic() - start < 1
    assert "\n" not in str(caught.value)


def test_yaml_that_is_well_is_read_as_ever():
    assert parse_yaml("a: &a {x: 1, y: [1.5, yes]}\nb: {<<: *a, x: 2}\nc: *a\n") == {
        "a": {"x": 1, "y": [1.5, True]},
        "b": {"x": 2, "y": [1.5, True]},
        "c": {"x": 1, "y": [1.5, True]},
    }
    assert parse_yaml("") is None
    assert parse_yaml("a: " + "[" * 60 + "]" * 60)
    assert parse_yaml("a: '" + "9" * 5000 + "'") == {"a": "9" * 5000}


JSON = {
    "brackets": ("[" * 100_000, "nests deeper than 64 levels"),
    "closed brackets": ("[" * 500 + "]" * 500, "nests deeper than 64 levels"),
    "a number": ('{"a": ' + "9" * 5000 + "}", "5000 digits"),
    "a float": ('{"a": 1e999}', "1e999 is too large"),
    "no number": ('{"a": NaN}', "NaN is no JSON"),
    "a key twice": ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' is there twice"),
}


@pytest.mark.parametrize(("text", "message"), JSON.values(), ids=JSON)
def test_json_that_would_hurt_is_one_line(text, message):
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_json_that_is_well_is_read_as_ever():
    data = {"a": [1, 2.5, None, {"b": "x"}], "c": {}}
    assert parse_json(json.dumps(data)) == data


def test_a_file_and_an_override_go_the_same_way(tmp_path):
    path = tmp_path / "bomb.yaml"
    path.write_text(BOMB)
    with pytest.raises(ConfigError, match=r"bomb\.yaml is not YAML as it should be: it unfolds"):
        config.load("train", str(path))
    for value in ("9" * 5000, "[" * 5000, "{a: 1, a: 2}"):
        with pytest.raises(ConfigError, match="^--set seed=") as caught:
            config.load("train", "toy/inpo", [f"seed={value}"])
        assert len(str(caught.value)) < 250
    with pytest.raises(ConfigError, match="a key of more than 64 parts"):
        config.load("train", "toy/inpo", ["a." * 100_000 + "b=1"])


def test_references_that_never_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "self.yaml").write_text("ref: train/self.yaml\n")
    (tmp_path / "within.yaml").write_text("a: {ref: train/within.yaml}\n")
    (tmp_path / "twice.yaml").write_text("a: {ref: train/twice.yaml}\nb: {ref: train/twice.yaml}\n")
    for name in ("self", "within", "twice"):
        with pytest.raises(ConfigError, match="its references lead back to itself"):
            config.load("train", f"{name}.yaml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimiser.learning_rate=.inf", "optimiser.learning_rate: .* finite number"),
        ("optimiser.learning_rate=.nan", "finite number"),
        ("objective.eta=-.inf", "finite number"),
        ("oracle={use: 'harness.judges.client:OpenAIClient', model: m, parameters: {t: [.inf]}}",
         r"oracle.parameters.t\[0\]: expected a finite number, got inf"),
    ],
)  # fmt: skip
def test_infinity_and_no_number_are_refused(override, message):
    from harness.training.spec import TrainSpec

    with pytest.raises(ConfigError, match=message):
        config.construct(TrainSpec, config.load("train", "toy/inpo", [override]))
