"""The computed tables of docs/reproduce.md; `python docs/costs.py` writes them into the page.

Hours, memory and the judge's bill are the harness's own estimates, at the prices of `configs/gpu`
and `configs/prices`. A test checks that the page has the computed tables.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.api import components
from harness.core.config import build, construct, load, names
from harness.core.seeds import digest
from harness.core.stages import ExternalInput, Node
from harness.errors import AssetError
from harness.evaluation.run import typical_requests
from harness.judges.cached import CachedJudge
from harness.training.estimate import GB, TrainingCost, estimate_training
from harness.training.schedule import Schedule
from harness.training.spec import TrainSpec
from harness.types import CostEstimate
from leaderboard.publications import read_publications

PAGE = Path(__file__).with_name("reproduce.md")
BLOCK = re.compile(r"(<!-- computed: (\w+) -->\n\n)(.*?)(\n<!-- end -->)", re.DOTALL)
GPU, GPUS = "h100", 8
TABLES = ("1", "3", "4")
RECOMPUTE = "optimiser.gradient_checkpointing=true"
ROOM = 0.9
"""The share of a GPU's memory that an estimate may fill; buffers and fragments take the rest."""
MACHINES = (("h100", 8), ("a100-80gb", 8), ("h200", 4), ("h100", 4), ("h200", 2), ("l40s", 8))
BILLS = (  # the paper's judges, then those that are available today
    ("alpaca-eval", "gpt-4-1106-preview"),
    ("arena-hard", "gpt-4-1106-preview"),
    ("alpaca-eval", "gpt-4.1"),
    ("arena-hard", "gpt-4.1"),
    ("mt-bench", "gpt-4"),
)
BENCHMARKS = {bench for bench, _ in BILLS}


@dataclass(frozen=True)
class Row:
    """A row of the paper's tables with a training recipe."""

    label: str
    tables: str
    recipe: str
    figures: str
    """AlpacaEval's length-controlled win rate, Arena-Hard's win rate, MT-Bench's rating."""


def rows() -> list[Row]:
    """Return the rows of the paper's main tables that have a recipe, each recipe once."""
    recipes = {load("train", name)["method"]: name for name in names("train") if "/" not in name}
    published = [row for row in read_publications(["inpo"]) if "ICLR" in row.source]
    trained_rows = []
    for ours in dict.fromkeys(row.measured_as for row in published if row.measured_as in recipes):
        same = [
            row for row in published if row.measured_as == ours and table_of(row.source) in TABLES
        ]
        by = {row.benchmark: next(iter(row.estimates.values())).value for row in same}
        figures = f"{by['alpaca-eval']:.1f} / {by['arena-hard']:.1f} / {by['mt-bench']:.2f}"
        tables = ", ".join(sorted({table_of(row.source) for row in same}))
        trained_rows.append(Row(same[0].label, tables, recipes[ours], figures))
    return trained_rows


def table_of(source: str) -> str:
    """Return the number of the paper's table that a published row comes from."""
    match = re.search(r"table (\d)", source)
    return match[1] if match else ""


def cost(recipe: str, gpu: str, gpus: int, *overrides: str) -> TrainingCost:
    """Return the estimated cost of a recipe."""
    spec = construct(TrainSpec, load("train", recipe, overrides))
    estimate = estimate_training(spec, build(load("gpu", gpu)), gpus)
    assert estimate is not None
    return estimate


def trained() -> str:
    """Return the recipe of each row and its cost."""
    head = ("row", "tables", "published", "recipe", "sample", "compare", "train", "all", "$")
    lines = []
    for row in rows():
        estimate = cost(row.recipe, GPU, GPUS)
        each = [GPUS * (stage.hours or 0) for stage in estimate.stages]
        spent = (each[0], each[1], each[2] + each[3], sum(each))
        hours = [f"{value:.1f}" for value in spent]
        labels = (row.label, row.tables, row.figures, f"`{row.recipe}`")
        lines.append((*labels, *hours, f"{estimate.dollars:.0f}"))
    return table(head, lines, numbers=5)


def machines() -> str:
    """Return the machines that INPO's recipe fits on, and the hours that it takes there."""
    head = ("GPUs", "activations", "GB each", "weights, states", "micro-batch", "hours", "$")
    lines = []
    for gpu, gpus in MACHINES:
        estimate = cost("inpo", gpu, gpus)
        activations = "kept"
        if needed(estimate) > ROOM * estimate.memory_gb:
            estimate, activations = cost("inpo", gpu, gpus, RECOMPUTE), "recomputed"
        assert needed(estimate) <= ROOM * estimate.memory_gb, (gpu, gpus)
        state, activations_gb = f"{estimate.state_gb:.1f}", f"{estimate.activations_gb:.1f}"
        paid = "" if estimate.dollars is None else f"{estimate.dollars:.0f}"
        memory = (f"{estimate.memory_gb:g}", state, activations_gb)
        lines.append((f"{gpus} × `{gpu}`", activations, *memory, f"{estimate.hours:.1f}", paid))
    return table(head, lines, numbers=5)


