"""The computed tables of docs/reproduce.md; `python docs/costs.py` writes them into the page.

Hours and memory are the harness's own estimate, the judge's bill its own forecast, prices those of
`configs/gpu` and `configs/prices`. A test holds that the page says what is computed.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.cli import factory
from harness.core.config import build, construct, load, names
from harness.core.hub import assets_directory
from harness.core.seeds import digest
from harness.core.stages import ExternalInput, Node
from harness.errors import AssetError
from harness.evaluation.run import typical_requests
from harness.judges.cached import CachedJudge
from harness.training.estimate import GB, TrainingCost, estimate_training
from harness.training.schedule import Schedule
from harness.training.spec import TrainSpec
from harness.types import CostEstimate, JudgeRequest
from leaderboard.publications import read_publications

PAGE = Path(__file__).with_name("reproduce.md")
BLOCK = re.compile(r"(<!-- computed: (\w+) -->\n\n)(.*?)(\n<!-- end -->)", re.DOTALL)
GPU, GPUS = "h100", 8
TABLES = ("1", "3", "4")
AGAIN = "optimiser.gradient_checkpointing=true"
ROOM = 0.9
"""The share of a GPU's memory that an estimate may fill: buffers and fragments take the rest."""
MACHINES = (("h100", 8), ("a100-80gb", 8), ("h200", 4), ("h100", 4), ("h200", 2), ("l40s", 8))
BILLS = (  # the paper's judges, then those that can be asked today
    ("alpaca-eval", "gpt-4-1106-preview"),
    ("arena-hard", "gpt-4-1106-preview"),
    ("alpaca-eval", "gpt-4.1"),
    ("arena-hard", "gpt-4.1"),
    ("mt-bench", "gpt-4"),
)
BENCHMARKS = {bench for bench, _ in BILLS}
MT_BENCH = "mt_bench/model_judgment/gpt-4_single.jsonl.gz"
MODEL = "mamba_0_875_dpo_ep3"
"""Whose published answers stand in on MT-Bench, which has no baseline."""


@dataclass(frozen=True)
class Row:
    """A row of the paper's tables that is trained."""

    label: str
    tables: str
    recipe: str
    figures: str
    """AlpacaEval's length-controlled win rate, Arena-Hard's win rate, MT-Bench's rating."""


def rows() -> list[Row]:
    """Return the rows of the paper's main tables that have a recipe, each recipe once."""
    recipes = {load("train", name)["method"]: name for name in names("train") if "/" not in name}
    told = [row for row in read_publications(["inpo"]) if "ICLR" in row.source]
    found = []
    for ours in dict.fromkeys(row.measured_as for row in told if row.measured_as in recipes):
        same = [row for row in told if row.measured_as == ours and table_of(row.source) in TABLES]
        by = {row.benchmark: next(iter(row.estimates.values())).value for row in same}
        figures = f"{by['alpaca-eval']:.1f} / {by['arena-hard']:.1f} / {by['mt-bench']:.2f}"
        tables = ", ".join(sorted({table_of(row.source) for row in same}))
        found.append(Row(same[0].label, tables, recipes[ours], figures))
    return found


def table_of(source: str) -> str:
    """Return the number of the table that a published row stands in."""
    found = re.search(r"table (\d)", source)
    return found[1] if found else ""


def cost(recipe: str, gpu: str, gpus: int, *overrides: str) -> TrainingCost:
    """Return what a recipe costs."""
    spec = construct(TrainSpec, load("train", recipe, overrides))
    found = estimate_training(spec, build(load("gpu", gpu)), gpus)
    assert found is not None
    return found


def trained() -> str:
    """Return what each row is trained by, and what that costs."""
    head = ("row", "tables", "published", "recipe", "sample", "compare", "train", "all", "$")
    lines = []
    for row in rows():
        told = cost(row.recipe, GPU, GPUS)
        each = [GPUS * (stage.hours or 0) for stage in told.stages]
        spent = (each[0], each[1], each[2] + each[3], sum(each))
        hours = [f"{one:.1f}" for one in spent]
        named = (row.label, row.tables, row.figures, f"`{row.recipe}`")
        lines.append((*named, *hours, f"{told.dollars:.0f}"))
    return table(head, lines, numbers=5)


def machines() -> str:
    """Return where INPO's recipe fits, and how long it takes."""
    head = ("GPUs", "activations", "GB each", "weights, moments", "micro-batch", "hours", "$")
    lines = []
    for gpu, gpus in MACHINES:
        told = cost("inpo", gpu, gpus)
        activations = "kept"
        if needed(told) > ROOM * told.memory_gb:
            told, activations = cost("inpo", gpu, gpus, AGAIN), "again"
        assert needed(told) <= ROOM * told.memory_gb, (gpu, gpus)
        state, kept = f"{told.state_gb:.1f}", f"{told.activations_gb:.1f}"
        paid = "" if told.dollars is None else f"{told.dollars:.0f}"
        memory = (f"{told.memory_gb:g}", state, kept)
        lines.append((f"{gpus} × `{gpu}`", activations, *memory, f"{told.hours:.1f}", paid))
    return table(head, lines, numbers=5)


