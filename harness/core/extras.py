"""The optional packages: which extra of the distribution brings each, and the error without it."""

from __future__ import annotations

from harness.errors import MissingDependencyError

EXTRAS = {
    "alpaca_eval": "alpaca-eval",
    "datasets": "train",
    "emoji": "ifbench",
    "langdetect": "academic",
    "lm_eval": "academic",
    "matplotlib": "report",
    "nltk": "academic",
    "pandas": "frames",
    "peft": "lora",
    "pyarrow": "train",
    "ray": "cluster",
    "safetensors": "train",
    "submitit": "cluster",
    "syllapy": "ifbench",
    "torch": "train",
    "torchao": "eight-bit",
    "transformers": "train",
    "vllm": "vllm",
}
"""The extra by the package's top module."""


def missing_extra(error: ModuleNotFoundError) -> MissingDependencyError | None:
    """Return the error of a missing optional package; None where another module is missing."""
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return None
    return MissingDependencyError(
        f"this needs {package}, which is not installed: "
        f"pip install 'preference-harness[{EXTRAS[package]}]'"
    )
