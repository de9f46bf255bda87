import json

import pytest

from harness.benchmarks.ifeval.benchmark import InstructionFollowing
from harness.protocols import Sampling
from tests.benchmarks.ifeval.words import WordCheckers

ROWS = [
    ("a", "Begin with Yes.", [("words:first", {"word": "Yes"})]),
    ("b", "Not no.", [("words:first", {"word": "Yes", "N": None}), ("words:none", {"word": "no"})]),
    ("c", "Neither.", [("words:none", {"word": "no"}), ("words:none", {"word": "No"})]),
]


def question_rows(rows=ROWS):
    return [
        {
            "key": key,
            "prompt": prompt,
            "instruction_id_list": [kind for kind, _ in constraints],
            "kwargs": [arguments for _, arguments in constraints],
        }
        for key, prompt, constraints in rows
    ]


@pytest.fixture
def write(tmp_path):
    """Write rows as JSON lines; return the path."""

    def write_rows(name, rows):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write_rows


@pytest.fixture
def bench(write):
    path = write("questions.jsonl", question_rows())
    return InstructionFollowing(
        name="words", questions=str(path), checkers=WordCheckers(), sampling=Sampling()
    )