def disk() -> str:
    """Return what weights and checkpoints of one run take on the disk."""
    spec = construct(TrainSpec, load("train", "inpo"))
    weights = 4 * spec.policy.sizes().parameters / GB  # float32
    state = 3 * weights  # and two moments
    kept = spec.optimiser.checkpoints + 1  # one is being written
    lines = [
        ("a policy's weights", weights),
        (f"the policies of {spec.iterations} iterations", spec.iterations * weights),
        (f"while it trains: {kept} checkpoints of {state:.0f} GB at most", kept * state),
    ]
    return table(("what", "GB"), [(what, f"{size:.0f}") for what, size in lines], numbers=1)


def needed(told: TrainingCost) -> float:
    """Return the memory that training takes on a GPU, in GB."""
    return (told.state_gb or 0.0) + (told.activations_gb or 0.0)


def together() -> str:
    """Return what training all rows costs, one by one and in one workspace."""
    recipes = [row.recipe for row in rows()]
    costs = {recipe: cost(recipe, GPU, GPUS) for recipe in recipes}
    alone = sum(told.hours for told in costs.values()) * GPUS
    once: set[str] = set()
    saved = 0.0
    for recipe in recipes:
        spec = construct(TrainSpec, load("train", recipe))
        for place, stage in enumerate(("generate", "compare")):
            found = keys(Schedule(spec).policies()[-1], stage)
            hours = (costs[recipe].stages[place].hours or 0.0) / spec.iterations
            saved += len(found & once) * hours * GPUS
            once |= found
    price = (next(iter(costs.values())).dollars_per_hour or 0.0) / GPUS
    lines = [
        (f"{len(recipes)} runs, each in a workspace of its own", alone),
        ("in one workspace: first iterations that are the same are made once", alone - saved),
    ]
    told = [(what, f"{hours:.0f}", f"{hours * price:.0f}") for what, hours in lines]
    return table(("what", "GPU hours", "$"), told, numbers=2)


def keys(node: Node, stage: str) -> set[str]:
    """Return what identifies every stage of a kind that a node rests on."""
    found: set[str] = set()

    def key(node: Node) -> str:
        if isinstance(node, ExternalInput):
            return node.digest
        inputs = {name: key(inner) for name, inner in node.inputs.items()}
        told = digest([node.name, node.version, node.config, inputs])
        if node.name == stage:
            found.add(told)
        return told

    key(node)
    return found


def bills() -> str:
    """Return what judging one contestant costs.

    Raises:
        AssetError: the protocol data is not here.
    """
    head = ("benchmark", "judge", "calls", "tokens in prompts", "in replies", "$")
    lines = []
    for bench, judge in BILLS:
        told = bill(bench, judge)
        tokens = (f"{told.prompt_tokens:,}", f"{told.completion_tokens:,}")
        lines.append((f"`{bench}`", f"`{judge}`", str(told.calls), *tokens, f"{told.dollars:.2f}"))
    parts = [bill(bench, judge) for bench, judge in BILLS[-len(BENCHMARKS) :]]
    count = len(rows()) + len({load("train", row.recipe)["policy"]["name"] for row in rows()})
    calls = sum(told.calls for told in parts) * count
    asked = sum(told.prompt_tokens for told in parts) * count
    said = sum(told.completion_tokens for told in parts) * count
    paid = sum(told.dollars or 0.0 for told in parts) * count
    who = f"all three, {count} contestants"
    lines.append((who, "those of today", f"{calls:,}", f"{asked:,}", f"{said:,}", f"{paid:.0f}"))
    return table(head, lines, numbers=4)


def bill(bench: str, judge: str) -> CostEstimate:
    """Return the forecast of a judge's bill, as `harness judge doctor` makes it."""
    benchmark = factory.build_judged_benchmark(bench, [], None, None)
    client = factory.build_component("judge", judge, [])
    requests = typical_requests(benchmark) or published_requests(benchmark)
    return CachedJudge(client=client, store=Path("nowhere")).estimate_cost(requests, benchmark)


def published_requests(benchmark) -> Sequence[JudgeRequest]:
    """Return what a judge is asked about the published answers of a model, alone."""
    path = assets_directory(None) / MT_BENCH
    if not path.is_file():
        raise AssetError(f"{path} is not here: name the folder of the data in HARNESS_ASSETS")
    (graded,) = (one for one in benchmark.read_verdicts(path) if one.label == MODEL)
    return benchmark.requests(graded.answers, ())


def table(head: Sequence[str], lines: Iterable[Sequence[str]], numbers: int) -> str:
    """Return a table in Markdown whose last columns are numbers."""
    rule = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    return "".join("| " + " | ".join(cells) + " |\n" for cells in (head, rule, *lines))


COMPUTED = {
    "trained": trained,
    "machines": machines,
    "disk": disk,
    "together": together,
    "bills": bills,
}


def stands() -> dict[str, str]:
    """Return the computed blocks as the page has them."""
    return {name: text for _, name, text, _ in BLOCK.findall(PAGE.read_text("utf-8"))}


def write() -> None:
    """Compute every block anew and write it into the page."""
    made = {name: compute() for name, compute in COMPUTED.items()}
    text = BLOCK.sub(lambda m: m[1] + made[m[2]] + m[4], PAGE.read_text("utf-8"))
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(write())
