"""A run as a folder for somebody without the harness: `harness runs export`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.api.components import find_run, open_workspace
from harness.api.judging import RUNS
from harness.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from harness.core.workspace import Run, Workspace
    from harness.core.workspace.usage import StageGraph, StoredStage
    from harness.types import Prompt

PairFormat = Literal["jsonl", "parquet"]
FORMATS: Sequence[PairFormat] = ("jsonl", "parquet")
DERIVED_KEYS = frozenset({"fingerprint", "identified_by"})
"""What a run's record adds to a configuration: no component takes them."""
README = """# {name}

A run of `{method}`, exported by preference-harness {version}: {state}.

- `policies/iteration-T`: the policy after iteration T, a Hugging Face folder that transformers 4.5x
  and 5 read alike. {start}
- `pairs/iteration-T.{suffix}`: what iteration T was trained on, as TRL takes it: `prompt`, `chosen`
  and `rejected`, each a list of messages. Texts are decoded from the token ids of the training.
- `config.yaml`: the whole configuration. `harness train config.yaml` trains the run again.
- `results`: the figures that were graded from these policies, with each verdict behind them.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("policies/iteration-{last}")
tokenizer = AutoTokenizer.from_pretrained("policies/iteration-{last}")
```
"""


@dataclass(frozen=True)
class RunExport:
    """What an export has written."""

    path: Path
    policies: tuple[Path, ...]
    pairs: tuple[Path, ...]
    results: tuple[Path, ...]


def export_run(
    name: str,
    directory: str | Path,
    *,
    iterations: Sequence[int] = (),
    pair_format: PairFormat = "jsonl",
    workspace: str | Path | Workspace = RUNS,
) -> RunExport:
    """Write a run's policies, pairs, configuration and results to a new folder.

    The folder appears when it is whole.

    Args:
        name: the run.
        directory: the folder; it must be empty or not exist.
        iterations: whose policies and pairs are written; empty: all.
        pair_format: `jsonl` or `parquet`.
        workspace: where the run is.

    Raises:
        ConfigError: there is no such run or iteration, or the folder holds something.
        PolicyError: a policy cannot be read, or transformers would read the copy otherwise.
        StoreError: a stage is damaged, or the disk is full or read-only.
    """
    from harness.core.io import report_disk_errors
    from harness.core.workspace.locks import in_use

    opened, target = open_workspace(workspace), Path(directory).resolve()
    run = find_run(opened, name)
    chosen = _iterations(run, iterations)
    if pair_format not in FORMATS:
        raise ConfigError(f"no format called {pair_format!r}: choose {' or '.join(FORMATS)}")
    _check_target(target)
    partial = target.with_name(f".partial-{target.name}")
    with in_use(opened), report_disk_errors(target):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            export = _write(opened, run, partial, chosen, pair_format)
            if target.is_dir():
                target.rmdir()
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    moved = [
        tuple(target / path.relative_to(partial) for path in paths)
        for paths in (export.policies, export.pairs, export.results)
    ]
    return RunExport(target, *moved)


def _iterations(run: Run, iterations: Sequence[int]) -> list[int]:
    known = range(len(run.policies))
    unknown = [t for t in iterations if t not in known]
    if unknown:
        raise ConfigError(
            f"run {run.name!r} has iterations 0 to {len(known) - 1}, not {unknown[0]}"
        )
    return sorted(set(iterations)) or list(known)


def _check_target(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target} is not empty: name a folder that is empty or does not exist")
    if target == Path.cwd():
        raise ConfigError("the working folder cannot be replaced: name a folder below it")


def _write(
    workspace: Workspace, run: Run, out: Path, iterations: Sequence[int], pair_format: PairFormat
) -> RunExport:
    from harness.core.workspace.usage import read_graph

    graph = read_graph(workspace)
    policies = tuple(_policies(workspace, run, out / "policies", iterations))
    pairs = tuple(_pairs(graph, run, out / "pairs", [t for t in iterations if t], pair_format))
    results = tuple(_results(workspace, run, out / "results"))
    (out / "config.yaml").write_text(config_yaml(run), encoding="utf-8")
    (out / "README.md").write_text(_readme(run, policies, pair_format), encoding="utf-8")
    return RunExport(out, policies, pairs, results)


