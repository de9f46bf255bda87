"""Samples, comparisons, pairs and log-probabilities as Parquet files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from harness.core.workspace import LOGPS_FILE as LOGPS
from harness.protocols import Match
from harness.types import Completion, Message, Pair, Prompt

PROMPTS = "prompts.parquet"
COMPLETIONS = "completions.parquet"
COMPARISONS = "comparisons.parquet"
PAIRS = "pairs.parquet"
SCORES = "scores.parquet"
RESPONSES = "responses.parquet"
OPTIONAL = ("rewards", "samplers")
"""Columns of pairs that are written only if a pair has them."""


def write_table(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns of one length as a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(dict(columns)), path, compression="zstd")


def read_table(path: Path, **wanted: Iterable[str]) -> dict[str, list[Any]]:
    """Read a Parquet file as columns: all rows, or those whose named columns have wanted values."""
    import pyarrow.parquet

    filters = [(name, "in", list(values)) for name, values in wanted.items()] or None
    columns: dict[str, list[Any]] = pyarrow.parquet.read_table(path, filters=filters).to_pydict()
    return columns


def join_tables(directories: Sequence[Path], out: Path) -> None:
    """Concatenate the tables of several directories, in their order, into one of each name."""
    import pyarrow
    import pyarrow.parquet as parquet

    for name in sorted(
        {file.name for directory in directories for file in directory.glob("*.parquet")}
    ):
        tables = [parquet.read_table(directory / name) for directory in directories]
        joined = pyarrow.concat_tables(tables, promote_options="default").combine_chunks()
        parquet.write_table(joined, out / name, compression="zstd")


def write_prompts(directory: Path, prompts: Sequence[Prompt]) -> None:
    """Write prompts, one row each."""
    turns = [[m.as_dict() for m in p.messages] for p in prompts]
    write_table(directory / PROMPTS, {"id": [p.id for p in prompts], "messages": turns})


def read_prompts(directory: str) -> list[Prompt]:
    """Read prompts in their order."""
    columns = read_table(Path(directory) / PROMPTS)
    return [
        Prompt(id=key, messages=tuple(Message(**turn) for turn in turns))
        for key, turns in zip(columns["id"], columns["messages"], strict=True)
    ]


def write_completions(directory: Path, completions: Sequence[Completion]) -> None:
    """Write completions, one row each."""
    write_table(directory / COMPLETIONS, _columns(Completion, completions))


def write_responses(directory: Path, responses: Sequence[Completion]) -> None:
    """Write the responses of a data set, which no policy has sampled, one row each."""
    write_table(directory / RESPONSES, _columns(Completion, responses))


def has_responses(directory: str) -> bool:
    """Say whether a directory of prompts has responses of a data set beside them."""
    return (Path(directory) / RESPONSES).is_file()


def read_completions(
    directory: str, prompts: Iterable[str] | None = None, name: str = COMPLETIONS
) -> dict[str, list[Completion]]:
    """Read completions by prompt, in the order of their prompts and indices.

    Args:
        directory: the directory of the file.
        prompts: the ids of the prompts to read; None: all.
        name: the file, of a policy's samples or of a data set's responses.
    """
    wanted = {} if prompts is None else {"prompt_id": prompts}
    columns = read_table(Path(directory) / name, **wanted)
    grouped: dict[str, list[Completion]] = defaultdict(list)
    for row in _rows(columns):
        for name in ("prompt_token_ids", "token_ids"):
            row[name] = tuple(row[name])
        grouped[row["prompt_id"]].append(Completion(**row))
    return dict(grouped)


def write_comparisons(directory: Path, matrices: Mapping[str, Mapping[Match, float]]) -> None:
    """Write the partial K × K matrices, one row a comparison."""
    rows = [(key, *match, p) for key, matrix in matrices.items() for match, p in matrix.items()]
    names = ("prompt_id", "first", "second", "probability")
    write_table(directory / COMPARISONS, dict(zip(names, _transposed(rows, 4), strict=True)))


def read_comparisons(directory: str) -> dict[str, dict[Match, float]]:
    """Read the partial K × K matrices, by prompt."""
    matrices: dict[str, dict[Match, float]] = defaultdict(dict)
    for row in _rows(read_table(Path(directory) / COMPARISONS)):
        matrices[row["prompt_id"]][row["first"], row["second"]] = row["probability"]
    return dict(matrices)


def write_scores(directory: Path, responses: Sequence[Completion], scores: Sequence[float]) -> None:
    """Write the scalar reward of each response, one row each."""
    rows = [(c.prompt_id, c.index, score) for c, score in zip(responses, scores, strict=True)]
    names = ("prompt_id", "index", "score")
    write_table(directory / SCORES, dict(zip(names, _transposed(rows, 3), strict=True)))


def read_scores(directory: str) -> dict[str, dict[int, float]]:
    """Read the scalar rewards of responses, by prompt and index."""
    scores: dict[str, dict[int, float]] = defaultdict(dict)
    for row in _rows(read_table(Path(directory) / SCORES)):
        scores[row["prompt_id"]][row["index"]] = row["score"]
    return dict(scores)


def write_pairs(directory: Path, pairs: Sequence[Pair]) -> None:
    """Write training pairs, one row each."""
    columns = _columns(Pair, pairs)
    optional = [name for name in OPTIONAL if not any(columns[name])]
    write_table(directory / PAIRS, {n: c for n, c in columns.items() if n not in optional})


def read_pairs(directory: str) -> list[Pair]:
    """Read training pairs in their order."""
    pairs = []
    for row in _rows(read_table(Path(directory) / PAIRS)):
        for name in ("prompt_ids", "chosen_ids", "rejected_ids"):
            row[name] = tuple(row[name])
        for name in ("win_rates", *OPTIONAL):
            row[name] = row.get(name) and tuple(row[name])
        pairs.append(Pair(**row))
    return pairs


def write_logps(directory: Path, chosen: Sequence[float], rejected: Sequence[float]) -> None:
    """Write an anchor's log-probabilities, in nats, one row a pair."""
    write_table(directory / LOGPS, {"chosen": list(chosen), "rejected": list(rejected)})


def write_logps_shard(directory: Path, logps: Mapping[int, Sequence[float]]) -> None:
    """Write (chosen, rejected) log-probabilities, in nats, by the pairs' indices."""
    chosen, rejected = _transposed(list(logps.values()), 2)
    write_table(directory / LOGPS, {"pair": list(logps), "chosen": chosen, "rejected": rejected})


def join_logps_shards(directories: Sequence[Path], out: Path) -> None:
    """Join the shards of an anchor, in the order of the pairs."""
    tables = [read_table(directory / LOGPS) for directory in directories]
    rows = sorted(
        row for table in tables for row in zip(*(table[name] for name in table), strict=True)
    )
    _, chosen, rejected = _transposed(rows, 3)
    write_logps(out, chosen, rejected)


def _columns(record: Any, items: Sequence[Any]) -> dict[str, list[Any]]:
    return {f.name: [getattr(item, f.name) for item in items] for f in fields(record)}


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    names = list(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _transposed(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    return [[row[i] for row in rows] for i in range(width)]
