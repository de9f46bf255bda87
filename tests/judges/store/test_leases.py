"""Several who ask: a request is asked once, and the dead hold nothing."""

import os
import subprocess
import sys
import time

import pytest

from harness.judges.store import leases
from harness.judges.store.database import Attempt, key_of, open_store
from harness.judges.store.leases import Owner, host_id, new_owner, process_start

BODY = {"model": "j", "messages": [{"role": "user", "content": "a"}]}
KEY = key_of(BODY)


def test_what_is_claimed_is_not_given_twice(tmp_path):
    ours, other = new_owner(), new_owner()
    with open_store(tmp_path / "v.sqlite") as store:
        assert store.claim({KEY: 0}, ours).granted == {KEY}
        assert store.claim({KEY: 0}, ours).granted == {KEY}
        assert store.claim({KEY: 0, "more": 0}, other).held_elsewhere == {KEY}
        store.release(ours)
        assert store.claim({KEY: 0}, other).granted == {KEY}


def test_what_is_answered_is_not_given_and_not_claimed(tmp_path):
    ours, other = new_owner(), new_owner()
    with open_store(tmp_path / "v.sqlite") as store:
        store.claim({KEY: 0}, ours)
        store.add([Attempt(BODY, "x", "j", True)])
        assert store.claim({KEY: 0}, other).answered == {KEY}
        assert store.claim({KEY: 1}, other).granted == {KEY}


def test_another_models_reply_is_no_answer(tmp_path):
    with open_store(tmp_path / "v.sqlite") as store:
        store.add([Attempt(BODY, "x", "k", True, quarantined=True)])
        assert store.claim({KEY: 0}, new_owner(), {"j"}).granted == {KEY}
        assert store.claim({KEY: 0}, new_owner(), {"j", "k"}).answered == {KEY}


@pytest.mark.parametrize(
    ("owner", "held"),
    [
        (Owner("o", host_id(), os.getpid(), process_start(os.getpid())), True),
        (Owner("o", host_id(), os.getpid(), "12345"), False),
        (Owner("o", "elsewhere", 1, "1"), True),
        (Owner("o", "", 0, ""), True),
    ],
    ids=["alive", "its number was given to another", "on another machine", "a batch"],
)
def test_only_the_living_hold_claims(tmp_path, owner, held):
    with open_store(tmp_path / "v.sqlite") as store:
        store.claim({KEY: 0}, owner)
        assert bool(store.claim({KEY: 0}, new_owner()).held_elsewhere) == held


def test_one_elsewhere_without_a_sign_of_life_counts_as_dead():
    assert leases.is_alive("elsewhere", 1, "1", time.time() - 800)
    assert not leases.is_alive("elsewhere", 1, "1", time.time() - 1000)


def test_a_heartbeat_ahead_of_a_clock_that_was_set_back_does_not_hold_forever(monkeypatch):
    ahead, now = time.time() + 1e6, time.monotonic()
    assert leases.is_alive("elsewhere", 1, "1", ahead)
    monkeypatch.setattr(time, "monotonic", lambda: now + 1000)
    assert not leases.is_alive("elsewhere", 1, "1", ahead)
    assert leases.is_alive("elsewhere", 1, "1", ahead + 60)  # a new sign of life


CLAIM = """
import sys, time
from pathlib import Path
from harness.judges.store.leases import new_owner
from harness.judges.store.database import open_store
with open_store(Path(sys.argv[1])) as store:
    print(len(store.claim({sys.argv[2]: 0}, new_owner()).granted), flush=True)
    time.sleep(60)
"""


def test_a_claim_dies_with_its_process(tmp_path):
    path = tmp_path / "v.sqlite"
    command = [sys.executable, "-c", CLAIM, str(path), KEY]
    with open_store(path) as store, subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"1\n"
        assert store.claim({KEY: 0}, new_owner()).held_elsewhere == {KEY}
        process.kill()
        process.wait()
        assert store.claim({KEY: 0}, new_owner()).granted == {KEY}
