"""MT-Bench on invented protocol texts of the same form; tests/fidelity reads the real ones."""

import pytest

from harness.benchmarks.mt_bench import data
from harness.core.config import build, load

QUESTIONS = {
    n: data.Question(n, data.category_of(n), (f"What is {n}?", f"And {n} + 1?"))
    for n in range(81, 161)
}
CONVERSATION = "U: {question_1}\nA: {answer_1}\nU: {question_2}\nA: {answer_2}\n(end)"
TEMPLATES = {
    "single-v1": data.Template("s", "Rate {{so}}.\n{question}\n[A]\n{answer}\n[/A]"),
    "single-math-v1": data.Template(
        "s", "Rate.\n{question}\n[R]\n{ref_answer_1}\n[A]\n{answer}\n[/A]"
    ),
    "single-v1-multi-turn": data.Template("multi", CONVERSATION),
    "single-math-v1-multi-turn": data.Template(
        "multi", f"R: {{ref_answer_1}}\nR: {{ref_answer_2}}\n{CONVERSATION}"
    ),
}
REFERENCES = {n: (f"it is {n}", f"it is {n + 1}") for n in range(101, 131)}


@pytest.fixture
def mt_bench(monkeypatch, tmp_path):
    """The benchmark."""
    monkeypatch.setattr(data, "load_texts", lambda _: data.ProtocolTexts(QUESTIONS, TEMPLATES))
    monkeypatch.setattr(data, "load_references", lambda name, folder: REFERENCES)
    return build({**load("bench", "mt-bench"), "assets": str(tmp_path)})
