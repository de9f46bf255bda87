"""Bodies as servers write them: what is there is read, and nothing ends in a traceback."""

import json

import pytest

from harness.judges.chat_format import reply_of


def body(content="m", logprobs=None, **more):
    message = more.pop("message", {"role": "assistant", "content": content})
    choice = {"message": message, "finish_reason": "stop", "logprobs": logprobs}
    choice |= more.pop("choice", {})
    usage = {"prompt_tokens": 5, "completion_tokens": 1}
    return json.dumps({"model": "j", "choices": [choice], "usage": usage, **more})


def position(token, *tops):
    return {
        "token": token,
        "logprob": -0.1,
        "top_logprobs": [{"token": name, "logprob": value} for name, value in tops],
    }


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "[[A>B]]"}],
        [{"type": "text", "text": "[[A"}, {"type": "text", "text": ">B]]"}],
        [{"type": "output_text", "text": {"value": "[[A>B]]"}}],
        ["[[A>B]]"],
        {"type": "text", "text": "[[A>B]]"},
        [{"type": "thinking", "thinking": "[[B>A]]"}, {"type": "text", "text": "[[A>B]]"}],
        [
            {"type": "thinking", "thinking": [{"type": "text", "text": "[[B>A]]"}]},
            {"type": "text", "text": "[[A>B]]"},
        ],
        [{"type": "reasoning", "text": "[[B>A]]"}, {"type": "text", "text": "[[A>B]]"}],
        [{"type": "image", "url": "x"}, None, 3, {"type": "text", "text": "[[A>B]]"}],
        "<think>[[B>A]]</think>\n[[A>B]]",
    ],
)
def test_parts_and_thoughts_are_read_as_text(content):
    assert reply_of(body(content)).content == "[[A>B]]"


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_a_thought_beside_the_answer_is_kept_and_not_read(key):
    reply = reply_of(body(message={"content": "[[A>B]]", key: "[[B>>A]]"}))
    assert (reply.content, reply.thinking) == ("[[A>B]]", "[[B>>A]]")
    only = reply_of(body(message={"content": None, key: "[[B>>A]]"}))
    assert (only.content, only.thinking) == ("", "[[B>>A]]")


def test_a_thought_that_does_not_end_leaves_nothing_to_read():
    tokens = {"content": [position("<think>", ("<think>", -0.1), ("m", -3.0), ("M", -4.0))]}
    reply = reply_of(body("<think>", tokens))
    assert (reply.content, reply.top_logprobs) == ("", ())
    hidden = reply_of(body(None, tokens))  # a server with a parser for thoughts leaves the text out
    assert (hidden.content, hidden.top_logprobs) == ("", ())


def test_the_tokens_are_those_after_the_thought():
    content = [
        position("<think>", ("<think>", -0.1)),
        position("M", ("M", -0.1)),
        position("</think>", ("</think>", -0.1)),
        position("\n\n", ("\n\n", -0.1)),
        position("m", ("m", -0.2), ("M", -2.0)),
        position("<|im_end|>", ("<|im_end|>", -0.1)),
    ]
    for text, beside in (("<think>M</think>\n\nm", {}), ("m", {"reasoning_content": "M"})):
        message = {"content": text, **beside}
        reply = reply_of(body(message=message, logprobs={"content": content}))
        assert reply.top_logprobs == ((("m", -0.2), ("M", -2.0)),)


def test_tokens_that_are_not_the_answers_are_not_read():
    content = [position("M", ("M", -0.1))]
    reply = reply_of(
        body(message={"content": "m", "reasoning": "M"}, logprobs={"content": content})
    )
    assert reply.top_logprobs == ()


@pytest.mark.parametrize("missing", [None, {}, {"content": None}, {"content": "x"}, [], "x", 3])
def test_a_reply_without_log_probabilities_has_none(missing):
    assert reply_of(body("m", missing)).top_logprobs is None


@pytest.mark.parametrize("tops", [None, "x", 3, [None], [{"token": "m"}], {}])
def test_a_position_of_another_shape_is_read_as_far_as_it_goes(tops):
    reply = reply_of(body("m", {"content": [{"token": "m", "top_logprobs": tops}, None]}))
    assert len(reply.top_logprobs) == 2
    assert all(value != value for _, value in reply.top_logprobs[0])


