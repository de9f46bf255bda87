"""alpaca_eval's files: answers (`model_outputs.json`) and verdicts (`annotations.json`).

Both are JSON lists, or what else pandas reads: JSON columns, CSV, TSV, Parquet. Rows are matched by
instruction, so that the order of a file does not matter; `output_1` is the baseline's answer, a
`preference` of 1 is the baseline's win and one of 2 is ours. A preference of null, NaN or -1, which
alpaca_eval writes for an unparsable reply, is not a draw; 0 is its old code for a draw.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core.io import check_rows, file_stem, json_type
from harness.core.tables import read_table
from harness.core.terminal import shorten
from harness.errors import InputError
from harness.types import Answer, Answers, Graded, Message, ParsedVerdict, Prompt, Verdict

ANSWERS = "a JSON list of objects with 'instruction' and 'output', both text"
VERDICTS = "a JSON list of objects with 'instruction', 'output_1', 'output_2' and 'preference'"
SWAPPED = "/swapped"
"""The suffix of the id of a request that shows the answers in the other order."""
DRAW, FAILED, OLD_DRAW = 1.5, -1, 0


def prompt_id(instruction: str) -> str:
    """Return an instruction's id, which depends on its text alone."""
    return hashlib.sha256(instruction.encode()).hexdigest()[:16]


def is_ours_first(instruction: str) -> bool:
    """Say whether our answer is shown first; this is the same for every model, as published."""
    rng = random.Random("is_switched_outputs" + instruction + "0")
    return rng.choices([False, True], k=1)[0]


def orient_preference(value: float, instruction: str) -> float:
    """Turn P(first preferred) into P(ours preferred), or back."""
    return value if is_ours_first(instruction) else 1 - value


def read_answers(path: Path, prompts: Sequence[Prompt]) -> list[Answers]:
    """Read an answers file and match it to the prompts; other keys are ignored.

    The name is the generator's if the rows agree on one, else the file's.

    Raises:
        InputError: the file cannot be read; rows have an unexpected form; an instruction is
            repeated or unknown; the file has no answers.
    """
    rows = check_rows(path, read_table(path, ANSWERS), ANSWERS, "instruction", "output")
    _check_known(path, rows, prompts)
    outputs = {row["instruction"]: row["output"] for row in rows}
    answers = tuple(Answer(p.id, outputs[p.text]) for p in prompts if p.text in outputs)
    return [Answers(_name(path, rows), answers, len(prompts) - len(answers))]


def read_verdicts(path: Path) -> list[Graded]:
    """Read a verdicts file; `generator_2` identifies contestants, and rows keep their order.

    Verdicts of several judges, or against several baselines, are parted, and a note says so.

    Raises:
        InputError: the file cannot be read; rows have an unexpected form; an instruction is
            repeated; a preference is neither between 1 and 2 nor a code for a missing one.
    """
    keys = ("instruction", "output_1", "output_2")
    rows = check_rows(path, read_table(path, VERDICTS, ["preference"]), VERDICTS, *keys)
    if not rows:
        raise InputError(f"{path} is an empty list; expected {VERDICTS}")
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_name.setdefault(str(row.get("generator_2") or file_stem(path)), []).append(row)
    return [part for name, group in by_name.items() for part in _parted(path, name, group)]


def _parted(path: Path, name: str, rows: Sequence[dict[str, Any]]) -> list[Graded]:
    """Return a contestant's verdicts by judge and baseline; unnamed ones are the commonest's."""
    judges = Counter(str(row["annotator"]) for row in rows if row.get("annotator"))
    baselines = Counter(str(row["generator_1"]) for row in rows if row.get("generator_1"))
    judge = judges.most_common(1)[0][0] if judges else "unknown judge"
    baseline = baselines.most_common(1)[0][0] if baselines else "baseline"
    parts: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        key = (str(row.get("annotator") or judge), str(row.get("generator_1") or baseline))
        parts.setdefault(key, []).append(row)
    notes = parted_notes(judges, baselines)
    return [_graded(path, name, *key, part, notes) for key, part in parts.items()]


def parted_notes(judges: Mapping[str, int], baselines: Mapping[str, int]) -> tuple[str, ...]:
    """Return a note on the judges of a contestant's verdicts, and one on its baselines."""
    kinds = {"of several judges": judges, "against several baselines": baselines}
    return tuple(
        f"the file holds verdicts {kind}, each scored by itself: "
        + ", ".join(f"{shorten(name)} ({count})" for name, count in names.items())
        for kind, names in kinds.items()
        if len(names) > 1
    )


def files(graded: Graded) -> dict[str, str]:
    """Return `model_outputs.json` and `annotations.json`."""
    return {**answers_file(graded), "annotations.json": _dump(_annotations(graded))}


def answers_file(graded: Graded) -> dict[str, str]:
    """Return `model_outputs.json`."""
    return {"model_outputs.json": _dump(_outputs(graded))}


def rename_prompts(graded: Graded, name: Callable[[Prompt], str]) -> Graded:
    """Return the submission with other prompt ids."""
    ids = {prompt.id: name(prompt) for prompt in graded.prompts}
    return replace(
        graded,
        prompts=tuple(replace(p, id=ids[p.id]) for p in graded.prompts),
        answers=tuple(replace(a, prompt_id=ids[a.prompt_id]) for a in graded.answers),
        baseline=tuple(replace(a, prompt_id=ids[a.prompt_id]) for a in graded.baseline),
        verdicts=tuple(replace(v, request_id=ids[v.request_id]) for v in graded.verdicts),
    )


