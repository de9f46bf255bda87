"""Names that could leave the workspace, or read like something else, are refused."""

from __future__ import annotations

import pytest

from harness.core.naming import MAX_BYTES, check_name
from harness.errors import ConfigError

NEVER = (
    "",
    "   ",
    " inpo",
    "inpo ",
    "inpo\n",
    "a\tb",
    "a\x1b[31mb",
    "a\x00b",
    "a\u202eb",
    "a\u200bb",
    "caf\udce9",
    "..",
    "../x",
    "../../../x",
    "a/../../x",
    "a/..",
    "..\\x",
    "/abs",
    "~/x",
    "n" * (MAX_BYTES + 1),
    "ü" * (MAX_BYTES // 2 + 1),
)


@pytest.mark.parametrize("kind", ["run", "label", "benchmark"])
@pytest.mark.parametrize("name", NEVER)
def test_a_name_that_cannot_be_used_is_refused_in_one_printable_line(name, kind):
    with pytest.raises(ConfigError) as refused:
        check_name(name, kind)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("name", ["a@1", "sweep/a@12", "@3", "a//b", "a/", "./a", "a/run.json"])
def test_a_run_is_not_called_like_something_else(name):
    with pytest.raises(ConfigError, match="--name"):
        check_name(name, "run")


@pytest.mark.parametrize(
    "name",
    ["inpo", "toy/inpo-eta-0.1", "a@b", "a b", "eta=0.1,seed=0", "n" * MAX_BYTES, "模型", "..a"],
)
def test_a_usual_name_is_taken(name):
    assert check_name(name, "run") == name


@pytest.mark.parametrize("name", ["gpt-4@1", "INPO (iteration 2)", "meta-llama/Llama-3-8B", "τ/η"])
def test_a_label_may_be_any_text_in_one_line(name):
    assert check_name(name, "label") == name


def test_a_benchmark_is_not_called_like_the_folder_of_bridges():
    with pytest.raises(ConfigError, match="bridge"):
        check_name("bridge", "benchmark")
