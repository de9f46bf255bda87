"""A key is removed from everything that is stored or shown."""

import json
import logging

import pytest

from harness.core import config
from harness.core.config import build
from harness.core.secrets import Secret, redact_logs
from harness.engines.openai import OpenAIEngine
from harness.errors import ConfigError
from harness.judges.client import OpenAIClient
from harness.judges.vllm import VLLMClient

KEY = "sk-proj-a/b+Q9x2Lw7_Zt4.Kd81"
SECRET = Secret(KEY)


def test_every_occurrence_of_a_key_is_masked():
    text = f"wrong key {KEY}, not the header 'Bearer {KEY}'"
    assert SECRET.redact(text) == "wrong key ***, not the header 'Bearer ***'"


def test_a_text_without_the_key_is_unchanged():
    text = "sk-proj- and words such as a/b+Q9x are no key: [[A>B]] \x1b[31m" + "x" * 100_000
    assert SECRET.redact(text) == text


@pytest.mark.parametrize("key", ["", "none", "x"])
def test_a_text_too_short_to_be_secret_is_no_key(key):
    assert Secret(key).redact(f"there is none of {key} x") == f"there is none of {key} x"


def test_neither_repr_nor_str_shows_the_key():
    assert "sk-" not in f"{SECRET!r} {SECRET} {[SECRET]}"


@pytest.mark.parametrize(
    "escaped", ["".join(f"\\u{ord(c):04x}" for c in KEY), KEY.replace("/", "\\/")]
)
def test_a_key_is_masked_where_json_escapes_it(escaped):
    body = f'{{"a": [1, {{"{escaped}": "the key is {escaped}, \\u00e4\\ud800"}}], "b": null}}'
    expected = {"a": [1, {"***": "the key is ***, ä\ud800"}], "b": None}
    assert json.loads(SECRET.redact_body(body)) == expected


@pytest.mark.parametrize(
    "body",
    [
        '{"content": "\\u00e4 as it came"}',
        "no JSON \\u00e4",
        "[" * 100_000 + "\\",
    ],
    ids=["escapes", "no JSON", "deep"],
)
def test_a_body_without_the_key_is_unchanged(body):
    assert SECRET.redact_body(body) == body


@pytest.fixture
def _loud():
    """What is set for the whole process is set back."""
    before = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.usefixtures("_loud")
def test_logs_hold_no_key_whoever_writes_them(caplog):
    redact_logs(SECRET)
    redact_logs(SECRET)
    logger = logging.getLogger("opened.later")
    with caplog.at_level("DEBUG"):
        logger.debug("headers %s", {"authorization": f"Bearer {KEY}"})
        try:
            raise ValueError(f"no key {KEY}")
        except ValueError:
            logger.exception("wrong")
        logger.info("as %s", "it was")
        logger.debug("%d", 1)
    assert caplog.records[-2].args == ("it was",)
    assert "Bearer ***" in caplog.text
    assert "ValueError: no key ***" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        f"http://u:{KEY}@127.0.0.1/v1",
        "http://h/v1?key=K3yK3yK3y",
        "http://K3yK3yK3y@h",
        "h://x/#K3yK3yK3y",
    ],
)
def test_an_address_holds_no_key_and_who_tries_is_not_shown(url, monkeypatch):
    spec = {"use": "harness.judges.client:OpenAIClient", "model": "j"}
    with pytest.raises(ConfigError, match="put the key into the environment") as caught:
        build({**spec, "base_url": url})
    assert "K3y" not in str(caught.value)
    assert KEY not in str(caught.value)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL: an address") as caught:
        assert build(spec).display_name
    assert "K3y" not in str(caught.value)


def test_a_key_in_the_place_of_its_variables_name_is_not_shown():
    spec = {"use": "harness.judges.client:OpenAIClient", "model": "j", "api_key_env": KEY}
    with pytest.raises(ConfigError, match="api_key_env: string should match") as caught:
        build(spec)
    assert KEY not in str(caught.value)
    assert "http://127" not in repr(OpenAIClient(model="j", base_url="http://127.0.0.1/v1"))


def test_a_key_in_the_path_of_an_address_is_not_shown(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "K3yK3yK3yK3y")
    judge = OpenAIClient(model="j", base_url="http://127.0.0.1/K3yK3yK3yK3y/v1")
    assert judge.display_name == "the judge j at http://127.0.0.1/***/v1"


KEYED = (
    {"api_key": "abc"},
    {"apiKey": "abc"},
    {"API-KEY": "abc"},
    {"extra_headers": {"Authorization": "Bearer abcdefghij"}},
    {"extra_headers": {"x-api-key": "abc"}},
    {"extra_headers": {"Ocp-Apim-Subscription-Key": "abc"}},
    {"extra_headers": {"X-Custom": "Bearer abcdefghij"}},
    {"extra_body": {"deep": [{"token": "abc"}]}},
    {"extra_query": {"key": "abc"}},
    {"accessToken": "abc"},
    {"client_secret": "abc"},
    {"proxy-authorization": "abc"},
    {"password": "abc"},
    {"metadata": {"note": "sk-" + "a1B2" * 8}},
    {"api_key": ["abc"]},
    {"api_key": 123456789},
    {"api_key": {"value": "abc"}},
)
KEYLESS = (
    {"max_tokens": 5, "reasoning_effort": "none", "temperature": 0.0},
    {"prompt_cache_key": "run-1", "safety_identifier": "u", "user": "me"},
    {"stop_token_ids": [1, 2], "return_token_ids": True, "bad_words": ["token"]},
    {"logit_bias": {"50256": -100}, "response_format": {"type": "json_schema"}},
    {"api_key": None, "token": None},
    {"chat_template_kwargs": {"enable_thinking": False}, "stop": ["Bearer"]},
)


@pytest.mark.parametrize("parameters", KEYED, ids=str)
def test_a_key_among_parameters_is_refused_and_not_repeated(parameters):
    with pytest.raises(ConfigError, match="looks like a key.*api_key_env") as caught:
        config.construct(OpenAIClient, {"model": "m", "parameters": parameters}, "judge")
    assert "abc" not in str(caught.value)
    assert "a1B2" not in str(caught.value)
    with pytest.raises(ConfigError, match="body.* looks like a key"):
        config.construct(OpenAIEngine, {"base_url": "http://h/v1", "body": parameters})
    with pytest.raises(ConfigError, match="looks like a key"):
        config.construct(VLLMClient, {"model": "m", "path": "p", "parameters": parameters})


def test_an_engines_address_holds_no_key_either():
    for url in ("http://me:abc@host/v1", "https://host/v1?key=abc"):
        with pytest.raises(ConfigError, match="no user, password or query") as caught:
            config.construct(OpenAIEngine, {"base_url": url})
        assert "abc" not in str(caught.value)


@pytest.mark.parametrize("parameters", KEYLESS, ids=str)
def test_other_parameters_pass(parameters):
    assert OpenAIClient(model="m", parameters=parameters).parameters == parameters