def _policies(
    workspace: Workspace, run: Run, out: Path, iterations: Iterable[int]
) -> Iterator[Path]:
    """Copy the policies; the start only if it was trained in this workspace."""
    from harness.core.manifests import read_manifest
    from harness.core.portable_models import copy_policy

    for t in iterations:
        source = Path(run.policies[t])
        if t == 0 and source.parent != workspace.root / "stages":
            continue
        read_manifest(source)
        target = out / f"iteration-{t}"
        copy_policy(source, target)
        yield target


def _pairs(
    graph: StageGraph, run: Run, out: Path, iterations: Iterable[int], pair_format: PairFormat
) -> Iterator[Path]:
    from harness.core.hub import load_tokenizer
    from harness.core.manifests import read_manifest
    from harness.training import records
    from harness.types import Policy

    for t in iterations:
        policy = _stage(graph, run.policies[t])
        pair = _stage(graph, policy.inputs["pair"])
        samples = pair.inputs.get("generate")  # none: the pairs are a data set's
        prompts = _stage(graph, _stage(graph, samples).inputs["prompts"]) if samples else pair
        for stage in (pair, prompts):
            read_manifest(stage.path)
        by_id = {prompt.id: prompt for prompt in records.read_prompts(str(prompts.path))}
        tokenizer = load_tokenizer(Policy(run.name, str(policy.path)))
        rows = [
            _pair_row(by_id[p.prompt_id], p.chosen_ids, p.rejected_ids, tokenizer)
            for p in records.read_pairs(str(pair.path))
        ]
        path = out / f"iteration-{t}.{pair_format}"
        write_rows(path, rows, pair_format)
        yield path


def _stage(graph: StageGraph, path: str) -> StoredStage:
    from harness.core.manifests import missing_stage

    name = Path(path).name
    if name not in graph.stages:
        raise missing_stage(Path(path))
    return graph.stages[name]


def _pair_row(
    prompt: Prompt,
    chosen: Sequence[int],
    rejected: Sequence[int],
    tokenizer: PreTrainedTokenizerBase,
) -> dict[str, Any]:
    responses = {
        name: [
            {"role": "assistant", "content": tokenizer.decode(list(ids), skip_special_tokens=True)}
        ]
        for name, ids in (("chosen", chosen), ("rejected", rejected))
    }
    return {"prompt": [message.as_dict() for message in prompt.messages], **responses}


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], pair_format: PairFormat) -> None:
    """Write rows of one shape as JSON lines or as a Parquet file."""
    from harness.core.io import json_lines

    path.parent.mkdir(parents=True, exist_ok=True)
    if pair_format == "jsonl":
        path.write_text(json_lines(rows), encoding="utf-8")
        return
    import pyarrow
    import pyarrow.parquet

    names = ("prompt", "chosen", "rejected")
    table = pyarrow.table({name: [row[name] for row in rows] for name in names})
    pyarrow.parquet.write_table(table, path, compression="zstd")


def _results(workspace: Workspace, run: Run, out: Path) -> Iterator[Path]:
    from harness.core.workspace.usage import read_results

    for path, result in read_results(workspace):
        if (result.run or {}).get("name") != run.name:
            continue
        target = out / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        if path.with_suffix("").is_dir():
            shutil.copytree(path.with_suffix(""), target.with_suffix(""))
        yield target


def config_yaml(run: Run) -> str:
    """Return a run's configuration as a YAML file that `harness train` takes."""
    import yaml

    data = _without_derived_keys({k: v for k, v in run.config.items() if k != "use"})
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
    return f"# The configuration of the run {json.dumps(run.name)}.\n{text}"


def _without_derived_keys(value: Any) -> Any:
    match value:
        case Mapping():
            skipped = DERIVED_KEYS if "use" in value else frozenset()
            return {k: _without_derived_keys(v) for k, v in value.items() if k not in skipped}
        case list():
            return [_without_derived_keys(inner) for inner in value]
    return value


def _readme(run: Run, policies: Sequence[Path], pair_format: PairFormat) -> str:
    from importlib.metadata import version

    start = run.config.get("policy", {})
    has_start = any(path.name == "iteration-0" for path in policies)
    where = start.get("path") or run.policies[0]
    return README.format(
        name=run.name,
        method=run.method,
        version=version("preference-harness"),
        state="complete" if run.complete else f"stopped after {len(run.policies) - 1} iterations",
        start="Iteration 0 is the start." if has_start else f"The start, `{where}`, is not in it.",
        suffix=pair_format,
        last=policies[-1].name.rpartition("-")[2] if policies else len(run.policies) - 1,
    )
