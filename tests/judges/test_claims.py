"""Several who ask: a request is asked once, and the dead hold nothing."""

import os
import subprocess
import sys
import time

import pytest

from harness.judges import owners
from harness.judges.owners import Owner, begun, machine, ourselves
from harness.judges.store import Attempt, key_of, opened

BODY = {"model": "j", "messages": [{"role": "user", "content": "a"}]}
KEY = key_of(BODY)


def test_what_is_claimed_is_not_given_twice(tmp_path):
    ours, other = ourselves(), ourselves()
    with opened(tmp_path / "v.sqlite") as store:
        assert store.claim({KEY: 0}, ours).ours == {KEY}
        assert store.claim({KEY: 0}, ours).ours == {KEY}
        assert store.claim({KEY: 0, "more": 0}, other).theirs == {KEY}
        store.release(ours)
        assert store.claim({KEY: 0}, other).ours == {KEY}


def test_what_is_answered_is_not_given_and_not_claimed(tmp_path):
    ours, other = ourselves(), ourselves()
    with opened(tmp_path / "v.sqlite") as store:
        store.claim({KEY: 0}, ours)
        store.add([Attempt(BODY, "x", "j", True)])
        assert store.claim({KEY: 0}, other).answered == {KEY}
        assert store.claim({KEY: 1}, other).ours == {KEY}


def test_another_models_reply_is_no_answer(tmp_path):
    with opened(tmp_path / "v.sqlite") as store:
        store.add([Attempt(BODY, "x", "k", True, quarantined=True)])
        assert store.claim({KEY: 0}, ourselves(), {"j"}).ours == {KEY}
        assert store.claim({KEY: 0}, ourselves(), {"j", "k"}).answered == {KEY}


@pytest.mark.parametrize(
    ("owner", "held"),
    [
        (Owner("o", machine(), os.getpid(), begun(os.getpid())), True),
        (Owner("o", machine(), os.getpid(), "12345"), False),
        (Owner("o", "elsewhere", 1, "1"), True),
        (Owner("o", "", 0, ""), True),
    ],
    ids=["alive", "its number was given to another", "on another machine", "a batch"],
)
def test_only_the_living_hold_claims(tmp_path, owner, held):
    with opened(tmp_path / "v.sqlite") as store:
        store.claim({KEY: 0}, owner)
        assert bool(store.claim({KEY: 0}, ourselves()).theirs) == held


def test_one_elsewhere_without_a_sign_of_life_counts_as_dead():
    assert owners.alive("elsewhere", 1, "1", time.time() - 800)
    assert not owners.alive("elsewhere", 1, "1", time.time() - 1000)


CLAIM = """
import sys, time
from pathlib import Path
from harness.judges.owners import ourselves
from harness.judges.store import opened
with opened(Path(sys.argv[1])) as store:
    print(len(store.claim({sys.argv[2]: 0}, ourselves()).ours), flush=True)
    time.sleep(60)
"""


def test_a_claim_dies_with_its_process(tmp_path):
    path = tmp_path / "v.sqlite"
    command = [sys.executable, "-c", CLAIM, str(path), KEY]
    with opened(path) as store, subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"1\n"
        assert store.claim({KEY: 0}, ourselves()).theirs == {KEY}
        process.kill()
        process.wait()
        assert store.claim({KEY: 0}, ourselves()).ours == {KEY}