@pytest.mark.parametrize(
    ("written", "value"),
    [("-0.5", -0.5), ('"-0.5"', -0.5), ("-9999", -9999.0), ("-1e999", float("-inf")), ("1", 1.0)],
)
def test_log_probabilities_are_read_as_written(written, value):
    text = body("m", {"content": [position("m", ("m", "HERE"))]}).replace('"HERE"', written)
    assert reply_of(text).top_logprobs == ((("m", value),),)


@pytest.mark.parametrize("written", ["null", "true", '"x"', "NaN", "[]"])
def test_other_log_probabilities_are_unknown(written):
    text = body("m", {"content": [position("m", ("m", "HERE"))]}).replace('"HERE"', written)
    ((_, value),) = reply_of(text).top_logprobs[0]
    assert value != value


@pytest.mark.parametrize(
    "written",
    ["null", '"n/a"', "-5", "1e999", "-1e999", "NaN", "true", "1" + "0" * 400, "1" + "0" * 6000,
     "-1" + "0" * 6000, "9223372036854775808", "[1]", "{}"],
)  # fmt: skip
def test_a_token_count_that_cannot_be_is_not_reported(written):
    usage = {"prompt_tokens": "HERE", "completion_tokens": "HERE"}
    reply = reply_of(body(usage=usage).replace('"HERE"', written))
    assert (reply.prompt_tokens, reply.completion_tokens) == (0, 0)
    assert reply.content == "m"


@pytest.mark.parametrize("usage", [None, [], "x", 3, {"prompt_tokens": {"a": 1}}])
def test_usage_of_another_shape_is_not_reported(usage):
    assert reply_of(body(usage=usage)).prompt_tokens == 0


@pytest.mark.parametrize(("reason", "text"), [(2, "2"), (None, ""), ("stop", "stop"), ({}, "")])
def test_a_finish_reason_may_be_a_number(reason, text):
    assert reply_of(body(choice={"finish_reason": reason})).finish_reason == text


def test_a_byte_order_mark_and_half_a_surrogate_pair_are_harmless():
    reply = reply_of("\ufeff" + body("a\ud800", model="j\udfff"))
    assert (reply.content, reply.model) == ("a?", "j?")


@pytest.mark.parametrize("message", [None, [], 7, {}])
def test_a_choice_without_a_message_is_an_empty_reply(message):
    assert reply_of(body(message=message)).content == ""


@pytest.mark.parametrize(
    "text", ["", "x", "[]", "{}", '{"choices": []}', '{"choices": ["m"]}', '{"error": {}}', "3"]
)
def test_what_has_no_choice_is_no_completion(text):
    with pytest.raises(ValueError, match="no chat completion"):
        reply_of(text)


@pytest.mark.parametrize(
    ("reason", "complete", "filtered"),
    [("stop", True, False), ("length", False, False), ("MAX_TOKENS", False, False),
     ("content_filter", False, True), ("SAFETY", False, True), ("2", True, False)],
)  # fmt: skip
def test_how_a_reply_ended(reason, complete, filtered):
    reply = reply_of(body(choice={"finish_reason": reason}))
    assert (reply.is_complete, reply.is_filtered) == (complete, filtered)


def events(*parts, done=True, end="\n\n"):
    lines = [f"data: {json.dumps(part)}" for part in parts] + ["data: [DONE]"] * done
    return ": keep-alive" + end + "".join(line + end for line in lines)


def part(delta, **more):
    return {"model": "j", "choices": [{"index": 0, "delta": delta, **more}]}


