"""Progress where standard error is no terminal: plain lines at intervals."""

from harness.cli import display


def test_a_line_says_how_much_is_done_and_left():
    lines = display.ProgressLines("me · judge alpaca-eval", 805, done=161)
    # 161 in 60 s: 161 a minute; 644 are left, which takes 4 minutes
    assert lines.line(60.0) == "me · judge alpaca-eval: 161 of 805, 161 a minute, 4 minutes left"
    assert display.ProgressLines("x", 0, done=30).line(60.0) == "x: 30 done, 30 a minute"


def test_lines_come_at_intervals(monkeypatch, capsys):
    lines = display.ProgressLines("judging", 100, started=0.0, printed=0.0)
    for second in range(1, 91):
        monkeypatch.setattr(display.time, "monotonic", lambda: float(second))  # noqa: B023
        lines.advance(1)
    shown = capsys.readouterr().err.splitlines()
    assert [line.strip()[:22] for line in shown] == [
        "judging: 30 of 100, 60",
        "judging: 60 of 100, 60",
        "judging: 90 of 100, 60",
    ]


def test_what_the_parts_report_is_shown_once(capsys):
    logger = display.logging.getLogger("harness")
    display.relay_logs()
    logger.disabled = True  # as `logging.config.dictConfig` of another library leaves it
    logger.setLevel("ERROR")
    display.relay_logs()
    logger.info("the server is starting")
    assert capsys.readouterr().err.count("the server is starting") == 1
