import json

import pytest

from harness.benchmarks.wildbench import data
from harness.benchmarks.wildbench.benchmark import WildBench
from harness.benchmarks.wildbench.pairwise import WildBenchPairwise
from harness.core.config import build, load

TASKS = [
    ("s1", "Math", ["Reasoning", "Planning"], ["right", "short"]),
    ("s2", "Others", ["Editing"], []),
    ("s3", "Coding & Debugging", [], ["runs"]),
]


def task_rows():
    return [
        {
            "session_id": key,
            "conversation_input": [
                {"role": "system", "content": "unseen"},
                {"role": "user", "content": f"hello {key}"},
                {"role": "assistant", "content": "hi"},
                {"role": "user", "content": "now {$checklist}"},
            ],
            "checklist": checklist,
            "primary_tag": primary,
            "secondary_tags": secondary,
        }
        for key, primary, secondary, checklist in TASKS
    ]


@pytest.fixture
def assets(tmp_path, shared):
    """Protocol data with three conversations."""
    folder = tmp_path / "assets" / data.FOLDER
    (folder / "model_outputs").mkdir(parents=True)
    (folder / data.TASKS).write_text(json.dumps(task_rows()))
    (folder / "protocol.json").symlink_to(shared / "assets/wildbench/protocol.json")
    answers = [{"session_id": key, "output": [f"reference {key}"]} for key, *_ in TASKS]
    (folder / "model_outputs" / "ref.json").write_text(json.dumps(answers))
    return folder.parent


@pytest.fixture
def bench(assets) -> WildBench:
    return build(load("bench", "wildbench")).model_copy(update={"assets": assets})


@pytest.fixture
def pairwise(assets) -> WildBenchPairwise:
    built = build(load("bench", "wildbench-pairwise", {"against": "ref"}))
    return built.model_copy(update={"assets": assets})


@pytest.fixture
def write(tmp_path):
    def write_json(rows, name="me.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows))
        return path

    return write_json