def _outputs(graded: Graded) -> list[dict[str, Any]]:
    texts = {answer.prompt_id: answer.text for answer in graded.answers}
    return [
        {
            "dataset": prompt.meta.get("dataset", ""),
            "instruction": prompt.text,
            "output": texts[prompt.id],
            "generator": graded.label,
        }
        for prompt in graded.prompts
        if prompt.id in texts
    ]


def preferences(graded: Graded) -> dict[str, float | None]:
    """Return P(ours preferred) by prompt id; None for an unparsed verdict.

    Equal answers are draws and are not judged. If both orders were judged it is their mean, or
    None if either is unparsed.
    """
    theirs = {answer.prompt_id: answer.text for answer in graded.baseline}
    parsed = {verdict.request_id: verdict.parsed for verdict in graded.verdicts}
    texts = {prompt.id: prompt.text for prompt in graded.prompts}
    preferred: dict[str, float | None] = {}
    for answer in graded.answers:
        name = answer.prompt_id
        if name not in parsed and answer.text == theirs[name]:
            preferred[name] = 0.5
        else:
            preferred[name] = _preference(parsed, name, texts[name])
    return preferred


def _preference(
    parsed: Mapping[str, ParsedVerdict | None], name: str, instruction: str
) -> float | None:
    original, swapped = parsed[name], f"{name}{SWAPPED}"
    if original is None:
        return None
    value = orient_preference(original.value, instruction)
    if swapped not in parsed:
        return value
    other = parsed[swapped]
    return None if other is None else (value + 1 - orient_preference(other.value, instruction)) / 2


def _annotations(graded: Graded) -> list[dict[str, Any]]:
    theirs = [answer.text for answer in graded.baseline]
    by_prompt = preferences(graded)
    return [
        {
            "instruction": row["instruction"],
            "output_1": baseline_output,
            "generator_1": graded.baseline_label,
            "dataset": row["dataset"],
            "output_2": row["output"],
            "generator_2": graded.label,
            "annotator": graded.judge,
            "preference": None if preferred is None else 1 + preferred,
        }
        for row, baseline_output, preferred in zip(
            _outputs(graded), theirs, by_prompt.values(), strict=True
        )
    ]


def _graded(
    path: Path,
    name: str,
    judge: str,
    baseline: str,
    rows: Sequence[dict[str, Any]],
    notes: tuple[str, ...],
) -> Graded:
    _check_single(path, rows)
    ids = [prompt_id(row["instruction"]) for row in rows]
    pairs = list(zip(ids, rows, strict=True))
    return Graded(
        label=name,
        judge=judge,
        answers=tuple(Answer(i, row["output_2"]) for i, row in pairs),
        baseline=tuple(Answer(i, row["output_1"]) for i, row in pairs),
        verdicts=tuple(Verdict(i, _parse_preference(path, row), judge) for i, row in pairs),
        prompts=tuple(_prompt(i, row) for i, row in pairs),
        baseline_label=baseline,
        notes=notes,
    )


def _prompt(name: str, row: Mapping[str, Any]) -> Prompt:
    text = str(row["instruction"])
    return Prompt(name, (Message("user", text),), {"dataset": str(row.get("dataset") or "")})


def _parse_preference(path: Path, row: Mapping[str, Any]) -> ParsedVerdict | None:
    """Return a row's verdict in the order of its request: P(first preferred)."""
    preference = row.get("preference")
    if (
        preference is None
        or preference == FAILED
        or (isinstance(preference, float) and math.isnan(preference))
    ):
        return None
    value = DRAW if preference == OLD_DRAW else preference
    if isinstance(preference, bool) or not isinstance(value, int | float) or not 1 <= value <= 2:
        description = (
            repr(preference) if isinstance(preference, int | float) else json_type(preference)
        )
        raise InputError(
            f"{path}: the preference for {shorten(row['instruction'])!r} is {description}; it must "
            "lie between 1 (the baseline wins) and 2 (ours wins), or be null if there is none"
        )
    return ParsedVerdict(orient_preference(value - 1, row["instruction"]))


def _check_known(path: Path, rows: Sequence[dict[str, Any]], prompts: Sequence[Prompt]) -> None:
    """Refuse unknown and repeated instructions, and a file without answers."""
    known = {prompt.text for prompt in prompts}
    instructions = {row["instruction"] for row in rows}
    if unknown := sorted(instructions - known):
        raise InputError(
            f"{path}: {len(unknown)} of {len(instructions)} instructions are not this benchmark's, "
            f"e.g. {shorten(unknown[0])!r}: remove them, or name another benchmark with --bench"
        )
    if not rows:
        raise InputError(f"{path} has no answers; expected {ANSWERS}")
    _check_single(path, rows)


def _check_single(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    counts = Counter(row["instruction"] for row in rows)
    if repeated := [text for text, count in counts.items() if count > 1]:
        raise InputError(
            f"{path}: {len(repeated)} instructions are repeated, e.g. "
            f"{shorten(repeated[0])!r}: keep one row each"
        )


def _name(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    names = {row.get("generator") for row in rows}
    only = names.pop() if len(names) == 1 else None
    return only if isinstance(only, str) and only else file_stem(path)


def _dump(data: Any) -> str:
    return json.dumps(data, indent=1, allow_nan=False) + "\n"
