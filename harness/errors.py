"""Errors a user can act on, and the exit codes of the command line.

    HarnessError                1   the base; one line: what is wrong, how to mend it
    ├── ConfigError             2   a configuration or an option does not fit
    ├── InputError              3   a file of the user's (answers, prompts) does not fit
    ├── PolicyError             4   weights, tokenizer or chat template cannot be used
    ├── AssetError              5   protocol data is missing or has another sha256
    ├── MissingDependencyError  6   a package or a device that the command needs is not there
    ├── StoreError              7   the disk is full, a stage is damaged, a database cannot be used
    ├── RunExistsError          8   the run's name is taken by another configuration
    ├── JudgeError              9   the judge cannot be reached, or gives no answer
    ├── EngineError             10  generation failed
    ├── CheckError              11  a figure that must hold does not: the result would be wrong
    └── of the judge, all of them also JudgeErrors:
        ├── JudgeRefusedError   12  it refuses for good: the key, the model, the credit, the request
        ├── JudgeIdentityError  13  it serves another model than it was asked for, or a moving alias
        ├── BudgetError         14  the budget is spent; what was judged so far is kept
        └── BatchPendingError   15  a batch of requests is under way: `--resume` fetches it

Code 130 is an interrupt (Ctrl-C). Whatever stood before an error stands after it.
"""

from typing import ClassVar


class HarnessError(Exception):
    """Base of every error that the command line shows as one line, without a traceback."""

    exit_code: ClassVar[int] = 1


class ConfigError(HarnessError):
    """A configuration file is missing, unreadable or does not fit its component."""

    exit_code = 2


class InputError(HarnessError):
    """A file that the user handed in does not fit what the command expects of it."""

    exit_code = 3


class PolicyError(HarnessError):
    """A policy's weights, tokenizer or chat template cannot be used."""

    exit_code = 4


class AssetError(HarnessError):
    """Protocol data is missing, or is not the file that the protocol was published with."""

    exit_code = 5


class MissingDependencyError(HarnessError):
    """A package or a device that the command needs is not there."""

    exit_code = 6


class StoreError(HarnessError):
    """The disk is full, a stage is damaged, or a database cannot be used."""

    exit_code = 7


class RunExistsError(HarnessError):
    """A run of that name exists with another configuration."""

    exit_code = 8


class JudgeError(HarnessError):
    """The judge cannot be reached, or gives no answer."""

    exit_code = 9


class EngineError(HarnessError):
    """Generation failed."""

    exit_code = 10


class CheckError(HarnessError):
    """A figure that must hold does not hold, so the result would be wrong."""

    exit_code = 11


class JudgeRefusedError(JudgeError):
    """The judge refuses for good: trying again changes nothing."""

    exit_code = 12


class JudgeIdentityError(JudgeError):
    """The judge serves another model than it was asked for, or its name is an alias that moves."""

    exit_code = 13


class BudgetError(JudgeError):
    """The next request might cost more than is left of the budget."""

    exit_code = 14


class BatchPendingError(JudgeError):
    """The verdicts are not there yet: a batch of requests is under way."""

    exit_code = 15


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
