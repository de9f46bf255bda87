"""Verdicts from files: scored, imported, exported, and read back equal."""

import json

import pytest

from harness.core.config import build, load
from harness.core.workspace import read_graded, read_result
from harness.errors import CheckError, ConfigError, InputError, ResultExistsError, StoreError
from harness.evaluation.verdict_files import export, import_file, score_file


@pytest.fixture(scope="module")
def alpaca(shared):
    overrides = ["scoring.rounds=20"]
    return build({**load("bench", "alpaca-eval", overrides), "assets": str(shared / "assets")})


@pytest.fixture(scope="module")
def arena(shared):
    return build({**load("bench", "arena-hard"), "assets": str(shared / "assets")})


def test_a_file_becomes_a_result_and_leaves_again(alpaca, shared, workspace, tmp_path):
    path = shared / "assets/alpaca_eval/annotations/phi-2.json.gz"
    (submission,) = score_file(alpaca, path)
    graded, score = submission.graded, submission.score
    (result_file,) = import_file(alpaca, path, workspace)
    result = read_result(result_file)
    assert (result.label, result.answers, result.missing, result.new_requests) == (
        "phi-2",
        803,
        2,
        0,
    )
    assert "2 prompts without an answer are dropped" in result.score.notes
    assert result.score.estimates == score.estimates
    assert result.score.details["length_controlled_win_rate"]["difficulty_by"] == "instruction"
    assert result.sources["alpaca_eval_clf.txt"]
    assert read_graded(result_file) == graded
    exported = export(alpaca, workspace, "phi-2", tmp_path / "out")
    assert sorted(p.name for p in exported) == ["annotations.json", "model_outputs.json"]
    (reread,) = score_file(alpaca, tmp_path / "out/annotations.json")
    assert reread.graded == graded
    assert reread.score.estimates == score.estimates


def test_every_contestant_of_a_battles_file_is_filed(arena, shared, workspace):
    path = shared / "assets/arena_hard_v0.1/battles/dw_0815.jsonl.gz"
    result_files = import_file(arena, path, workspace)
    assert len(result_files) == 8
    first = read_result(result_files[0])
    assert first.mean_length is None
    assert first.missing + first.score.counts["asked"] == 500
    only = import_file(arena, path, workspace, "llama3_70b")
    assert [p.stem for p in only] == ["llama3_70b"]
    with pytest.raises(InputError, match="no contestant called 'x'; it has llama3_1_8b"):
        import_file(arena, path, workspace, "x")


def test_old_judgments_are_filed_under_upstreams_baseline(arena, workspace, tmp_path):
    game = {"judgment": "", "score": "A>B"}
    row = {"question_id": "q", "model": "me", "judge": "j", "games": [game, game]}
    path = tmp_path / "me.jsonl"
    path.write_text(json.dumps(row) + "\n")
    (result,) = import_file(arena, path, workspace)
    assert json.loads(result.read_text())["baseline"] == "gpt-4-0314"


def test_an_import_overwrites_nothing_unless_it_replaces(alpaca, workspace, tmp_path):
    (path,) = import_file(alpaca, annotations(tmp_path, 8, 1.25), workspace)
    assert import_file(alpaca, annotations(tmp_path, 8, 1.25), workspace) == [path]
    with pytest.raises(ResultExistsError, match=r"win_rate 25\.00 .*→ 75\.00 .*--replace"):
        import_file(alpaca, annotations(tmp_path, 8, 1.75), workspace)
    assert read_result(path).score.estimates["win_rate"].value == 25
    assert import_file(alpaca, annotations(tmp_path, 8, 1.75), workspace, replace=True) == [path]
    assert read_result(path).score.estimates["win_rate"].value == 75
    (second,) = import_file(alpaca, annotations(tmp_path, 9, 1.75), workspace)
    assert (path.name, second.name[:2]) == ("m.json", "m~")
    with pytest.raises(InputError, match=r"2 results .* are called 'm'.*m\.json, m~"):
        export(alpaca, workspace, "m", tmp_path / "out")
    export(alpaca, workspace, second.name, tmp_path / "out")
    assert len(json.loads((tmp_path / "out/annotations.json").read_text())) == 9


