"""No surprise on the bill: forecasts hold, budgets are hard limits, retries are counted."""

import subprocess
import sys

import pytest

from harness.core.config import build, load
from harness.errors import BudgetError
from harness.judges.cached import CachedJudge, judge_options

MODELS = [
    "NullModel",
    *(pytest.param(name, marks=pytest.mark.faults) for name in ("gemma-7b-it", "claude-2.1")),
]


@pytest.fixture(scope="module")
def bench(shared):
    return build({**load("bench", "alpaca-eval"), "assets": str(shared / "assets")})


def requests(bench, shared, model, count=None):
    (ours,) = bench.read_answers(shared / f"replay/alpaca_eval/answers/{model}.json.gz")
    return bench.requests(ours.answers[:count], bench.baseline_answers()[:count])


def judge(url, path, **terms):
    client = build({**load("judge", "gpt-4-1106-preview"), "base_url": url, "timeout": 2})
    return CachedJudge(client=client, store=path, options=judge_options(**terms))


@pytest.fixture(scope="module", params=MODELS)
def billed(request, bench, shared, replay_for_long, tmp_path_factory):
    """What was asked about a model's answers, where, and what it cost."""
    asked, url = requests(bench, shared, request.param), replay_for_long().url
    cached = judge(url, tmp_path_factory.mktemp("billed") / "v.sqlite")
    cached.judge(asked, bench, lambda _: None)
    return asked, url, cached.usage(asked, bench)


def test_a_forecast_is_within_a_tenth_of_the_bill(
    bench, shared, billed, tmp_path, monkeypatch, figure
):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(shared / "assets/tiktoken"))
    asked, url, bill = billed
    estimate = judge(url, tmp_path / "v.sqlite").estimate_cost(asked, bench)
    assert (estimate.calls, bill.calls, bill.estimated) == (len(asked), len(asked), 0)
    assert estimate.dollars == pytest.approx(bill.dollars, rel=0.1)
    figure("forecast and bill", f"${estimate.dollars:.3f} ${bill.dollars:.3f}")


def test_a_forecast_without_the_encodings_file_holds_as_well(
    bench, billed, tmp_path, monkeypatch, figure
):
    """The estimate's rates come from other benchmarks: AlpacaEval was held out."""
    monkeypatch.setattr("tiktoken.get_encoding", _not_here)
    asked, url, bill = billed
    estimate = judge(url, tmp_path / "v.sqlite").estimate_cost(asked, bench)
    assert "an estimate of tiktoken's cl100k_base" in estimate.grounds
    assert estimate.prompt_tokens == pytest.approx(bill.prompt_tokens, rel=0.05)
    assert estimate.dollars == pytest.approx(bill.dollars, rel=0.1)
    figure("forecast and bill", f"${estimate.dollars:.3f} ${bill.dollars:.3f}")


def _not_here(name):
    raise OSError(f"no network, and {name} is not here")


def test_a_dry_run_tells_the_price_and_its_age(shared):
    command = [sys.executable, "-m", "harness", "eval", "--bench", "alpaca-eval", "--dry-run"]
    command += ["--answers", str(shared / "replay/alpaca_eval/answers/gemma-7b-it.json.gz")]
    done = subprocess.run(
        [*command, "--assets", str(shared / "assets")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "$10 / $30 since 2023-11-06 (alpaca_eval 0.6.6" in done.stdout
    assert "warning: the price was looked up long ago" in done.stdout


@pytest.mark.parametrize("budget", [0.05, 0.5, 1.5])
def test_a_budget_holds_with_many_requests_in_flight(bench, shared, replay, tmp_path, budget):
    asked = requests(bench, shared, "gemma-7b-it", 300)
    server = replay("--latency", "0.05", "--faults", "500=0.1,empty=0.1")
    cached = judge(server.url, tmp_path / "v.sqlite", budget=budget)
    with pytest.raises(BudgetError, match=f"budget of \\${budget:g} is spent"):
        cached.judge(asked, bench, lambda _: None)
    bill = cached.usage(asked, bench)
    # what may be spent beyond it is less than a call: what is in flight has been set aside
    assert budget - 0.03 < bill.dollars <= budget + 0.01
    assert server.stats()["requests"] >= bill.calls


def test_what_was_asked_again_and_what_was_lost_is_on_the_bill(bench, shared, replay, tmp_path):
    asked = requests(bench, shared, "gemma-7b-it", 100)
    server = replay("--faults", "empty=0.2,cut=0.2", "--seed", "3", "--fault-once")
    cached = judge(server.url, tmp_path / "v.sqlite")
    cached.judge(asked, bench, lambda _: None)
    counts, bill = server.stats(), cached.usage(asked, bench)
    assert bill.unparsed == counts["fault empty"] > 5
    assert bill.failed == bill.estimated == counts["fault cut"] > 5
    assert bill.calls == len(asked) + bill.unparsed + bill.failed == counts["requests"]
