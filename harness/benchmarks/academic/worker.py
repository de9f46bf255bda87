"""Evaluates a model with lm-eval, task by task: `python -P worker.py PARENT`.

It reads the directories of jobs from standard input, one per line. For each it reads
DIRECTORY/job.json, writes DIRECTORY/records.jsonl with one line per item, and finally
DIRECTORY/outcome.json. It runs in a separate process because lm-eval seeds the process's random
number generators and vLLM does not share a process with a trainer. Its interpreter may belong to
another environment, so it imports nothing from the harness.
"""

import ctypes
import hashlib
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
UNUSABLE = (OSError, ValueError, LookupError, ImportError, RuntimeError, TypeError, AssertionError)
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class TaskError(Exception):
    """An error for the parent to report; `kind` selects its class and remedy."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class WarningCollector(logging.Handler):
    """Collects lm-eval's warnings, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Record a warning as one line."""
        self.messages[" ".join(record.getMessage().split())] = None


def main(parent: int) -> None:
    """Run the jobs of the directories on standard input."""
    die_with(parent)
    models: dict[str, Any] = {}
    for line in sys.stdin:
        folder = Path(json.loads(line))
        with open(folder / "log.txt", "wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        run_job(folder, models)


def run_job(folder: Path, models: dict[str, Any]) -> None:
    """Run a directory's job; it reuses the previous job's model if that is the same."""
    job = json.loads((folder / "job.json").read_text("utf-8"))
    os.environ.update(job["environment"])
    try:
        outcome = evaluate_task(job, folder, models)
    except TaskError as error:
        outcome = {"error": error.kind, "detail": str(error)}
    temporary = folder / ".outcome.json"
    temporary.write_text(json.dumps(outcome, indent=1, sort_keys=True), encoding="utf-8")
    temporary.replace(folder / "outcome.json")


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, even by SIGKILL (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent has ended")


@cache
def task_manager(include: str | None) -> Any:
    """Return lm-eval's index of tasks; it reads 14,000 files, once a process."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=include)


def evaluate_task(job: dict[str, Any], folder: Path, models: dict[str, Any]) -> dict[str, Any]:
    """Load and check the task, load the model, and evaluate it."""
    collector, dataset_names = WarningCollector(), list[str]()
    logging.getLogger("lm_eval").addHandler(collector)
    with record_datasets(dataset_names):
        manager = task_manager(job["include"])
        loaded = load_task(manager, job, dataset_names)
    check_task(loaded, job)
    key = json.dumps([job["model"], job["arguments"]])
    if key not in models:
        models.clear()
        models[key] = load_model(job)
    set_chat_template(models[key], job)
    results = evaluate(models[key], loaded, manager, job)
    logging.getLogger("lm_eval").removeHandler(collector)
    write_records(folder / "records.jsonl", results["samples"], job["filter"], job["metric"])
    return collect_facts(results, job, models[key], dataset_names, list(collector.messages))


def evaluate(model: Any, loaded: Any, manager: Any, job: dict[str, Any]) -> Any:
    """Evaluate the model; return lm-eval's results."""
    from lm_eval import simple_evaluate

    group = loaded["groups"].get(job["task"])
    try:
        return simple_evaluate(
            model=model,
            tasks=[group] if group else tasks_of(loaded),
            task_manager=manager,
            num_fewshot=job["shots"],
            limit=job["limit"],
            bootstrap_iters=0,
            apply_chat_template=job["chat"],
            fewshot_as_multiturn=job["chat"],
            fewshot_random_seed=job["seed"],
        )
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        raise TaskError("memory", first_line(error)) from error


@contextmanager
def record_datasets(names: list[str]) -> Iterator[None]:
    """Append the name of every data set that is loaded within the context to `names`."""
    import datasets

    load = datasets.load_dataset

    def load_and_record(path: str, *arguments: Any, **options: Any) -> Any:
        names.append(path)
        return load(path, *arguments, **options)

    datasets.load_dataset = load_and_record
    try:
        yield
    finally:
        datasets.load_dataset = load


def load_task(manager: Any, job: dict[str, Any], dataset_names: list[str]) -> Any:
    """Return lm-eval's task or group, with its data loaded."""
    if job["task"] not in manager.all_tasks:
        raise TaskError("task", f"lm-eval {version('lm_eval')} has no task {job['task']!r}")
    was_imported = "nltk" in sys.modules
    try:
        loaded = manager.load([job["task"]])
    except UNUSABLE as error:
        if dataset_names:
            raise TaskError("data", f"{dataset_names[-1]}\n{first_line(error)}") from error
        raise TaskError("task", first_line(error)) from error
    if "nltk" in sys.modules and not was_imported:
        check_sentences()
    return loaded


def check_sentences() -> None:
    """Refuse a task that needs nltk's sentence data if that is not available."""
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError as error:
        raise TaskError("sentences", "punkt_tab") from error


def tasks_of(loaded: Any) -> list[Any]:
    """Return the tasks that lm-eval has loaded."""
    return list(loaded["tasks"].values())


def check_task(loaded: Any, job: dict[str, Any]) -> None:
    """Refuse a task that differs from its configuration, before a model is loaded."""
    groups = loaded["groups"]
    actual = groups[job["task"]].version if groups else tasks_of(loaded)[0].VERSION
    if str(actual) != str(job["version"]):
        raise TaskError("version", f"version {actual}")
    zero_shot = [t for t in tasks_of(loaded) if t.get_config("num_fewshot") == 0]
    if job["shots"] and zero_shot:
        raise TaskError("shots", "0 shots")
    items = sum(len(task.eval_docs) for task in tasks_of(loaded))
    if job["items"] is not None and items != job["items"]:
        raise TaskError("items", f"{items} items")


def load_model(job: dict[str, Any]) -> Any:
    """Return lm-eval's model."""
    from lm_eval.api.registry import get_model

    try:
        return get_model(job["model"])(trust_remote_code=False, **job["arguments"])
    except UNUSABLE as error:
        kind = "package" if isinstance(error, ModuleNotFoundError) else "policy"
        raise TaskError(kind, first_line(error)) from error


def set_chat_template(model: Any, job: dict[str, Any]) -> None:
    """Set the chat template that the policy names; refuse a tokenizer without one."""
    if job["template"] is not None:
        model.tokenizer.chat_template = job["template"]
        if hasattr(model, "hf_chat_template"):
            model.hf_chat_template = job["template"]
    if job["chat"] and not model.tokenizer.chat_template:
        raise TaskError("template", "the tokenizer has no chat template")


def write_records(path: Path, samples: dict[str, Any], filter_name: str, metric: str) -> None:
    """Write one line per item: its value, hashes and responses, but not the item itself."""
    with open(path, "w", encoding="utf-8") as file:
        for name in sorted(samples):
            for row in records(name, samples[name], filter_name, metric):
                file.write(json.dumps(row, default=str, ensure_ascii=False) + "\n")


def records(
    name: str, samples: list[dict[str, Any]], filter_name: str, metric: str
) -> Iterator[dict[str, Any]]:
    """Yield the records of a task's items."""
    matching = [
        sample for sample in samples if sample["filter"] == filter_name and metric in sample
    ]
    if not matching:
        available = {f"{m} ({s['filter']})" for s in samples for m in s["metrics"]}
        raise TaskError("metric", ", ".join(sorted(available)))
    for sample in matching:
        yield {
            "id": f"{name}/{sample['doc_id']}",
            "value": sample[metric],
            "metrics": {m: sample[m] for m in sample["metrics"]},
            "target": sample["target"],
            "filtered_responses": sample["filtered_resps"],
            "responses": sample["resps"],
            "doc": sample["doc_hash"],
            "prompt": sample["prompt_hash"],
        }


def collect_facts(
    results: dict[str, Any],
    job: dict[str, Any],
    model: Any,
    dataset_names: list[str],
    warnings: list[str],
) -> dict[str, Any]:
    """Return lm-eval's scores, and the task's versions, settings and data sets."""
    names = sorted(results["samples"])
    task_results = results["results"].get(job["task"], {})
    template = str(model.tokenizer.chat_template) if job["chat"] else None
    return {
        "lm_eval": version("lm_eval"),
        "figure": task_results.get(f"{job['metric']},{job['filter']}"),
        "figures": {
            k: v for k, v in task_results.items() if "," in k and isinstance(v, int | float)
        },
        "shots": sorted({results["n-shot"][name] for name in names}),
        "version": results["versions"].get(job["task"]),
        "versions": {name: results["versions"][name] for name in names},
        "items": sum(results["n-samples"][name]["original"] for name in names),
        "scored": sum(results["n-samples"][name]["effective"] for name in names),
        "configs": {name: config_digest(results["configs"][name]) for name in names},
        "kinds": sorted({results["configs"][name]["output_type"] for name in names}),
        "datasets": sorted(set(dataset_names)),
        "chat_template": template and hashlib.sha256(template.encode()).hexdigest(),
        "warnings": warnings,
    }


def config_digest(config: Any) -> str:
    """Return the sha256 of a task's definition, including its functions' sources."""
    text = json.dumps(config, sort_keys=True, default=str)
    return hashlib.sha256(ADDRESS.sub("", text).encode()).hexdigest()


def first_line(error: BaseException) -> str:
    """Return an error's message in one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))


if __name__ == "__main__":
    main(int(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # all output is written, and vLLM would take seconds to shut down
