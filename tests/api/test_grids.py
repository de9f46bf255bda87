"""Grids: values between commas, seeds, and names that are short and each its own."""

from __future__ import annotations

import pytest

from harness.api.grids import (
    describe_settings,
    parse_grid,
    parse_seeds,
    short_keys,
    split_values,
    value_text,
)
from harness.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("0.1,0.2,0.4", ["0.1", "0.2", "0.4"]),
        ("[0.9,0.95]", ["[0.9,0.95]"]),
        ("[0.9,0.95],[0.9,0.99]", ["[0.9,0.95]", "[0.9,0.99]"]),
        ("{use: 'a:B', beta: 0.1}", ["{use: 'a:B', beta: 0.1}"]),
        ("'a, b',c", ["'a, b'", "c"]),
        ('["x,y", z],2', ['["x,y", z]', "2"]),
        ("it's,that's", ["it's", "that's"]),
        ("", [""]),
    ],
)
def test_a_comma_in_brackets_or_quotes_belongs_to_a_value(text, parts):
    assert split_values(text) == parts


def test_one_value_is_fixed_and_several_vary():
    grid = parse_grid(["objective.eta=0.1,0.2", "optimiser.betas=[0.9,0.95]", "iterations=2,2"])
    assert grid.fixed == {"optimiser.betas": [0.9, 0.95], "iterations": 2}
    assert grid.varied == {"objective.eta": (0.1, 0.2)}


def test_a_mapping_gives_lists_as_several_values():
    grid = parse_grid({"objective.eta": [0.1, 0.2], "optimiser.betas": [[0.9, 0.95]], "samples": 4})
    assert grid.varied == {"objective.eta": (0.1, 0.2)}
    assert grid.fixed == {"optimiser.betas": [0.9, 0.95], "samples": 4}


def test_every_combination_once_and_the_last_key_changes_fastest():
    grid = parse_grid(["a.x=1,2", "b.y=3,4"])
    assert [tuple(chosen.values()) for chosen in grid.combinations()] == [
        (1, 3),
        (1, 4),
        (2, 3),
        (2, 4),
    ]


@pytest.mark.parametrize("text", ["x=1,,2", "x=1,", "x", "=1", "seed=0,1"])
def test_what_is_no_grid_is_refused(text):
    with pytest.raises(ConfigError):
        parse_grid([text])


def test_seeds_are_numbers_or_ranges():
    assert parse_seeds("0,1") == (0, 1)
    assert parse_seeds("0-3, 7,1") == (0, 1, 2, 3, 7)
    assert parse_seeds([2, 5]) == (2, 5)
    for bad in ("", "a", "1.5", "-1", "3-", "0-9999"):
        with pytest.raises(ConfigError):
            parse_seeds(bad)


def test_keys_are_as_short_as_they_are_different():
    assert short_keys(["objective.eta", "optimiser.learning_rate"]) == {
        "objective.eta": "eta",
        "optimiser.learning_rate": "learning_rate",
    }
    names = short_keys(["policy.optimiser.batch", "optimiser.batch"])
    assert len(set(names.values())) == 2


def test_values_in_names_are_plain_and_differ():
    assert [value_text(v) for v in (0.1, 1e-5, True, None, "sum")] == [
        "0.1",
        "1e-05",
        "true",
        "none",
        "sum",
    ]
    strange = [[0.9, 0.95], [0.9, 0.99], "a/b", "a b", "..", {"use": "m:A", "x": 1}]
    texts = [value_text(v) for v in [*strange, {"use": "m:A", "x": 2}]]
    assert len(set(texts)) == len(texts)
    assert all("/" not in text and " " not in text for text in texts)
    assert describe_settings({"objective.eta": 0.1}, {"objective.eta": "eta"}) == ["eta=0.1"]
