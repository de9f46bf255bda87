"""Progress where standard error is no terminal: plain lines at intervals."""

import io
import sys
import threading
import warnings

import pytest

from harness.cli import display, main, progress
from harness.judges.cached import CachedJudge, judge_options
from harness.judges.client import OpenAIClient
from harness.judges.costs import Price
from harness.judges.toy_server import serving
from harness.types import JudgeRequest, Message, ParsedVerdict, Reply


def test_a_line_says_how_much_is_done_and_left():
    lines = progress.ProgressLines("me · judge alpaca-eval", 805, done=161)
    # 161 in 60 s: 161 a minute; 644 are left, which takes 4 minutes
    assert lines.line(60.0) == "me · judge alpaca-eval: 161 of 805, 161 a minute, 4 minutes left"
    assert progress.ProgressLines("x", 0, done=30).line(60.0) == "x: 30 done, 30 a minute"
    slow = progress.ProgressLines("x", 805, done=2)
    assert slow.line(60.0) == "x: 2 of 805, 2.0 a minute, 6.7 hours left"
    assert progress.ProgressLines("x", 805).line(60.0) == "x: 0 of 805, 0.0 a minute"


def test_a_line_says_what_was_spent():
    lines = progress.ProgressLines("x", 10, done=5)
    lines.add_cost(0.25)
    lines.add_cost(1.0)
    assert lines.line(60.0).endswith("1 minutes left, $1.25 so far")


def test_a_line_says_how_the_work_is_going():
    lines = progress.ProgressLines("x", 10, done=5)
    lines.show_status("loss 0.69, 1,200 tokens/s")
    assert lines.line(60.0) == "x: 5 of 10, 5.0 a minute, 1 minutes left, loss 0.69, 1,200 tokens/s"


def test_what_comes_from_the_store_says_nothing_of_the_rate():
    lines = progress.ProgressLines("x", 800, done=500)
    lines.marks.append((1.0, 500))  # within the first second
    lines.done += 60
    assert lines.line(61.0) == "x: 560 of 800, 60 a minute, 4 minutes left"


def test_the_rate_is_that_of_the_latest_lines():
    lines = progress.ProgressLines("x", 10_000)
    for minute in range(1, 21):
        lines.done += 100 if minute <= 10 else 10
        text = lines.line(60.0 * minute)
    assert ", 10 a minute" in text


def test_lines_come_at_intervals_also_where_nothing_advances(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SETTLING_SECONDS", 0.01)
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.05)
    with progress.track("judging", 100):
        threading.Event().wait(0.3)
    shown = capsys.readouterr().err.splitlines()
    assert 2 <= len(shown) <= 6
    assert shown[0].startswith("  judging: 0 of 100, ")
    threading.Event().wait(0.1)
    assert capsys.readouterr().err == ""  # the context is closed


@pytest.mark.parametrize(("command", "continues"), [("train", True), ("ls", False)])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(130)])
def test_a_stopped_command_says_how_it_goes_on(monkeypatch, capsys, command, continues, error):
    def stop(args):
        raise error

    arguments = ["/venv/bin/harness", command, "toy/inpo", "--set", "policy.name=a b"]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(main, "app", stop)
    for module, hook in ((sys, "excepthook"), (warnings, "showwarning")):
        monkeypatch.setattr(module, hook, getattr(module, hook))  # restored: main changes them
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == 130
    line = "the same command goes on: harness train toy/inpo --set 'policy.name=a b'"
    assert (line in capsys.readouterr().err) == continues


class Letter:
    """Reads the judge's letter."""

    def parse(self, replies):
        return ParsedVerdict(1.0)

    def follow_up(self, request, replies):
        return request


def test_a_judge_reports_what_it_spends_while_it_runs(tmp_path, monkeypatch):
    price = Price(prompt=1000.0, completion=0.0, since="2026-01-01", source="a test")
    monkeypatch.setattr("harness.judges.costs.price_of", lambda model: price)
    requests = [JudgeRequest(str(i), (Message("user", str(i)),), {}) for i in range(5)]
    lines = progress.ProgressLines("x", 5)
    with serving(lambda *_: Reply("A", None, "stop", "j", 100, 1), "j") as url:
        client = OpenAIClient(model="j", base_url=url)
        judge = CachedJudge(client=client, store=tmp_path / "v.sqlite", options=judge_options())
        judge.judge(requests, Letter(), lines)
    # 5 calls of 100 tokens at $1,000 a million
    assert (lines.done, lines.dollars) == (5, 0.5)


def test_a_terminal_shows_the_same(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.track("judging [x]", 4) as advance:
        advance(3)
        advance.add_cost(1.5)
    assert "judging [x]" in sys.stderr.getvalue()
    assert "$1.50" in sys.stderr.getvalue()


def test_what_the_parts_report_is_shown_once(capsys):
    logger = display.logging.getLogger("harness")
    display.relay_logs()
    logger.disabled = True  # as `logging.config.dictConfig` of another library leaves it
    logger.setLevel("ERROR")
    display.relay_logs()
    logger.info("the server is starting")
    assert capsys.readouterr().err.count("the server is starting") == 1
