"""Records are read back as they were written, all of them or some prompts'."""

from __future__ import annotations

from harness.training import records
from harness.types import Completion, Pair


def completion(prompt: str, index: int) -> Completion:
    return Completion(prompt, index, f"{prompt} {index}", (1, 2), (3, index), "stop", 7)


def test_completions_come_back_by_prompt_and_only_those_that_are_wanted(tmp_path):
    completions = [completion(prompt, index) for prompt in ("b", "a", "c") for index in (0, 1)]
    records.write_completions(tmp_path, completions)
    assert records.read_completions(str(tmp_path)) == {
        prompt: [completion(prompt, 0), completion(prompt, 1)] for prompt in ("b", "a", "c")
    }
    some = records.read_completions(str(tmp_path), ["c", "b", "unknown"])
    assert list(some) == ["b", "c"]
    assert some["c"] == [completion("c", 0), completion("c", 1)]


def test_pairs_come_back_as_they_were_with_win_rates_or_without(tmp_path):
    pairs = [
        Pair("p", (1,), (2, 3), (4,), 0.75, (0.6, 0.4)),
        Pair("q", (1, 5), (2,), (4, 4), 1.0, None),
    ]
    records.write_pairs(tmp_path, pairs)
    assert records.read_pairs(str(tmp_path)) == pairs