def disk() -> str:
    """Return the disk space of one run's weights and checkpoints."""
    spec = construct(TrainSpec, load("train", "inpo"))
    weights = 4 * spec.policy.sizes().parameters / GB  # float32
    state = 3 * weights  # and two moments
    checkpoints = spec.optimiser.checkpoints + 1  # one is being written
    lines = [
        ("a policy's weights", weights),
        (f"the policies of {spec.iterations} iterations", spec.iterations * weights),
        (
            f"during training: up to {checkpoints} checkpoints of {state:.0f} GB",
            checkpoints * state,
        ),
    ]
    return table(("item", "GB"), [(what, f"{size:.0f}") for what, size in lines], numbers=1)


def needed(estimate: TrainingCost) -> float:
    """Return the memory that training needs on each GPU, in GB."""
    return (estimate.state_gb or 0.0) + (estimate.activations_gb or 0.0)


def together() -> str:
    """Return the cost of training all rows, in separate workspaces and in one."""
    recipes = [row.recipe for row in rows()]
    costs = {recipe: cost(recipe, GPU, GPUS) for recipe in recipes}
    alone = sum(estimate.hours for estimate in costs.values()) * GPUS
    once: set[str] = set()
    saved = 0.0
    for recipe in recipes:
        spec = construct(TrainSpec, load("train", recipe))
        for position, stage in enumerate(("generate", "compare")):
            digests = keys(Schedule(spec).policies()[-1], stage)
            hours = (costs[recipe].stages[position].hours or 0.0) / spec.iterations
            saved += len(digests & once) * hours * GPUS
            once |= digests
    price = (next(iter(costs.values())).dollars_per_hour or 0.0) / GPUS
    lines = [
        (f"{len(recipes)} runs, each in its own workspace", alone),
        ("in one workspace, which runs identical first iterations once", alone - saved),
    ]
    cells = [(what, f"{hours:.0f}", f"{hours * price:.0f}") for what, hours in lines]
    return table(("runs", "GPU hours", "$"), cells, numbers=2)


def keys(node: Node, stage: str) -> set[str]:
    """Return the digests of all stages of a kind that a node depends on."""
    digests: set[str] = set()

    def key(node: Node) -> str:
        if isinstance(node, ExternalInput):
            return node.digest
        inputs = {name: key(inner) for name, inner in node.inputs.items()}
        key_digest = digest([node.name, node.version, node.config, inputs])
        if node.name == stage:
            digests.add(key_digest)
        return key_digest

    key(node)
    return digests


def bills() -> str:
    """Return the cost of judging one contestant.

    Raises:
        AssetError: the protocol data is missing.
    """
    head = ("benchmark", "judge", "calls", "tokens in prompts", "in replies", "$")
    lines = []
    for bench, judge in BILLS:
        estimate = bill(bench, judge)
        tokens = (f"{estimate.prompt_tokens:,}", f"{estimate.completion_tokens:,}")
        cells = (f"`{bench}`", f"`{judge}`", str(estimate.calls))
        lines.append((*cells, *tokens, f"{estimate.dollars:.2f}"))
    parts = [bill(bench, judge) for bench, judge in BILLS[-len(BENCHMARKS) :]]
    count = len(rows()) + len({load("train", row.recipe)["policy"]["name"] for row in rows()})
    calls = sum(estimate.calls for estimate in parts) * count
    asked = sum(estimate.prompt_tokens for estimate in parts) * count
    completion_tokens = sum(estimate.completion_tokens for estimate in parts) * count
    paid = sum(estimate.dollars or 0.0 for estimate in parts) * count
    label = f"all three, {count} contestants"
    totals = (f"{calls:,}", f"{asked:,}", f"{completion_tokens:,}", f"{paid:.0f}")
    lines.append((label, "today's judges", *totals))
    return table(head, lines, numbers=4)


def bill(bench: str, judge: str) -> CostEstimate:
    """Return the estimated bill of a judge, as `harness judge doctor` computes it."""
    benchmark = components.build_judged_benchmark(bench, [], None, None)
    client = components.build_component("judge", judge, [])
    requests = typical_requests(benchmark)
    if requests is None:
        raise AssetError(f"the data of {bench} is missing: set HARNESS_ASSETS to its directory")
    return CachedJudge(client=client, store=Path("nowhere")).estimate_cost(requests, benchmark)


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


def page_blocks() -> dict[str, str]:
    """Return the computed blocks that the page has now."""
    return {name: text for _, name, text, _ in BLOCK.findall(PAGE.read_text("utf-8"))}


def write() -> None:
    """Compute every block and write it into the page."""
    computed = {name: compute() for name, compute in COMPUTED.items()}
    text = BLOCK.sub(lambda m: m[1] + computed[m[2]] + m[4], PAGE.read_text("utf-8"))
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(write())
