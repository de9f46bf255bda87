"""Two results are never one row: labels and groups say what differs."""

from __future__ import annotations

import json

import pytest

from harness.core.seeds import digest
from harness.errors import ConfigError
from leaderboard.builder import TableOptions, build_tables
from leaderboard.groups import group_rows
from leaderboard.labels import short_keys
from leaderboard.measurements import read_rows

CONFIG = {
    "objective": {"use": "harness.objectives.inpo:INPO", "eta": 0.1, "tau": 0.02},
    "optimiser": {"learning_rate": 0.0003, "epochs": 1},
    "prompts": {"seed": 0},
    "policy": {"name": "start"},
    "seed": 0,
}


def changed(**changes):
    """The configuration with some of its keys changed; a dot is written as two underscores."""
    config = json.loads(json.dumps(CONFIG))
    for key, value in changes.items():
        *parents, last = key.split("__")
        inner = config
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    return config


def run_of(name, config, iteration=2, with_config=True):
    rest = {key: value for key, value in config.items() if key != "seed"}
    run = {"name": name, "method": "INPO", "iteration": iteration, "base": "start"}
    run |= {"seed": config["seed"], "setting": digest(rest)}
    return run | ({"config": config} if with_config else {})


def labels(runs):
    return sorted(row.label for row in read_rows(runs).rows)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            [{"objective__eta": 0.1}, {"objective__eta": 0.2}],
            ["INPO (eta=0.1)", "INPO (eta=0.2)"],
        ),
        ([{"seed": 0}, {"seed": 1}], ["INPO (seed 0)", "INPO (seed 1)"]),
        (
            [{"optimiser__learning_rate": 1e-4}, {"optimiser__learning_rate": 3e-3}],
            ["INPO (learning_rate=0.0001)", "INPO (learning_rate=0.003)"],
        ),
        (
            [{"objective__eta": 0.2, "seed": 1}, {}, {"seed": 1}],
            ["INPO (eta=0.1, seed 0)", "INPO (eta=0.1, seed 1)", "INPO (eta=0.2, seed 1)"],
        ),
        (  # `seed` alone would be the run's
            [{"prompts__seed": 3}, {}],
            ["INPO (prompts.seed=0)", "INPO (prompts.seed=3)"],
        ),
        ([{}, {}], ["INPO (run r0)", "INPO (run r1)"]),
        (  # four settings are too many to print
            [
                {
                    "objective__eta": 1,
                    "objective__tau": 1,
                    "optimiser__epochs": 2,
                    "prompts__seed": 4,
                },
                {},
            ],
            ["INPO (run r0)", "INPO (run r1)"],
        ),
    ],
)
def test_runs_of_one_label_are_set_apart_by_their_settings(file, runs, changes, expected):
    for i, change in enumerate(changes):
        file("INPO", name=f"INPO~{i}", run=run_of(f"r{i}", changed(**change)))
    assert labels(runs) == expected


def test_the_run_records_tell_what_older_results_do_not(file, runs):
    for name, eta in (("a", 0.1), ("b", 0.2)):
        config = changed(objective__eta=eta)
        file("INPO", name=f"INPO {name}", run=run_of(name, config, with_config=False))
        record = {"name": name, "method": "INPO", "config": config, "policies": ["0", "1"]}
        (runs / "train" / name).mkdir(parents=True)
        text = json.dumps(record | {"complete": True, "versions": {}})
        (runs / "train" / name / "run.json").write_text(text)
    assert labels(runs) == ["INPO (eta=0.1)", "INPO (eta=0.2)"]
    # a run that has another configuration today says nothing of the result
    path = runs / "train/b/run.json"
    path.write_text(path.read_text().replace('"tau": 0.02', '"tau": 0.03'))
    assert labels(runs) == ["INPO (run a)", "INPO (run b)"]


def test_an_iteration_keeps_its_parentheses(file, runs):
    for i, eta in enumerate((0.1, 0.2)):
        config = changed(objective__eta=eta)
        file("INPO (iteration 1)", name=f"{i}", run=run_of(f"r{i}", config, iteration=1))
    assert labels(runs) == ["INPO (iteration 1, eta=0.1)", "INPO (iteration 1, eta=0.2)"]


def test_a_run_has_one_label_on_all_benchmarks_and_no_row_of_a_wide_table_holds_two(file, runs):
    file("INPO", (0.2, 0.4), run=run_of("a", changed(objective__eta=0.1)), benchmark="one")
    file("INPO", (0.6, 0.8), run=run_of("b", changed(objective__eta=0.2)), benchmark="two")
    (table,), _ = build_tables(runs, TableOptions(wide=True, columns=("method", "win_rate")))
    cells = [[cell.text for cell in row.cells] for s in table.sections for row in s.rows]
    assert [row[0] for row in cells] == ["INPO (eta=0.1)", "INPO (eta=0.2)"]
    assert [[text.partition(" ")[0] for text in row[1:]] for row in cells] == [
        ["30.0", "–"],
        ["–", "70.0"],
    ]


