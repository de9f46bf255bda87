"""What the page is made of: figures beside each other, and inputs that do not fit."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import StoreError
from leaderboard.report.analysis import breakdowns, compare_pairs
from leaderboard.report.content import Content, build_content, replace_nonfinite
from leaderboard.report.rendering import json_block, render_page
from leaderboard.report.results import load_results
from tests.leaderboard.conftest import run_record, usage
from tests.leaderboard.report.conftest import DRAWN, LOST, WON, without_sums


def test_differences_are_paired_over_shared_prompts(play, workspace):
    play("strong", [WON] * 8 + [DRAWN] * 2)
    play("weak", [WON] * 2 + [LOST] * 6 + [DRAWN] * 2)
    results = load_results(workspace.root).results
    shown = compare_pairs(results, "win_rate")
    # 9 of 10 points less 3 of 10
    assert shown["value"][0][1] == pytest.approx(60.0)
    assert shown["value"][1][0] == pytest.approx(-60.0)
    assert shown["shared"] == [[10, 10], [10, 10]]
    assert shown["p"][0][1] < 0.01
    assert shown["top"] == [0]
    assert shown["half_width"][0][1] > 0
    assert compare_pairs(results, "length_controlled_win_rate") is None
    assert compare_pairs(results[:1], "win_rate") is None


def test_parts_have_their_own_figures_and_few_prompts_no_interval(play, workspace):
    play("one", [WON] * 2)
    (loaded,) = load_results(workspace.root).results
    sets = ["koala"] * 6 + ["vicuna"] * 2
    preferences = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.5]
    items = [
        {"prompt_id": f"p{i}", "preference": p, "dataset": s}
        for i, (p, s) in enumerate(zip(preferences, sets, strict=True))
    ]
    (shown,) = breakdowns([replace(loaded, items=items)], "win_rate")
    assert shown["by"] == "source"
    assert shown["parts"] == [{"name": "koala", "n": 6}, {"name": "vicuna", "n": 2}]
    ((koala, vicuna),) = shown["cells"]
    assert koala["value"] == 50.0
    assert koala["low"] < 50.0 < koala["high"]
    assert vicuna == {"value": 75.0, "low": None, "high": None, "n": 2}


def test_a_contestant_whose_answers_are_all_equal_is_a_control(play, workspace):
    play("nothing", [WON] * 4, answers=["the same answer, whatever is asked, and " * 2] * 4)
    play("NullModel", [WON] * 4)
    play("method", [WON] * 4)
    (group,) = build_content(workspace.root).figures["groups"]
    assert {row["label"]: row["control"] for row in group["rows"]} == {
        "nothing": True,
        "NullModel": True,
        "method": False,
    }


def test_the_start_is_iteration_zero_of_every_method(play, workspace):
    for label in ("start", "INPO (iteration 1)", "INPO (iteration 2)"):
        play(label, [WON] * 3)
    folder = workspace.root / "train/a"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(run_record("a", "INPO", []))
    (group,) = build_content(workspace.root).figures["groups"]
    labels = [row["label"] for row in group["rows"]]
    (curve,) = group["curves"]
    assert curve["method"] == "INPO"
    assert [(i, labels[at]) for i, at in curve["points"]] == [
        (0, "start"),
        (1, "INPO (iteration 1)"),
        (2, "INPO (iteration 2)"),
    ]


def test_costs_are_read_beside_the_results(play, workspace):
    path = play("one", [WON, LOST])
    without_sums(path, usage=usage(1.5))
    content = build_content(workspace.root).figures
    assert content["groups"][0]["rows"][0]["dollars"] == 1.5


def test_one_method_alone_has_a_report(play, workspace):
    play("alone", [WON, LOST, DRAWN])
    (group,) = build_content(workspace.root).figures["groups"]
    assert group["compared"] == []
    assert len(group["rows"]) == 1


def test_a_result_without_its_graded_file_is_reported_and_has_figures(play, workspace):
    path = play("bare", [WON, LOST])
    (path.with_suffix("") / "graded.json").unlink()
    content = build_content(workspace.root)
    assert content.figures["groups"][0]["rows"][0]["texts"] is None
    (shown,) = content.messages
    assert "1 of 1 results have no graded.json (toy-labels/bare.json)" in shown


@pytest.mark.parametrize("damage", ["{", "[]", '{"prompts": []}', "\x00"])
def test_a_damaged_graded_file_is_named(play, workspace, damage):
    path = play("bad", [WON, LOST])
    (path.with_suffix("") / "graded.json").write_text(damage)
    with pytest.raises(StoreError, match=r"bad/graded\.json .*run `harness eval` again"):
        build_content(workspace.root)


def test_verdicts_that_do_not_fit_and_damaged_items_are_named(play, workspace):
    path = without_sums(play("bad", [WON, LOST]))
    graded = path.with_suffix("") / "graded.json"
    text = graded.read_text()
    graded.write_text(text.replace('"request_id"', '"other"'))
    with pytest.raises(StoreError, match=r"graded\.json is damaged"):
        build_content(workspace.root)
    graded.write_text(text)
    (path.with_suffix("") / "items.json").write_text("[1]")
    with pytest.raises(StoreError, match=r"items\.json is damaged"):
        build_content(workspace.root)


def test_figures_that_are_no_numbers_are_left_out():
    assert replace_nonfinite({"a": [float("nan"), float("inf"), 1.5]}) == {"a": [None, None, 1.5]}


def test_prompts_and_answers_stay_out_where_that_is_asked_for(play, workspace):
    play("one", [WON, LOST], answers=["a secret answer", "another"])
    without = build_content(workspace.root, include_comparisons=False)
    assert without.texts == ()
    assert "secret" not in render_page(without)
    shown = build_content(workspace.root).texts
    assert "a secret answer" in json.dumps(shown)


def test_texts_that_results_share_are_kept_once(play, workspace):
    play("one", [WON] * 3)
    play("two", [WON] * 2 + [None])
    content = build_content(workspace.root)
    (group,) = content.figures["groups"]
    shared = content.texts[group["texts"]]
    assert shared["baseline"] == {"p0": "It is 0.", "p1": "It is 2.", "p2": "It is 4."}
    two = content.texts[next(r["texts"] for r in group["rows"] if r["label"] == "two")]
    # in the game that was not asked the baseline said what we said: shown beside it
    assert ["b" in entry for entry in two] == [False, False, True]


def test_the_page_is_the_same_bytes_every_time_and_its_policy_fits_it(play, workspace):
    play("one", [WON, LOST], answers=["</script>", "<!--"])
    text = render_page(build_content(workspace.root))
    assert text == render_page(build_content(workspace.root))
    assert text.count("</script>") == 2 + len(re.findall(r'id="texts-\d+"', text))
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    for part in (script, style):
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in text
    assert "unsafe" not in text.partition("</head>")[0]
    packed = re.findall(r'id="texts-\d+">([^<]*)<', text)
    shown = [json.loads(gzip.decompress(base64.b64decode(entry))) for entry in packed]
    assert any("</script>" in json.dumps(entry) for entry in shown)


def test_data_cannot_end_its_element_and_parts_are_put_in_once():
    assert "<" not in json_block({"a": "</script><!--"})
    assert json.loads(json_block({"a": "</script>&"})) == {"a": "</script>&"}
    title = "{{ script }} {% raw %} {{figures}}"
    assert f"<title>{title}</title>" in render_page(Content({}, (), ()), title)


def test_the_scripts_of_the_page_are_all_in_the_package():
    from leaderboard.report import rendering as module

    there = {path.stem for path in Path(module.ASSETS).glob("*.js")}
    assert there == set(module.SCRIPTS)
