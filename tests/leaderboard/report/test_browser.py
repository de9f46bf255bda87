"""The report as a reader uses it: headless Chromium sorts, filters, steps and follows links."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from harness.core.config import build, load
from harness.core.workspace import Workspace
from harness.evaluation.verdict_files import import_file
from leaderboard.report.content import build_content
from leaderboard.report.rendering import render_page
from leaderboard.report.server import create_server
from tests.leaderboard.conftest import run_record, stored_stage, usage
from tests.leaderboard.report.conftest import DRAWN, FIRST, LOST, WON, without_sums

PHONE = {"viewport": {"width": 390, "height": 800}}


@pytest.fixture
def toy(play, report) -> Path:
    """Three methods on twelve prompts; `weak` has one unparsed game and one answer cut off."""
    play("strong", [WON] * 9 + [DRAWN, FIRST, None])
    play("middling", [WON] * 5 + [LOST] * 5 + [DRAWN, None])
    play("weak", [WON, FIRST, ("A>B", None)] + [LOST] * 9, length=[4])
    return report()


def methods(watched) -> list[str]:
    return watched.texts("#table tbody th")


def head(watched, name: str):
    return watched.page.locator("#table thead th", has=watched.page.get_by_text(name, exact=True))


def test_a_click_on_a_head_sorts_and_a_second_one_turns_the_order(toy, look):
    watched = look(toy)
    assert methods(watched) == ["strong", "middling", "weak"]
    head(watched, "win rate %").locator("button").click()
    assert head(watched, "win rate %").get_attribute("aria-sort") == "descending"
    assert methods(watched) == ["strong", "middling", "weak"]
    head(watched, "win rate %").locator("button").click()
    assert head(watched, "win rate %").get_attribute("aria-sort") == "ascending"
    assert methods(watched) == ["weak", "middling", "strong"]
    head(watched, "method").locator("button").click()
    assert methods(watched) == ["middling", "strong", "weak"]
    assert head(watched, "win rate %").get_attribute("aria-sort") == "none"


def test_the_table_is_filtered_by_name(toy, look):
    watched = look(toy)
    watched.page.fill("#filter", "MID")
    assert methods(watched) == ["middling"]
    assert "1 of 3 methods" in watched.page.locator("#figures-table").inner_text()


def test_every_section_has_its_figures_and_its_numbers_as_a_table(toy, look):
    watched = look(toy)
    titles = watched.texts("main h2")
    assert titles == [
        "Table",
        "Figure and length",
        "Differences",
        "Wins, ties, losses",
        "The judge",
        "Single comparisons",
        "Provenance",
    ]
    assert watched.texts("#sections a") == titles
    for section in ("length", "differences", "wins", "judge"):
        assert watched.page.locator(f"#{section} svg[role=img][aria-label]").count() == 1
        assert watched.page.locator(f"#{section} details table").count() == 1
    assert "shared prompts" in watched.page.locator("#power").inner_text()
    # strong less weak on the diagonal's other side is weak less strong with its sign turned
    cells = watched.texts("#matrix tbody td")
    assert cells[2].strip("*+") == cells[6].strip("*−")


def test_filters_leave_what_they_say(toy, look):
    watched = look(toy)
    watched.page.select_option("#method", label="weak")
    count = watched.page.locator("#count")
    assert count.inner_text() == "12 of 12 comparisons"
    for flag, left in (("inconsistent", 1), ("unparsed", 1), ("truncated", 1), ("disagree", 0)):
        box = watched.page.locator(f"input[value={flag}]")
        box.check()
        assert count.inner_text() == f"{left} of 12 comparisons"
        box.uncheck()
    watched.page.select_option("#result", label="win")
    assert count.inner_text() == "1 of 12 comparisons"
    watched.page.select_option("#result", label="any")
    watched.page.fill("#search", "what is 11 AND")
    watched.page.get_by_text("1 of 12 comparisons").wait_for()
    watched.page.fill("#search", "nothing says this")
    watched.page.wait_for_selector("text=No comparison matches the filters.")


def test_a_comparison_shows_both_games_and_what_differs(toy, look):
    watched = look(toy)
    watched.page.select_option("#method", label="weak")
    watched.page.locator(".option").nth(1).click()
    shown = watched.page.locator("#comparison")
    text = shown.inner_text()
    assert "What is 1 and 1?" in text
    assert "inconsistent under swap" in text
    assert "Game 1 · the baseline's answer came first · A>B · this method wins 0.0 %" in text
    assert "Game 2 · this method's answer came first · A>B · this method wins 100.0 %" in text
    assert text.count("My verdict is [[A>B]].") == 2
    # "It is 2 of course." beside "It is 2.": words in common are not marked
    assert shown.locator("ins").all_inner_texts() == ["2 of course."]
    assert shown.locator("del").all_inner_texts() == ["2."]


def test_keys_step_and_the_address_leads_others_to_the_same_comparison(toy, look):
    watched = look(toy)
    watched.page.select_option("#method", label="middling")
    watched.page.locator("#comparisons").focus()
    for key in ("j", "ArrowDown", "j", "k", "ArrowUp", "j"):
        watched.page.keyboard.press(key)
    assert "What is 2 and 2?" in watched.page.locator("#comparison").inner_text()
    assert watched.page.locator("[aria-selected=true]").get_attribute("aria-posinset") == "3"
    address = watched.page.locator("#link").get_attribute("href")
    assert watched.page.url.endswith(address)
    other = look(toy, address)
    assert "What is 2 and 2?" in other.page.locator("#comparison").inner_text()
    assert other.page.locator("#method option:checked").inner_text() == "middling"


def test_an_address_that_leads_nowhere_does_no_harm(toy, look):
    for address in ("#result=nowhere&prompt=p1", "#nothing", "#%", "#result=%00"):
        assert methods(look(toy, address)) == ["strong", "middling", "weak"]


def test_the_page_is_served_and_asks_for_nothing_else(toy, look):
    with create_server(toy.read_text(), 0) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        watched = look(f"http://127.0.0.1:{serving.server_port}/")
        assert methods(watched) == ["strong", "middling", "weak"]
        serving.shutdown()
        thread.join()


def test_a_reader_without_a_mouse_finds_names_roles_and_states(toy, look):
    watched = look(toy)
    unnamed = """() => [...document.querySelectorAll("button, select, input, [role=listbox]")]
      .filter((node) => !(node.ariaLabel || node.labels?.length || node.textContent.trim()))
      .map((node) => node.outerHTML)"""
    assert watched.page.evaluate(unnamed) == []
    for landmark in ("banner", "main", "navigation"):
        assert watched.page.get_by_role(landmark).count() == 1
    headings = "[...document.querySelectorAll('h1, h2, h3')].map((node) => node.tagName)"
    assert watched.page.evaluate(headings)[0] == "H1"
    active = watched.page.locator("#comparisons").get_attribute("aria-activedescendant")
    assert watched.page.locator(f"#{active}[role=option][aria-selected=true]").count() == 1
    watched.page.keyboard.press("Tab")
    assert watched.page.evaluate("document.activeElement.className") == "skip"
    watched.page.keyboard.press("Enter")
    assert watched.page.evaluate("document.activeElement.id") == "content"


def test_the_page_fits_a_phone_and_is_dark_where_that_is_asked_for(toy, look):
    watched = look(toy, color_scheme="dark", **PHONE)
    wide = watched.page.evaluate("document.documentElement.scrollWidth")
    assert wide == 390
    ground = "getComputedStyle(document.body).backgroundColor"
    assert watched.page.evaluate(ground) == "rgb(21, 24, 28)"
    watched.page.click("#theme")
    assert watched.page.evaluate(ground) == "rgb(255, 255, 255)"


def test_iterations_costs_and_bridges_have_sections_where_they_are_known(
    play, report, look, bridge
):
    paths = [play(f"INPO (iteration {i})", [WON] * (2 * i) + [LOST] * (6 - 2 * i)) for i in (1, 2)]
    root = paths[0].parents[2]
    for dollars, path in enumerate(paths):
        without_sums(path, usage=usage(1.0 + dollars))
    figures = '"margin": 0.25, "previous_drift": 3.5, "loss": 0.5'
    stage = stored_stage(root, "optimise", {"log.jsonl": f'{{"step": 1, {figures}}}\n'})
    (root / "train/inpo").mkdir(parents=True)
    run = run_record("inpo", "INPO", ["start", str(stage), "gone"])
    (root / "train/inpo/run.json").write_text(run)
    (root / "results/bridge").mkdir()
    (root / "results/bridge/old--new.json").write_text(json.dumps(bridge))
    watched = look(report())
    watched.page.locator("#logged summary").first.click()
    watched.page.wait_for_selector("#logged svg[aria-label]")
    drawn = """[...document.querySelectorAll(':is(#iterations, #cost, #bridges) svg')]
      .map((s) => s.ariaLabel)"""
    assert [label for label in watched.page.evaluate(drawn) if label] == [
        "win rate % by iteration",
        "mean length, characters by iteration",
        "drift from the previous policy, nats a response by iteration",
        "margin of the objective by iteration",
        "loss by iteration",
        "win rate % under both judges",
        "Position bias and consistency of both judges",
        "win rate % against dollars for judging",
    ]
    assert "Not known of INPO" in watched.page.locator("#iterations").inner_text()
    text = watched.page.locator("#bridges").inner_text()
    assert "judge-1 → judge-2" in text
    assert "45.0 [43.0, 47.0]\t40.0 [38.0, 42.0]\t−5.0\t1" in text
    assert "0.50 [0.40, 0.60]" in text
    assert "$ 1.25, 60 calls, 600 prompt tokens, 60 completion tokens" in text


def test_judges_that_disagree_are_reported_with_their_agreement(play, report, look):
    games = [WON] * 6 + [LOST] * 4
    play("one", games)
    play("two", [WON] * 5 + [LOST] * 5, judge="judge-2")
    watched = look(report())
    watched.page.locator("#judge details").last.locator("summary").click()
    row = watched.texts("#judge details:last-of-type tbody tr")[-1]
    # 9 of 10 agree; by chance 0.6 * 0.5 + 0.4 * 0.5 = 0.5, so kappa is (0.9 - 0.5) / 0.5
    assert "judge-1 and judge-2" in row
    assert "90.0" in row
    assert "0.80" in row
    watched.page.locator("input[value=disagree]").check()
    assert watched.page.locator("#count").inner_text() == "1 of 10 comparisons"


@pytest.fixture(scope="module")
def recorded(shared, tmp_path_factory) -> tuple[Path, float]:
    """Ten contestants on AlpacaEval's prompts: nine recorded ones, the last of them twice."""
    root = tmp_path_factory.mktemp("recorded")
    settings = ["scoring.rounds=20", "scoring.C=0.3594"]
    bench = build({**load("bench", "alpaca-eval", settings), "assets": str(shared / "assets")})
    for path in sorted((shared / "assets/alpaca_eval/annotations").glob("*.json.gz")):
        import_file(bench, path, Workspace(root))
    folder = root / "results/alpaca-eval"
    (folder / "again.json").write_text((folder / "vicuna-7b-v1.5.json").read_text())
    without_sums(folder / "again.json", label="again")
    (folder / "again").symlink_to(folder / "vicuna-7b-v1.5")
    started = time.process_time()  # other processes on the machine do not count
    path = root / "report.html"
    path.write_text(render_page(build_content(root)), encoding="utf-8")
    return path, time.process_time() - started


