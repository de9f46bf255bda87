"""Judges that retire: warned of in time, refused after the day, replayed for ever."""

import datetime

import pytest

from harness.core import config
from harness.errors import JudgeRefusedError
from harness.judges.cached import CachedJudge, ReplayClient
from harness.judges.client import OpenAIClient
from harness.judges.model_check import reject_retired, retirement_note
from harness.types import JudgeRequest, Message, ParsedVerdict

DAY = datetime.date(2027, 1, 14)


def client(url="https://api.openai.com/v1", **fields):
    dates = {"retires": DAY, "source": "a page", "read": datetime.date(2026, 11, 27)}
    return OpenAIClient(model="j-2025-01-01", base_url=url, **{**dates, **fields})


@pytest.mark.parametrize(("days", "noted"), [(61, False), (60, True), (1, True), (0, True)])
def test_a_warning_comes_sixty_days_before(days, noted):
    note = retirement_note(client(replaced_by="k"), DAY - datetime.timedelta(days=days))
    assert bool(note) == noted
    if noted:
        assert "2027-01-14 (a page, read on 2026-11-27); its provider names k instead" in note


def test_after_its_day_a_judge_is_refused():
    reject_retired(client(), DAY - datetime.timedelta(days=1))
    with pytest.raises(JudgeRefusedError, match="retired on 2027-01-14 .*stored verdicts still"):
        reject_retired(client(), DAY)


@pytest.mark.parametrize(
    "judge",
    [
        client(url="http://127.0.0.1:1/v1"),
        client(url="https://judges.example.org/v1"),
        client(retires=None),
        ReplayClient(model="j"),
    ],
)
def test_another_server_may_serve_it_for_ever(judge):
    reject_retired(judge, datetime.date(2099, 1, 1))
    assert retirement_note(judge, datetime.date(2099, 1, 1)) == ""


class Reader:
    def parse(self, replies):
        return ParsedVerdict(1.0)

    def follow_up(self, request, replies):
        return request


def test_nothing_is_asked_of_a_judge_that_has_retired(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    judge = CachedJudge(
        client=client(retires=datetime.date(2020, 1, 1)), store=tmp_path / "v.sqlite"
    )
    request = JudgeRequest("a", (Message("user", "a"),), {})
    with pytest.raises(JudgeRefusedError, match="retired"):
        judge.judge([request], Reader(), lambda _: None)
    assert judge.judge([], Reader(), lambda _: None) == []


def test_dates_do_not_change_what_a_judge_is():
    assert config.identity(client()) == config.identity(client(retires=None, source=None))


def test_every_official_judge_says_when_it_retires_and_who_says_so():
    for name in ("gpt-4-1106-preview", "gpt-4", "gpt-4.1", "gemini-2.5-pro"):
        judge = config.build(config.load("judge", name))
        assert None not in (judge.retires, judge.source, judge.read)
