"""Errors a user can act on, and the exit codes of the command line.

    HarnessError                1   the base; one line: what is wrong, and how to mend it
    ├── ConfigError             2   a configuration or an option does not fit
    ├── InputError              3   a user's file (answers, prompts) does not fit
    ├── PolicyError             4   weights, tokenizer or chat template cannot be used
    ├── AssetError              5   protocol data is missing or has another sha256
    ├── MissingDependencyError  6   a package or a device that the command needs is missing
    ├── StoreError              7   the disk is full, a stage is damaged, a database cannot be used
    ├── NameTakenError          8   a name is taken, and what it names is never overwritten:
    │   ├── RunExistsError      8   a run of another configuration
    │   └── ResultExistsError   8   a result of the same identity and other content
    ├── JudgeError              9   the judge cannot be reached, or does not answer
    ├── EngineError             10  generation failed
    ├── CheckError              11  a check failed, so that the result would be wrong
    └── of the judge, subclasses of JudgeError:
        ├── JudgeRefusedError   12  a permanent refusal: key, model, credit or request
        ├── JudgeIdentityError  13  it serves another model than requested, or a moving alias
        ├── BudgetError         14  the budget is spent; the verdicts so far are stored
        └── BatchPendingError   15  a batch of requests is in progress: `--resume` fetches it

Code 130 is an interrupt (Ctrl-C). Results that were stored before an error remain valid.
"""

from typing import ClassVar


class HarnessError(Exception):
    """Base of every error that the command line shows as one line, without a traceback."""

    exit_code: ClassVar[int] = 1


class ConfigError(HarnessError):
    """A configuration file is missing, unreadable or does not fit its component."""

    exit_code = 2


class InputError(HarnessError):
    """A user's file does not have the content that the command expects."""

    exit_code = 3


class PolicyError(HarnessError):
    """A policy's weights, tokenizer or chat template cannot be used."""

    exit_code = 4


class AssetError(HarnessError):
    """Protocol data is missing, or differs from the published file."""

    exit_code = 5


class MissingDependencyError(HarnessError):
    """A package or a device that the command needs is missing."""

    exit_code = 6


class StoreError(HarnessError):
    """The disk is full, a stage is damaged, or a database cannot be used."""

    exit_code = 7


class NameTakenError(HarnessError):
    """A name is taken by something else, which is never overwritten."""

    exit_code = 8


class RunExistsError(NameTakenError):
    """A run of that name exists with another configuration."""


class ResultExistsError(NameTakenError):
    """A result of the same benchmark, contestant, judge and baseline has another content."""


class JudgeError(HarnessError):
    """The judge cannot be reached, or does not answer."""

    exit_code = 9


class EngineError(HarnessError):
    """Generation failed."""

    exit_code = 10


class CheckError(HarnessError):
    """A check failed, so that the result would be wrong."""

    exit_code = 11


class JudgeRefusedError(JudgeError):
    """The judge refuses permanently: another attempt would change nothing."""

    exit_code = 12


class JudgeIdentityError(JudgeError):
    """The judge serves another model than requested, or its name is an alias that moves."""

    exit_code = 13


class BudgetError(JudgeError):
    """The next request might exceed the budget."""

    exit_code = 14


class BatchPendingError(JudgeError):
    """The verdicts are not available yet: a batch of requests is in progress."""

    exit_code = 15


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that is not blank, or its repr."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