@pytest.mark.parametrize("label", ["../m", "a\nb", " m"])
def test_a_contestant_whose_name_is_no_label_is_not_imported(alpaca, workspace, tmp_path, label):
    with pytest.raises(ConfigError, match="label"):
        import_file(alpaca, annotations(tmp_path, 8, 1.25, generator_2=label), workspace)
    assert not workspace.root.exists()


def test_an_export_of_what_is_not_there_is_reported(arena, workspace, tmp_path):
    with pytest.raises(InputError, match=r"no result of 'x' on arena-hard; results: none"):
        export(arena, workspace, "x", tmp_path)


def test_c_may_be_given_and_its_neighbours_are_part_of_the_result(shared):
    overrides = ["scoring.rounds=0", "scoring.C=0.3594"]
    bench = build({**load("bench", "alpaca-eval", overrides), "assets": str(shared / "assets")})
    (submission,) = score_file(bench, shared / "assets/alpaca_eval/annotations/claude-2.1.json.gz")
    score = submission.score
    details = score.details["length_controlled_win_rate"]
    assert details["C"] == 0.3594
    # 10^(-4 + 8 i / 9): the neighbours of 0.3594 are 0.0464 and 2.783
    assert list(details["at_neighbouring_C"]) == ["0.0464159", "2.78256"]
    assert any("C was given as = 0.3594" in note or "C = 0.3594" in note for note in score.notes)


ROW = {"instruction": "Say hi.", "output_1": "hi", "output_2": "hello", "generator_2": "m"}


def annotations(tmp_path, count, preference, **fields):
    rows = [
        {**ROW, "instruction": f"Say {i}.", "preference": preference, **fields}
        for i in range(count)
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows))
    return path


def test_other_instructions_borrow_no_difficulties(alpaca, tmp_path):
    path = annotations(tmp_path, 60, 1.7)
    rows = json.loads(path.read_text())
    for i, row in enumerate(rows):
        row["output_2"] = "hello " * (1 + i % 7)
    path.write_text(json.dumps(rows))
    (submission,) = score_file(alpaca, path)
    score = submission.score
    assert score.details["length_controlled_win_rate"]["difficulty_by"] == "none"
    assert any("without the difficulty term" in note for note in score.notes)


def test_another_baseline_borrows_no_difficulties(alpaca, shared, tmp_path):
    import gzip

    with gzip.open(shared / "assets/alpaca_eval/annotations/claude-2.1.json.gz", "rt") as file:
        rows = json.load(file)
    for row in rows:
        row["output_1"] += "!"
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows))
    (submission,) = score_file(alpaca, path)
    score = submission.score
    assert score.details["length_controlled_win_rate"]["difficulty_by"] == "none"


def test_all_verdicts_equal_and_few_of_them_are_reported(alpaca, tmp_path):
    (submission,) = score_file(alpaca, annotations(tmp_path, 5, 2.0))
    score = submission.score
    assert score.estimates["win_rate"].value == 100
    notes = "\n".join(score.notes)
    assert "only 5 verdicts" in notes
    assert "differ from the baseline's by the same length" in notes


def test_verdicts_that_cannot_be_read_make_no_figure(alpaca, tmp_path):
    with pytest.raises(CheckError, match="no verdict could be read"):
        score_file(alpaca, annotations(tmp_path, 5, None))


def test_a_toy_protocol_has_no_verdict_files_where_nobody_else_has(tmp_path):
    with pytest.raises(InputError, match="name toy-weighted"):
        score_file(build(load("bench", "toy-labels")), tmp_path / "x")


def test_a_newer_result_is_refused_by_name(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"schema": 99}))
    with pytest.raises(StoreError, match=r"written by a newer version \(schema 99"):
        read_result(path)


def test_a_scoring_key_that_is_not_known_is_reported():
    with pytest.raises(ConfigError, match="unknown key"):
        build(load("bench", "alpaca-eval", ["scoring.c=1"]))
