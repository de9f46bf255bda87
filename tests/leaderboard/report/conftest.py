"""Results of the toy world's labels, scored and filed as evaluations do, and a browser to look."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.core.config import build, load
from harness.core.workspace import Workspace, write_result
from harness.evaluation import identities, run
from harness.evaluation.run import annotate_score
from harness.types import Answer, Graded, Message, ParsedVerdict, Prompt, Verdict
from leaderboard.report.content import build_content
from leaderboard.report.rendering import render_page

WORTH = {"A>>B": 1.0, "A>B": 1.0, "A=B": 0.5, "B>A": 0.0, "B>>A": 0.0}
WON, LOST, DRAWN, FIRST = ("B>A", "A>B"), ("A>B", "B>A"), ("A=B", "A=B"), ("A>B", "A>B")
"""What the judge says of two games: in the first, the baseline's answer is A, in the second ours.
`FIRST` is a judge that always prefers the first."""
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def benchmark():
    return build(load("bench", "toy-labels"))


def verdict(prompt: str, game: int, label: str | None, judge: str) -> Verdict:
    reply = "I cannot tell." if label is None else f"I weighed both. My verdict is [[{label}]]."
    parsed = None if label is None else ParsedVerdict(WORTH[label], label)
    return Verdict(f"{prompt}#{game + 1}", parsed, judge, reply)


def graded(
    label: str,
    games: Sequence[tuple[str | None, str | None] | None],
    *,
    judge: str = "judge-1",
    prompts: Sequence[str] = (),
    answers: Sequence[str] = (),
    length: Sequence[int] = (),
) -> Graded:
    """A contestant; None for games: equal answers, which are not asked."""
    ids = [f"p{i}" for i in range(len(games))]
    texts = list(prompts) or [f"What is {i} and {i}?" for i in range(len(games))]
    own_texts = list(answers) or [f"It is {2 * i} of course." for i in range(len(games))]
    baseline_texts = [
        own_texts[i] if labels is None else f"It is {2 * i}." for i, labels in enumerate(games)
    ]
    ends = ["length" if i in length else "stop" for i in range(len(games))]
    verdicts = [
        verdict(ids[i], game, labels[game], judge)
        for i, labels in enumerate(games)
        if labels is not None
        for game in (0, 1)
    ]
    return Graded(
        label=label,
        judge=judge,
        answers=tuple(Answer(*row) for row in zip(ids, own_texts, ends, strict=True)),
        baseline=tuple(
            Answer(i, text, "stop") for i, text in zip(ids, baseline_texts, strict=True)
        ),
        verdicts=tuple(verdicts),
        prompts=tuple(
            Prompt(i, (Message("user", text),)) for i, text in zip(ids, texts, strict=True)
        ),
        baseline_label="start",
    )


@pytest.fixture
def bridge() -> dict[str, Any]:
    """What `harness judge bridge` files of one model."""

    def estimate(value: float, half_width: float) -> dict[str, float]:
        return {
            "value": value,
            "low": value - half_width,
            "high": value + half_width,
            "standard_error": 1.0,
        }

    model = {
        "label": "a model",
        "unparsed": 1,
        "win_rate": {"old": estimate(45, 2), "new": estimate(40, 2)},
    }
    again = {"requests": 20, "mean_difference": estimate(0.1, 0.05)}
    return {
        "from": "judge-1",
        "to": "judge-2",
        "benchmark": "toy",
        "prompts": 30,
        "verdicts": 60,
        "models": [model],
        "rank_correlation": estimate(0.8, 0.1),
        "bias": estimate(0.05, 0.01),
        "kappa": {"value": 0.5, "low": 0.4, "high": 0.6, "standard_error": None},
        "same_verdict": estimate(0.75, 0.1),
        "first_slot": {"old": estimate(0.5, 0.1), "new": estimate(0.7, 0.1)},
        "self_consistency": again | {"same_verdict": estimate(0.9, 0.05)},
        "order_consistency": again | {"same_verdict": estimate(0.8, 0.05)},
        "cost": {"calls": 60, "prompt_tokens": 600, "completion_tokens": 60, "dollars": 1.25},
    }


Play = Callable[..., Path]


@pytest.fixture
def play(benchmark, workspace: Workspace) -> Play:
    """File a contestant's games; return the result's path."""

    def filed(label: str, games: Sequence[Any], **changes: Any) -> Path:
        contestant = graded(label, games, **changes)
        (score,) = benchmark.score([contestant])
        annotated = annotate_score(score, contestant)
        identity = identities.result_identity(
            benchmark=identities.benchmark_identity(benchmark, benchmark.sources()),
            contestant={"answers_sha256": identities.answers_sha256(contestant.answers)},
            judge=contestant.judge,
            judge_settings={},
            baseline=identities.baseline_identity(contestant.baseline_label, ""),
        )
        result = run.build_result(identity, contestant, annotated)
        return write_result(workspace, result, contestant, benchmark.files(contestant))

    return filed


def without_sums(path: Path, **changes: Any) -> Path:
    """Rewrite a result as the fourth schema had it, which held no sha256; return its path."""
    data = json.loads(path.read_text())
    for key in ("identity", "identity_sha256", "files", "sha256"):
        del data[key]
    path.write_text(json.dumps(data | {"schema": 4} | changes))
    return path


@dataclass
class Watched:
    """A page in a browser, and all that it asked for or complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def listen(self) -> Watched:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("console", self._heard)
        return self

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).all_inner_texts()


@pytest.fixture(scope="module")  # as long as it runs, no other test can run an event loop
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


Look = Callable[..., Watched]


@pytest.fixture
def look(browser) -> Iterator[Look]:
    """Open a page; when the test ends, nothing may have left it and nothing have gone wrong."""
    opened: list[tuple[Watched, str]] = []

    def open_page(path: Path | str, address: str = "", **settings: Any) -> Watched:
        url = path.as_uri() if isinstance(path, Path) else path
        watched = Watched(browser.new_context(**settings).new_page()).listen()
        opened.append((watched, url))
        watched.page.goto(url + address)
        watched.page.wait_for_selector("html[data-ready]")
        return watched

    yield open_page
    for watched, url in opened:
        watched.page.context.close()
        assert watched.complaints == []
        assert {request.partition("#")[0] for request in watched.requests} <= {url}


@pytest.fixture
def report(workspace: Workspace, tmp_path: Path) -> Callable[[], Path]:
    """Write the report of what is filed; return its path."""

    def written() -> Path:
        path = tmp_path / "report.html"
        path.write_text(render_page(build_content(workspace.root)), encoding="utf-8")
        return path

    return written