USAGE = {"model": "j", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\n"])
def test_the_events_of_a_server_that_streams_unasked_are_put_together(end):
    last = part({}, finish_reason="stop")
    text = events(part({"role": "assistant", "content": "[[A"}), part({"content": ">B]]"}), last,
                  USAGE, end=end)  # fmt: skip
    reply = reply_of(text)
    assert (reply.content, reply.model, reply.finish_reason) == ("[[A>B]]", "j", "stop")
    assert (reply.prompt_tokens, reply.completion_tokens) == (5, 2)
    thought = reply_of(events(part({"reasoning_content": "[[B"}), part({"reasoning_content": ">A"}),
                              part({"content": "[[A>B]]"}), last))  # fmt: skip
    assert (thought.content, thought.thinking) == ("[[A>B]]", "[[B>A")
    tokens = {"content": [position("m", ("m", -0.1), ("M", -2.4))]}
    weighed = reply_of(events(part({"content": "m"}, logprobs=tokens), last))
    assert weighed.top_logprobs == ((("m", -0.1), ("M", -2.4)),)


def test_a_completion_in_one_event_or_behind_comments_is_read():
    assert reply_of(events(json.loads(body("[[A>B]]")))).content == "[[A>B]]"
    assert reply_of(": wait\n\n: wait\n\n" + body("[[A>B]]")).content == "[[A>B]]"


@pytest.mark.parametrize("text", [
    events(part({"content": "[[A"}), done=False),
    events({"error": {"message": "went away"}}),
    events(),
    "data: <html>",
])  # fmt: skip
def test_events_without_a_whole_completion_are_none(text):
    with pytest.raises(ValueError, match="no chat completion"):
        reply_of(text)


@pytest.mark.parametrize("choice", [
    {"text": "[[A>B]]"},
    {"message": "[[A>B]]"},
    {"delta": {"content": "[[A>B]]"}},
    {"message": {"content": None, "refusal": "[[A>B]]"}},
])  # fmt: skip
def test_a_choice_of_another_shape_is_read(choice):
    text = json.dumps({"model": "j", "choices": [choice]})
    assert reply_of(text).content == "[[A>B]]"
    assert reply_of(f"[{text}]").content == "[[A>B]]"


def test_the_first_of_several_choices_counts():
    choices = [
        {"index": index, "message": {"content": content}} for index, content in ((1, "b"), (0, "a"))
    ]
    assert reply_of(json.dumps({"choices": choices})).content == "a"
    for choice in choices:
        del choice["index"]
    assert reply_of(json.dumps({"choices": choices})).content == "b"


TOPS = {"m": -0.1, "M": -2.4}
CODES = [{"token": "", "bytes": list(k.encode()), "logprob": v} for k, v in TOPS.items()]
IDS = [{**top, "token": f"token_id:{i}"} for i, top in enumerate(CODES)]


@pytest.mark.parametrize("logprobs", [
    [position("m", *TOPS.items())],
    {"tokens": ["m"], "token_logprobs": [-0.1], "top_logprobs": [TOPS]},
    {"content": [{"token": "m", "logprob": -0.1, "top_logprobs": TOPS}]},
    {"content": [{**CODES[0], "top_logprobs": CODES}]},
    {"content": [{**IDS[0], "top_logprobs": IDS}]},
], ids=["list", "lists", "object", "bytes", "ids"])  # fmt: skip
def test_log_probabilities_of_another_shape_are_read(logprobs):
    for text in (body("m", logprobs), body(message={"content": "m", "logprobs": logprobs})):
        assert reply_of(text).top_logprobs == (tuple(TOPS.items()),)


@pytest.mark.parametrize("top", [
    {"token": "token_id:7"}, {"token": None, "bytes": [300]}, {"token": 7, "bytes": ["m"]},
])  # fmt: skip
def test_a_token_without_a_text_is_none_of_the_labels(top):
    (tops,) = reply_of(body("m", {"content": [{"top_logprobs": [top]}]})).top_logprobs
    assert tops[0][0] in ("", "token_id:7")


@pytest.mark.parametrize(("usage", "prompt", "completion"), [
    ({"input_tokens": 5, "output_tokens": 2}, 5, 2),
    ({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 107}, 5, 102),  # its thought
    ({"prompt_tokens": 5, "total_tokens": 7}, 5, 2),
    ({"completion_tokens": 2, "total_tokens": 7}, 5, 2),
    ({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 1}, 5, 2),
    ({"total_tokens": 7}, 0, 0),
])  # fmt: skip
def test_usage_under_other_names_and_the_tokens_of_a_thought_are_counted(usage, prompt, completion):
    reply = reply_of(body(usage=usage))
    assert (reply.prompt_tokens, reply.completion_tokens) == (prompt, completion)


@pytest.mark.parametrize(("reason", "filtered", "complete"), [
    ("stop", False, True), ("STOP", False, True), ("", False, True), ("end_turn", False, True),
    ("MAX_TOKENS", False, False), ("FinishReason.MAX_TOKENS", False, False),
    ("max-output-tokens", False, False), ("error", False, False), ("abort", False, False),
    ("SAFETY", True, False), ("FinishReason.PROHIBITED_CONTENT", True, False),
    ("FINISH_REASON_SAFETY", True, False), ("refusal", True, False), ("sensitive", True, False),
])  # fmt: skip
def test_finish_reasons_are_those_of_many_providers(reason, filtered, complete):
    reply = reply_of(body(choice={"finish_reason": reason}))
    assert (reply.is_filtered, reply.is_complete) == (filtered, complete)