def identity(**parts):
    known = {"benchmark": {"settings": {"use": "b:B", "count": 20, "sampling": {"max_tokens": 9}}}}
    known["baseline"] = {"label": "start", "answers_sha256": "0" * 64}
    known["contestant"] = {"answers_sha256": "a" * 64}
    known["judge"] = {"model": "judge-1", "settings": {}}
    return known | parts


def test_other_answers_under_one_label_are_set_apart(file, runs):
    for letter in "abc":
        contestant = {"answers_sha256": letter * 64}
        file("mine", name=f"mine {letter}", identity=identity(contestant=contestant))
    assert labels(runs) == [f"mine (answers {letter * 8})" for letter in "abc"]


def test_a_run_and_a_file_of_answers_under_one_label_are_set_apart(file, runs):
    file("INPO", run=run_of("a", CONFIG), identity=identity(contestant={"run": {"name": "a"}}))
    file("INPO", name="INPO file", identity=identity())
    assert labels(runs) == ["INPO (answers aaaaaaaa)", "INPO (run a)"]


def test_judges_that_are_served_as_one_are_set_apart(file, runs):
    for name in ("alias", "judge-1"):
        judge = {"model": name, "settings": {}}
        file("mine", name=name, judge=name, identity=identity(judge=judge))
    assert labels(runs) == ["mine (judge alias)", "mine (judge judge-1)"]


def test_engines_of_one_run_are_set_apart(file, runs):
    for words in (3, 9):
        contestant = {"run": {"name": "a"}, "engine": {"use": "e:E", "words": words}, "seed": 0}
        name = f"INPO {words}"
        file("INPO", name=name, run=run_of("a", CONFIG), identity=identity(contestant=contestant))
    assert labels(runs) == ["INPO (words=3)", "INPO (words=9)"]


def settings(**changes):
    return {"settings": {"use": "b:B", "count": 20, "sampling": {"max_tokens": 9}} | changes}


@pytest.mark.parametrize(
    ("first", "second", "titles"),
    [
        (
            {"benchmark": settings()},
            {"benchmark": settings(count=100)},
            ["benchmark settings: count 100", "benchmark settings: count 20"],
        ),
        (
            {},
            {"baseline": {"label": "start", "answers_sha256": "1" * 64}},
            ["the baseline's answers 00000000", "the baseline's answers 11111111"],
        ),
    ],
)
def test_settings_of_the_benchmark_and_the_baseline_are_groups(file, runs, first, second, titles):
    file("INPO", name="1", identity=identity(**first))
    file("INPO", name="2", identity=identity(**second))
    rows = read_rows(runs).rows
    assert [row.label for row in rows] == ["INPO", "INPO"]
    groups = group_rows(rows)
    assert sorted(group.title for group in groups) == [
        f"toy, judged by judge-1, {t}" for t in titles
    ]


def test_how_a_policy_is_sampled_is_no_column_and_older_results_join_those_that_fit(file, runs):
    file("a", identity=identity(benchmark=settings(sampling={"max_tokens": 4096})))
    file("b", identity=identity())
    file("older")
    (group,) = group_rows(read_rows(runs).rows)
    assert len(group.rows) == 3
    file("c", identity=identity(benchmark=settings(count=100)))
    groups = {g.title.partition(", ")[2]: len(g.rows) for g in group_rows(read_rows(runs).rows)}
    assert groups == {
        "judged by judge-1, benchmark settings: count 20": 2,
        "judged by judge-1, benchmark settings: count 100": 1,
        "judged by judge-1, with unknown benchmark settings": 1,
    }


def test_a_baseline_that_several_results_are_called_is_asked_back(file, runs):
    for i, eta in enumerate((0.1, 0.2)):
        run = run_of(f"r{i}", changed(objective__eta=eta))
        file("INPO", name=f"INPO~{i}", run=run)
    with pytest.raises(ConfigError, match=r"INPO \(eta=0\.1\)"):
        build_tables(runs, TableOptions(baseline="INPO"))
    (table,), _ = build_tables(runs, TableOptions(baseline="INPO (eta=0.2)", differences=True))
    assert sum(len(section.rows) for section in table.sections) == 2


def test_keys_are_as_short_as_they_are_unmistakable():
    assert short_keys(["objective.eta", "a.seed", "seed"]) == {
        "objective.eta": "eta",
        "a.seed": "a.seed",
        "seed": "seed",
    }
