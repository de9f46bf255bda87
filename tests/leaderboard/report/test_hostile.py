"""Names, prompts, answers and replies that would run if anything let them."""

from __future__ import annotations

import json

from leaderboard.report.content import build_content
from leaderboard.report.figures import draw_figures
from leaderboard.report.site import folder_name, site_files
from tests.leaderboard.conftest import run_record, stored_stage
from tests.leaderboard.report.conftest import WON

OWNED = "globalThis.owned=1"
FOREIGN = "main :is(script, style, iframe, img, object, embed, base, meta, link, form)"
BREAKING = (
    f"</script><script>{OWNED}</script>",
    f"<!--<script>{OWNED}//--></script>",
    f"<svg onload={OWNED}>",
    f"<img src=x onerror={OWNED}>",
    f"</style><script>{OWNED}</script>",
    f"</textarea><iframe srcdoc='<script>parent.{OWNED}</script>'>",
    f"<a href=javascript:{OWNED}>x</a>",
    f"{{{{script}}}}<script>{OWNED}</script>",
    "<base href=https://example.org/>",
    "<meta http-equiv=refresh content='0;url=https://example.org'>",
    "<link rel=stylesheet href=https://example.org/x.css>",
    "<style>@import url(https://example.org/x.css)</style>",
    "__proto__",
    "constructor",
    "\u2028\u2029",
)


def test_nothing_that_a_result_holds_runs_or_becomes_markup(play, report, look, hostile):
    texts = [text for text in (*hostile, *BREAKING) if text.strip()]
    for label in texts:
        play(label, [WON, WON], prompts=texts[:2], answers=[label, label[::-1]])
    answers = [f"{text} indeed" for text in texts]
    play("every text", [WON] * len(texts), judge=BREAKING[0], prompts=texts, answers=answers)
    watched = look(report())
    where = "[...document.querySelectorAll('#group option')].map((option) => option.textContent)"
    assert watched.page.evaluate(where)[-1].endswith(BREAKING[0])
    shown = watched.page.evaluate(
        "[...document.querySelectorAll('#table tbody th bdi')].map((name) => name.textContent)"
    )
    assert sorted(shown) == sorted(texts)
    watched.page.select_option("#group", index=1)
    watched.page.get_by_text(f"{len(texts)} of {len(texts)} comparisons").wait_for()
    watched.page.locator("#comparisons").focus()
    for text in texts:
        shown_text = watched.page.evaluate(
            "document.querySelector('#comparison .text').textContent"
        )
        assert shown_text == text
        watched.page.keyboard.press("j")
    assert watched.page.evaluate("globalThis.owned") is None
    assert watched.page.locator(FOREIGN).count() == 0
    links = watched.page.evaluate("[...document.links].map((a) => a.getAttribute('href')[0])")
    assert set(links) == {"#"}


def test_no_name_of_a_run_a_logged_figure_or_a_bridge_runs(
    play, workspace, report, look, hostile, bridge
):
    marked = [text for text in hostile if set("<>&'`{(:[") & set(text)]
    texts = [*marked, *BREAKING, "\u202egpj.exe", "模型", "../../x"]
    play("one", [WON, WON])
    root = workspace.root
    (root / "results/bridge").mkdir()
    for at, text in enumerate(texts):
        log = json.dumps({"step": 1, "margin": 0.5, text: 1.0})
        stage = stored_stage(root, "optimise", {"log.jsonl": log}, key=str(at))
        run = root / f"train/{at}"
        run.mkdir(parents=True)
        (run / "run.json").write_text(run_record(str(at), text, ["start", str(stage)]))
    models = [{**bridge["models"][0], "label": text} for text in texts]
    for at, text in enumerate(BREAKING):
        bridge_data = bridge | {"from": text, "to": text[::-1], "benchmark": text, "models": models}
        bridge_data["cost"] = bridge["cost"] | {"price": text}
        (root / f"results/bridge/{at}.json").write_text(json.dumps(bridge_data))
    watched = look(report())
    watched.page.locator("#logged summary").first.click()
    shown = "[...document.querySelectorAll('#bridges tbody bdi')].map((name) => name.textContent)"
    assert set(texts) <= set(watched.page.evaluate(shown))
    legends = "[...document.querySelectorAll('#iterations .legend bdi')].map((n) => n.textContent)"
    assert set(texts) <= set(watched.page.evaluate(legends))
    assert watched.page.evaluate("globalThis.owned") is None
    assert watched.page.locator(FOREIGN).count() == 0


def test_the_policy_stops_what_is_written_into_the_page(play, report, look):
    play("one", [WON, WON])
    path = report()
    bad = f"<script>{OWNED}</script><img src=data:, onerror={OWNED}><p onclick={OWNED} id=in>in</p>"
    path.write_text(path.read_text().replace("<header>", f"{bad}<header>"))
    watched = look(path)
    watched.page.click("#in")
    assert watched.page.evaluate("globalThis.owned") is None
    stopped = [
        shown_text for shown_text in watched.complaints if "Content Security Policy" in shown_text
    ]
    assert len(stopped) >= 3
    watched.complaints.clear()


def test_no_card_leaves_the_folder(play, workspace, hostile, tmp_path):
    texts = [text for text in (*hostile, *BREAKING) if text.strip()]
    for label in texts:
        play(label, [WON, WON, None])
    paths = [tmp_path / name for name, _ in site_files(build_content(workspace.root))]
    assert all(path.resolve().is_relative_to(tmp_path.resolve()) for path in paths)
    assert len(set(paths)) == len(paths) == 2 + len(texts)
    assert folder_name("../../x") == "%2E.%2F..%2Fx"
    assert len(folder_name("n" * 300)) < 150


def test_names_are_drawn_as_they_are_never_read_as_mathematics(play, workspace):
    for label in ("$x_1^2$", "$$", r"\frac{", "_hidden", "\x1b[31mred", "模型", "a\nb", "\u202eb"):
        play(label, [WON, WON, None])
    names = [name for name, _ in draw_figures(build_content(workspace.root).figures)]
    assert {"01-length.pdf", "01-wins.svg", "01-order.pdf"} <= set(names)
