"""A key is struck out of whatever is kept or shown, however it is written."""

import base64
import json
import logging
from urllib.parse import quote

import pytest

from harness.core.config import build
from harness.core.secrets import Secret, redact_logs
from harness.errors import ConfigError
from harness.judges.client import OpenAIClient

KEY = "sk-proj-a/b+Q9x2Lw7_Zt4.Kd81"
SECRET = Secret(KEY)


@pytest.mark.parametrize(
    "written",
    [
        KEY,
        quote(KEY, safe=""),
        json.dumps(KEY),
        KEY.replace("/", "\\/"),
        KEY.encode().hex(),
        KEY.encode().hex().upper(),
        base64.b64encode(KEY.encode()).decode(),
        base64.b64encode(f"Bearer {KEY}".encode()).decode(),
        base64.b64encode(f"u:{KEY}\n".encode()).decode(),
        base64.urlsafe_b64encode(f"::{KEY}".encode()).decode(),
        KEY[:-1],
        KEY[3:20],
        KEY[-8:],
        repr(Secret(KEY)),
    ],
)
def test_a_key_is_struck_out_however_it_is_written(written):
    told = SECRET.redact(f"wrong key {written}, try another")
    assert "***" in told
    pieces = {KEY[i : i + 8] for i in range(8, len(KEY) - 8)}
    assert not any(piece in told for piece in pieces)
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + KEY.encode()).decode()
        assert coded[4:-4] not in told
    assert told.startswith("wrong key ")
    assert told.endswith(", try another")


def test_what_holds_no_key_is_left_as_it_is():
    text = "sk-proj- and words such as a/b+Q9x are no key: [[A>B]] \x1b[31m" + "x" * 100_000
    assert SECRET.redact(text) is text
    words = Secret("preference-harness")
    assert words.redact("a preference of the harness") == "a preference of the harness"
    assert words.redact("preference-harness") == "***"


@pytest.mark.parametrize("key", ["", "none", "x"])
def test_what_is_too_short_to_be_secret_is_no_key(key):
    assert Secret(key).redact(f"there is none of {key} x") == f"there is none of {key} x"


def test_a_body_that_escapes_the_key_is_decoded_first():
    escaped = "".join(f"\\u{ord(c):04x}" for c in KEY)
    told = SECRET.redact_body(f'{{"content": "the key is {escaped}, \\u00e4\\ud800"}}')
    assert json.loads(told) == {"content": "the key is ***, ä\ud800"}
    plain = '{"content": "\\u00e4 as it came"}'
    assert SECRET.redact_body(plain) == plain


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


def test_a_key_in_the_path_of_an_address_is_not_told(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "K3yK3yK3yK3y")
    judge = OpenAIClient(model="j", base_url="http://127.0.0.1/K3yK3yK3yK3y/v1")
    assert judge.display_name == "the judge j at http://127.0.0.1/***/v1"
