"""Cached verdicts: what is stored is not asked, and unparsed replies are asked again once."""

import json
import re

import pytest

from harness.errors import CheckError, JudgeError
from harness.judges import chat_format
from harness.judges.cached import CachedJudge
from harness.judges.store.database import open_store
from harness.types import JudgeRequest, Message, ParsedVerdict, RawReply, Reply


class Script:
    """A client that answers from a list, one reply a request it is asked."""

    model, served_as, unparsed_attempts = "j", ("j-served",), 2
    url, concurrency, retry_missing, display_name = "", 1, False, "the judge j"

    def __init__(self, *contents, fail_after=None, served="j-served"):
        self.contents, self.fail_after, self.asked = list(contents), fail_after, []
        self.served = served

    def body(self, request):
        return chat_format.body_of(self.model, request)

    def ask(self, queue):
        while (item := queue.next()) is not None:
            if self.fail_after is not None and len(self.asked) >= self.fail_after:
                raise JudgeError("gone")
            index, body = item
            self.asked.append(body)
            reply = Reply(self.contents.pop(0), None, "stop", self.served, 10, 1)
            queue.keep([RawReply(index, json.dumps(chat_format.completion_of(reply, body)), 0.5)])


def request(name, content=None):
    return JudgeRequest(name, (Message("user", content or name),), {"temperature": 0})


class Reader:
    """Reads a number; asks again where there is none."""

    def parse(self, replies):
        text = replies[-1].content
        return ParsedVerdict(float(text)) if text not in ("", "?") else None

    def follow_up(self, request, replies):
        return request


READER = Reader()


def grade(client, tmp_path, requests):
    steps = []
    verdicts = CachedJudge(client=client, store=tmp_path / "v.sqlite").judge(
        requests, READER, steps.append
    )
    assert sum(steps) == len(requests)
    return [(v.request_id, v.parsed.value if v.parsed else None, v.model) for v in verdicts]


def test_verdicts_are_in_the_order_of_the_requests(tmp_path):
    verdicts = grade(Script("1", "0"), tmp_path, [request("a"), request("b")])
    assert verdicts == [("a", 1.0, "j-served"), ("b", 0.0, "j-served")]


def test_what_is_stored_is_not_asked_again(tmp_path):
    requests = [request("a"), request("b")]
    first = grade(Script("1", "0"), tmp_path, requests)
    again = Script("0.5")
    verdicts = grade(again, tmp_path, [*requests, request("c")])
    assert verdicts == [*first, ("c", 0.5, "j-served")]
    assert len(again.asked) == 1


def test_requests_that_are_the_same_are_asked_once(tmp_path):
    client = Script("1", "0")
    verdicts = grade(client, tmp_path, [request("a", "same"), request("b"), request("c", "same")])
    assert [value for _, value, _ in verdicts] == [1.0, 0.0, 1.0]
    assert len(client.asked) == 2


def test_a_verdict_of_zero_is_a_verdict(tmp_path):
    client = Script("0")
    assert grade(client, tmp_path, [request("a")])[0][1] == 0.0
    assert len(client.asked) == 1


def test_an_unparsed_reply_is_kept_and_asked_again(tmp_path):
    client = Script("", "0.25", "0.75")
    verdicts = grade(client, tmp_path, [request("a"), request("b")])
    assert verdicts == [("a", 0.75, "j-served"), ("b", 0.25, "j-served")]
    with open_store(tmp_path / "v.sqlite") as verdicts:
        rows = verdicts.connection.execute("SELECT attempt, status FROM attempt ORDER BY rowid")
        assert rows.fetchall() == [(1, "unparsed"), (1, "parsed"), (2, "parsed")]


def test_a_request_that_stays_unparsed_is_never_asked_a_third_time(tmp_path):
    client = Script("", "")
    assert grade(client, tmp_path, [request("a")]) == [("a", None, "j-served")]
    assert grade(Script(), tmp_path, [request("a")]) == [("a", None, "j-served")]


def test_what_was_answered_before_a_failure_is_kept(tmp_path):
    requests = [request(name) for name in "abc"]
    with pytest.raises(JudgeError):
        grade(Script("1", "1", fail_after=2), tmp_path, requests)
    rest = Script("1")
    grade(rest, tmp_path, requests)
    assert [body["messages"][0]["content"] for body in rest.asked] == ["c"]


def test_a_better_reader_reads_what_is_stored(tmp_path):
    grade(Script("?", "?"), tmp_path, [request("a")])
    judge = CachedJudge(client=Script(), store=tmp_path / "v.sqlite")

    class Better(Reader):
        def parse(self, replies):
            return ParsedVerdict(0.5)

    verdicts = judge.judge([request("a")], Better(), lambda _: None)
    assert verdicts[0].parsed == ParsedVerdict(0.5)


