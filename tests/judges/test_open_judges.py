"""Judges with open weights that ship as configurations: pinned, described, served or asked."""

import re

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.core.config import build, identity, load, names
from harness.errors import JudgeError
from harness.judges import doctor, vllm
from harness.judges.toy_server import serving
from harness.judges.vllm import VLLMClient
from harness.types import Reply

OPEN = ("compassjudger-2", "gpt-oss-120b", "llama-3.1-70b-fp8", "qwen3-235b")
PINNED = ("gpt-oss-120b", "qwen3-235b")


@pytest.mark.parametrize("name", OPEN)
def test_an_open_judge_says_what_it_is_and_what_it_takes(name):
    judge = build(load("judge", name))
    assert isinstance(judge, VLLMClient)
    assert judge.size
    assert judge.gpus
    command = judge._command(8000)
    assert command[command.index("--model") + 1] == judge.path
    assert command[command.index("--served-model-name") + 1] == judge.model
    if name in PINNED:
        assert re.fullmatch("[0-9a-f]{40}", command[command.index("--revision") + 1])
    else:
        assert judge.revision is None  # its file says that the user names it
        pinned = build(load("judge", name, ["revision=abc"]))
        assert identity(pinned) != identity(judge)
    gpus = judge.gpus.split()[0].replace("one", "1")
    shards = command[command.index("--tensor-parallel-size") + 1] if gpus != "1" else "1"
    assert shards == gpus


def test_the_list_of_judges_shows_size_gpus_and_commit():
    shown = CliRunner().invoke(app, ["ls", "judge"], catch_exceptions=False).stdout
    for name in names("judge"):
        assert f"  {name}" in shown
    assert "gpt-oss-120b  (117B parameters, 5.1B active, 4 bits (65 GB); GPUs: one of 80" in shown
    assert "b5c939de8f754692c1647ca79fbf85e8c1e70f8a)" in shown
    assert "GPUs: 2 of 80 GB; no commit named)" in shown


def test_where_it_is_served_does_not_change_what_it_is():
    here = build(load("judge", "gpt-oss-120b"))
    there = here.model_copy(update={"base_url": "http://10.0.0.7:8000/v1", "deployment": "x"})
    assert identity(here) == identity(there)
    assert there.url == "http://10.0.0.7:8000/v1"


def test_a_key_for_its_address_comes_from_vllms_own_variable(monkeypatch):
    there = build(load("judge", "gpt-oss-120b", ["base_url=http://10.0.0.7:8000/v1"]))
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-somebody-elses")
    with there.connected() as client, pytest.raises(JudgeError, match="set VLLM_API_KEY"):
        client.key()
    monkeypatch.setenv("VLLM_API_KEY", "k")
    with there.connected() as client:
        assert client.key() == "k"


def test_a_server_that_is_up_is_looked_at_and_left_up(tmp_path):
    reply = Reply("A", None, "stop", "openai/gpt-oss-120b", 9, 1)
    with serving(lambda *_: reply, "openai/gpt-oss-120b") as url:
        overrides = [f"base_url={url}", "deployment=openai/gpt-oss-120b"]
        judge = build(load("judge", "gpt-oss-120b", overrides))
        judge.check_ready()
        findings = {finding.subject: finding for finding in doctor.examine(judge)}
        assert findings["serves"].state == "ok"
        assert findings["serves"].detail == "openai/gpt-oss-120b"
        judge.check_ready()
    with pytest.raises(JudgeError, match="cannot be reached"):
        judge.check_ready()


def test_the_doctor_serves_a_judge_for_as_long_as_it_looks(tmp_path, monkeypatch):
    monkeypatch.setattr(vllm, "find_spec", lambda name: object())
    with serving(lambda *_: Reply("A", None, "stop", "m", 9, 1), "m") as url:

        class Served:
            def __init__(self, *_):
                self.is_up = False

            def __enter__(self):
                self.is_up = True
                return url

            def __exit__(self, *_):
                ended.append(self.is_up)

        ended = []
        monkeypatch.setattr(vllm, "serving", Served)
        findings = doctor.examine(VLLMClient(model="m", path="org/m"))
    assert ended == [True]
    assert [f.state for f in findings if f.subject == "serves"] == ["ok"]
