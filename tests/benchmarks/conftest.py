"""MT-Bench on protocol texts of its form that are made up; the real ones are read in fidelity."""

import pytest

from harness.benchmarks.mt_bench import data as data
from harness.core.config import build, load

QUESTIONS = {
    n: data.Question(n, data.category_of(n), (f"What is {n}?", f"And {n} + 1?"))
    for n in range(81, 161)
}
SPOKEN = "U: {question_1}\nA: {answer_1}\nU: {question_2}\nA: {answer_2}\n(end)"
TEMPLATES = {
    "single-v1": data.Template("s", "Rate {{so}}.\n{question}\n[A]\n{answer}\n[/A]"),
    "single-math-v1": data.Template(
        "s", "Rate.\n{question}\n[R]\n{ref_answer_1}\n[A]\n{answer}\n[/A]"
    ),
    "single-v1-multi-turn": data.Template("multi", SPOKEN),
    "single-math-v1-multi-turn": data.Template(
        "multi", f"R: {{ref_answer_1}}\nR: {{ref_answer_2}}\n{SPOKEN}"
    ),
}
REFERENCES = {n: (f"it is {n}", f"it is {n + 1}") for n in range(101, 131)}


@pytest.fixture
def mt_bench(monkeypatch, tmp_path):
    """The benchmark."""
    monkeypatch.setattr(data, "load_texts", lambda _: data.ProtocolTexts(QUESTIONS, TEMPLATES))
    monkeypatch.setattr(data, "load_references", lambda name, folder: REFERENCES)
    return build({**load("bench", "mt-bench"), "assets": str(tmp_path)})