def test_pending_counts_what_would_be_asked_and_writes_nothing(tmp_path):
    judge = CachedJudge(client=Script("1"), store=tmp_path / "v.sqlite")
    requests = [request("a"), request("b", "a"), request("c")]
    assert judge.count_pending(requests, READER) == 2
    assert not judge.store.exists()
    judge.judge(requests[:1], READER, lambda _: None)
    assert judge.count_pending(requests, READER) == 1


def test_nothing_to_judge_is_nothing_to_ask(tmp_path):
    assert grade(Script(), tmp_path, []) == []


class Conversation(Reader):
    """Reads a number in all that was said; asks to go on once, and never repeats itself."""

    def parse(self, replies):
        text = "".join(reply.content for reply in replies)
        return ParsedVerdict(float(text)) if re.fullmatch(r"\d(\.\d+)?", text) else None

    def follow_up(self, request, replies):
        if len(replies) > 1:
            return None
        turns = (Message("assistant", replies[0].content), Message("user", "go on"))
        return JudgeRequest(request.id, (*request.messages, *turns), request.parameters)


def test_a_protocol_may_follow_up_and_the_whole_conversation_is_stored(tmp_path):
    client = Script("0.", "1", "25")
    requests = [request("a"), request("b")]
    judge = CachedJudge(client=client, store=tmp_path / "v.sqlite")
    verdicts = judge.judge(requests, Conversation(), lambda _: None)
    assert [(v.parsed.value, v.text) for v in verdicts] == [(0.25, "0.\n25"), (1.0, "1")]
    asked = [[m["content"] for m in body["messages"]] for body in client.asked]
    assert asked == [["a"], ["b"], ["a", "0.", "go on"]]
    assert judge.judge(requests, Conversation(), lambda _: None) == verdicts
    assert not client.contents


def test_a_follow_up_that_was_not_reached_is_asked_alone_later(tmp_path):
    path = tmp_path / "v.sqlite"
    with pytest.raises(JudgeError):
        CachedJudge(client=Script("0.", fail_after=1), store=path).judge(
            [request("a")], Conversation(), lambda _: None
        )
    client = Script("5")  # after the stored "0."
    judge = CachedJudge(client=client, store=path)
    assert judge.count_pending([request("a")], Conversation()) == 1
    assert judge.judge([request("a")], Conversation(), lambda _: None)[0].parsed == ParsedVerdict(
        0.5
    )
    assert len(client.asked) == 1


def test_a_protocol_that_never_asks_again_leaves_it_unparsed(tmp_path):
    client = Script("x", "y")
    verdicts = CachedJudge(client=client, store=tmp_path / "v.sqlite").judge(
        [request("a")], Conversation(), lambda _: None
    )
    assert (verdicts[0].parsed, verdicts[0].text) == (None, "x\ny")


def test_an_empty_reply_is_asked_again_and_is_no_part_of_the_conversation(tmp_path):
    client = Script("", "0.", "25")
    client.unparsed_attempts = 3
    verdicts = CachedJudge(client=client, store=tmp_path / "v.sqlite").judge(
        [request("a")], Conversation(), lambda _: None
    )
    assert (verdicts[0].parsed, verdicts[0].text) == (ParsedVerdict(0.25), "0.\n25")
    asked = [[m["content"] for m in body["messages"]] for body in client.asked]
    assert asked == [["a"], ["a"], ["a", "0.", "go on"]]


def test_a_judge_that_says_nothing_is_left_unparsed(tmp_path):
    assert grade(Script("", ""), tmp_path, [request("a")]) == [("a", None, "j-served")]


def test_a_judge_none_of_whose_first_replies_can_be_parsed_is_stopped(tmp_path):
    client = Script(*["?"] * 200)
    with pytest.raises(
        CheckError, match=r"none of the first 20 replies .* no verdict, but e.g. '\?'"
    ):
        grade(client, tmp_path, [request(str(i)) for i in range(100)])
    assert len(client.asked) == 20


def test_a_judge_of_whose_first_replies_one_is_parsed_goes_on(tmp_path):
    client = Script(*["?"] * 19, "1", *["?"] * 200)
    verdicts = grade(client, tmp_path, [request(str(i)) for i in range(50)])
    assert sum(value is not None for _, value, _ in verdicts) == 1


def test_a_judge_that_was_parsed_in_an_earlier_run_goes_on(tmp_path):
    grade(Script("1"), tmp_path, [request("known")])
    client = Script(*["?"] * 200)
    verdicts = grade(client, tmp_path, [request(n) for n in ("known", *map(str, range(30)))])
    assert sum(value is not None for _, value, _ in verdicts) == 1