def test_ten_contestants_on_805_prompts_open_at_once_and_scroll_without_stutter(recorded, look):
    path, made_in = recorded
    assert made_in < 10
    watched = look(path)
    assert watched.page.locator("#count").inner_text() == "805 of 805 comparisons"
    # the page's own CPU time: other processes on the machine do not count
    session = watched.page.context.new_cdp_session(watched.page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    watched.page.reload()
    watched.page.wait_for_selector("html[data-ready]")
    metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
    assert 0 < metrics["TaskDuration"] < 2
    assert len(methods(watched)) == 10
    scroll = """() => {
      const list = document.querySelector("#comparisons"), spent = [];
      let most = 0;
      for (let top = 0; top < list.scrollHeight; top += 400) {
        const begun = performance.now();
        list.scrollTop = top;
        list.dispatchEvent(new Event("scroll"));
        spent.push(performance.now() - begun);
        most = Math.max(most, list.querySelectorAll(".option").length);
      }
      spent.sort((a, b) => a - b);
      return [most, spent[Math.floor(spent.length / 2)]];
    }"""
    most, median = watched.page.evaluate(scroll)
    assert most < 60
    assert median < 16


def test_the_recorded_judge_is_looked_at(recorded, look):
    watched = look(recorded[0])
    # alpaca_eval's file of the null model calls it `example`; its answers are all equal
    assert "example (a control: it answers nothing)" in methods(watched)
    parts = watched.texts("#parts summary")
    assert len(parts) == 1
    watched.page.locator("#parts summary").click()
    parts = watched.texts("#parts tbody th")
    assert parts == [
        "helpful_base (129)",
        "koala (156)",
        "oasst (188)",
        "selfinstruct (252)",
        "vicuna (80)",
    ]
    watched.page.select_option("#method", label="claude-2.1")
    watched.page.fill("#search", "larry page")
    watched.page.get_by_text("1 of 805 comparisons").wait_for()
    assert "Who is Larry Page?" in watched.page.locator("#comparison").inner_text()
    address = watched.page.locator("#link").get_attribute("href")
    other = look(recorded[0], address)
    assert "Who is Larry Page?" in other.page.locator("#comparison").inner_text()


def test_published_figures_stand_apart_and_are_turned_on_and_off(recorded, look):
    watched = look(recorded[0])
    assert watched.page.locator("tr.published").count() == 0
    box = watched.page.get_by_label("arXiv 2407.00617 (ICLR 2025)")
    box.check()
    titles = watched.texts("#table tr.section-title")
    assert titles[:2] == [
        "measured",
        "published: arXiv 2407.00617 (ICLR 2025), table 1, read 2026-11-25",
    ]
    style = "getComputedStyle(document.querySelector('tr.published')).fontStyle"
    assert watched.page.evaluate(style) == "italic"
    head(watched, "length-controlled %").locator("button").click()
    head(watched, "length-controlled %").locator("button").click()
    first = watched.page.locator("#table tbody").first.locator("tr").nth(1)
    # however it is sorted, what is measured stays above
    assert "phi-2" in first.inner_text()
    assert "GPT-4 Turbo (04/09)" in watched.texts("#table tr.published")[13]
    watched.page.fill("#filter", "inpo")
    assert len(methods(watched)) == len(watched.texts("#table tr.published")) + 3
    box.uncheck()
    assert watched.page.locator("tr.published").count() == 0


def test_figures_of_another_judge_have_a_table_of_their_own(recorded, look):
    watched = look(recorded[0])
    watched.page.get_by_label("arXiv 2509.23102 (v3)").check()
    titles = watched.texts("#figures-table h3")
    assert any("judged by gpt-5-mini" in title for title in titles)
    assert not any("main, read" in title for title in watched.texts("#table tr.section-title"))
    assert "three judges" in watched.page.locator("#table tr.section-title").nth(1).inner_text()
