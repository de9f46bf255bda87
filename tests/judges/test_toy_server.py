"""The judge server that the package ships, over plain HTTP."""

import http.client
import json
import math

import pytest

from harness.judges import chat_format
from harness.judges.toy_server import serving
from harness.types import Reply

TOP = ((("m", math.log(0.75)), ("M", math.log(0.25)), ("x", -20.0)),)


def grade(messages, request):
    if messages[0].content == "nonsense":
        raise ValueError("I cannot grade this")
    return Reply(messages[-1].content.upper(), TOP, "stop", "toy", 7, 1)


def call(url, method, path, body=None):
    host = url.removeprefix("http://").removesuffix("/v1")
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def ask(url, **body):
    default = {"model": "toy", "messages": [{"role": "user", "content": "hello"}]}
    return call(url, "POST", "/v1/chat/completions", json.dumps({**default, **body}))


@pytest.fixture(scope="module")
def url():
    with serving(grade, model="toy") as base_url:
        yield base_url


def test_a_reply_goes_over_the_wire_and_back(url):
    status, data = ask(url, logprobs=True, top_logprobs=2)
    assert status == 200
    assert data["usage"]["total_tokens"] == 8
    reply = chat_format.reply_of(json.dumps(data))
    assert reply == Reply("HELLO", (TOP[0][:2],), "stop", "toy", 7, 1)


def test_log_probabilities_come_only_when_they_are_asked_for(url):
    assert ask(url)[1]["choices"][0]["logprobs"] is None


def test_the_model_is_listed_and_another_is_not_found(url):
    assert call(url, "GET", "/v1/models")[1]["data"][0]["id"] == "toy"
    status, data = ask(url, model="other")
    assert (status, data["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"messages": [{"role": "user", "content": "nonsense"}]}, "I cannot grade this"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": 3}]}, "role"),
        ({"messages": ["hello"]}, "role"),
    ],
)
def test_what_cannot_be_graded_is_a_bad_request(url, body, message):
    status, data = ask(url, **body)
    assert status == 400
    assert message in data["error"]["message"]


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_what_is_no_request_is_a_bad_request(url, text):
    assert call(url, "POST", "/v1/chat/completions", text)[0] == 400


def test_other_paths_are_not_found(url):
    assert call(url, "GET", "/")[0] == 404
    assert call(url, "POST", "/v1/completions", "{}")[0] == 404


@pytest.mark.parametrize(
    "text",
    [
        "<html>",
        "[]",
        "null",
        "{}",
        '{"choices": []}',
        '{"error": {"message": "overloaded"}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_completion_is_no_reply(text):
    with pytest.raises(ValueError, match="no chat completion"):
        chat_format.reply_of(text)


def test_null_content_is_an_empty_reply():
    text = '{"choices": [{"message": {"content": null}, "finish_reason": "content_filter"}]}'
    assert chat_format.reply_of(text) == Reply("", None, "content_filter", "", 0, 0)
