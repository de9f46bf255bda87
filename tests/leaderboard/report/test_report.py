"""`harness report`: files for print, a site, a server for this machine, and errors in one line."""

from __future__ import annotations

import http.client
import json
import threading

import pytest
import yaml
from huggingface_hub import eval_result_entries_to_yaml, parse_eval_result_entries
from typer.testing import CliRunner

from harness.cli.main import app
from harness.errors import ConfigError, StoreError
from leaderboard.report.content import build_content
from leaderboard.report.figures import draw_figures
from leaderboard.report.server import create_server
from leaderboard.report.site import hub_results, model_card
from tests.leaderboard.report.conftest import DRAWN, LOST, WON


def run(*args: str):
    return CliRunner().invoke(app, ["report", *args])


def test_the_page_goes_into_the_workspace_or_where_it_is_asked_for(play, workspace, tmp_path):
    play("one", [WON, LOST])
    root = str(workspace.root)
    result = run("--workspace", root)
    assert result.exit_code == 0, result.output
    assert (workspace.root / "report.html").read_text().startswith("<!doctype html>")
    result = run("--workspace", root, "--out", str(tmp_path / "a/b.html"), "--json")
    assert json.loads(result.stdout) == {"files": [str(tmp_path / "a/b.html")]}


def test_an_error_leaves_the_page_that_stood(play, workspace, tmp_path):
    path = play("one", [WON, LOST])
    out = tmp_path / "report.html"
    out.write_text("as it was")
    (path.with_suffix("") / "graded.json").write_text("{")
    result = run("--workspace", str(workspace.root), "--out", str(out))
    assert isinstance(result.exception, StoreError)
    assert out.read_text() == "as it was"
    assert [p.name for p in tmp_path.glob("*report*")] == ["report.html"]


def test_a_newer_schema_is_reported(play, workspace):
    path = play("one", [WON, LOST])
    play("two", [WON, DRAWN])
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    result = run("--workspace", str(workspace.root))
    assert isinstance(result.exception, StoreError)
    assert "was written by a newer version (schema 99" in str(result.exception)
    assert not (workspace.root / "report.html").exists()


def test_no_results_say_what_to_run(tmp_path):
    result = run("--workspace", str(tmp_path))
    assert "run `harness demo` or `harness eval` first" in str(result.exception)


def test_the_figures_for_print_are_the_same_bytes_every_time(play, workspace):
    play("one", [WON] * 5 + [LOST])
    play("two", [WON] * 2 + [LOST] * 4)
    figures = build_content(workspace.root).figures
    first, again = dict(draw_figures(figures)), dict(draw_figures(figures))
    assert first == again
    kinds = {name: data[:5] for name, data in first.items()}
    assert set(kinds) == {
        f"01-{name}.{kind}"
        for name in ("length", "differences-win-rate", "matrix-win-rate", "wins", "order")
        for kind in ("pdf", "svg")
    }
    assert all(data == b"%PDF-" for name, data in kinds.items() if name.endswith("pdf"))
    assert all(data == b"<?xml" for name, data in kinds.items() if name.endswith("svg"))


def test_a_site_has_the_page_and_each_models_card(play, workspace, tmp_path):
    play("a|b", [WON, LOST, DRAWN])
    result = run("--workspace", str(workspace.root), "--publish", str(tmp_path / "site"))
    assert result.exit_code == 0, result.output
    names = {p.relative_to(tmp_path / "site").as_posix() for p in (tmp_path / "site").rglob("*")}
    assert {"index.html", "README.md", ".nojekyll", "models/a%7Cb/README.md"} <= names
    space = (tmp_path / "site/README.md").read_text().split("---")[1]
    assert yaml.safe_load(space)["sdk"] == "static"
    text = (tmp_path / "site/models/a%7Cb/README.md").read_text()
    assert r"## Evaluation of a\|b" in text
    # one of three won, one drawn: 50 %
    assert "| toy-labels | win rate % | 50.0" in text


def test_results_for_the_hub_name_the_data_set_the_judge_and_the_interval():
    figure = {"value": 42.642, "low": 40.0, "high": 45.0, "error": 1.3}
    row = {
        "label": "INPO",
        "figures": {"win_rate": figure, "lc_standard_error": figure},
        "baseline": "gpt4_1106_preview",
        "judged": 804,
        "asked": 805,
        "notes": ["a *note*"],
    }
    group = {"benchmark": "alpaca-eval", "judge": "gpt-4-1106-preview"}
    ((name, text),) = hub_results([(group, row)])
    (result,) = yaml.safe_load(text)
    assert name == "alpaca-eval.yaml"
    task = "win_rate_by_gpt-4-1106-preview"
    assert result["dataset"] == {"id": "tatsu-lab/alpaca_eval", "task_id": task}
    assert result["value"] == 42.64
    assert "42.6 [40.0, 45.0], 95 % interval; judged by gpt-4-1106-preview" in result["notes"]
    assert r"- a \*note\*" in model_card("INPO", [(group, row)])


def test_the_hubs_own_reader_reads_the_results_and_judges_are_kept_apart():
    figure = {"value": 42.642, "low": None, "high": None, "error": None}
    row = {
        "label": "INPO",
        "figures": {"win_rate": figure},
        "baseline": "",
        "judged": 1,
        "asked": 1,
    }
    groups = [{"benchmark": "arena-hard", "judge": judge} for judge in ("gpt-4", "a, b", "")]
    files = list(hub_results([(group, row) for group in groups]))
    assert [name for name, _ in files] == [f"arena-hard{n}.yaml" for n in ("", "-2", "-3")]
    result = [entry for _, text in files for entry in yaml.safe_load(text)]
    entries = parse_eval_result_entries(result)
    assert [e.task_id for e in entries] == ["win_rate_by_gpt-4", "win_rate_by_a_b", "win_rate"]
    assert {e.dataset_id for e in entries} == {"lmarena-ai/arena-hard-auto-v0.1"}
    # nothing is lost on the way, and nothing is there that the format does not have
    assert eval_result_entries_to_yaml(entries) == result


@pytest.fixture
def served():
    with create_server("<!doctype html>page", 0) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving.server_port
        serving.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        ("/", "127.0.0.1", 200),
        ("/index.html?x", "localhost", 200),
        ("/../../etc/passwd", "127.0.0.1", 404),
        ("/", "example.org", 403),
    ],
)
def test_the_server_has_one_page_for_this_machine(served, path, host, status):
    asked = http.client.HTTPConnection("127.0.0.1", served, timeout=10)
    asked.request("GET", path, headers={"Host": f"{host}:{served}"})
    answer = asked.getresponse()
    body = answer.read()
    asked.close()
    assert answer.status == status
    assert (body == b"<!doctype html>page") is (status == 200)


def test_a_port_that_is_taken_is_reported(served):
    with pytest.raises(ConfigError, match="name another port with --port"):
        create_server("page", served)
