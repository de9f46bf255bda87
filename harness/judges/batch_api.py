"""OpenAI's Batch API, used so that nothing is ever submitted twice.

A file is looked up by its name before it is uploaded, and a batch by its file before it is created.
A lost response or a killed process therefore does no harm.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from harness.core import connections
from harness.core.completion_bodies import load_json
from harness.core.http import Backoff, is_retryable, retry_after
from harness.core.secrets import redact_logs
from harness.core.terminal import one_line
from harness.errors import JudgeError, JudgeRefusedError
from harness.judges.client import OpenAIClient
from harness.judges.retry import REMEDIES

if TYPE_CHECKING:
    from openai import OpenAI

T = TypeVar("T")
ENDPOINT: Final = "/v1/chat/completions"
COMPLETION_WINDOW: Final = "24h"
FIRST_PAUSE, LONGEST_PAUSE, ATTEMPTS = 1.0, 30.0, 8
ENDED_STATES = frozenset({"completed", "expired", "cancelled", "failed"})
LARGEST_FILE = 512 * 2**20
"""Bytes of the largest result of a batch that is read."""
TOKEN_LIMIT_CODE = "token_limit_exceeded"
TOKEN_LIMIT_TEXT = re.compile(r"enqueued.token.(limit|quota)|token_limit_exceeded", re.IGNORECASE)
TOKEN_LIMIT = re.compile(r"limit:?\s+(?:of\s+)?(\d[\d,._']*)", re.IGNORECASE)
OVER_LIMIT = "over the account's limit of"
METADATA_KEY = "harness"
"""The key of our name in a batch's metadata."""


class TokenLimitError(JudgeError):
    """The account takes no batch, or no further batch, of so many tokens."""


def over_limit(code: object, message: object) -> str:
    """Return the reason of a refusal for the tokens that are in batches; empty for another one."""
    text = str(message)
    if code != TOKEN_LIMIT_CODE and not TOKEN_LIMIT_TEXT.search(text):
        return ""
    number = TOKEN_LIMIT.search(text)
    limit = re.sub(r"\D", "", number[1]) if number else ""
    return f"{OVER_LIMIT} {limit or 'an unknown number of'} tokens in batches"


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """The progress of a batch."""

    state: str
    done: int
    total: int
    files: tuple[str, ...]
    """The output file and the error file, as far as they exist."""
    errors: str = ""
    """Why the batch failed."""
    over_limit: str = ""
    """The reason in our words, if the account takes no more tokens at a time; else empty."""

    @property
    def has_ended(self) -> bool:
        """Whether no further reply will come."""
        return self.state in ENDED_STATES


def _count(counts: object, name: str) -> int:
    """Return a number that a server reports; 0 for what is none."""
    value = getattr(counts, name, 0)
    return value if isinstance(value, int) else 0


@dataclass(frozen=True)
class BatchAPI:
    """The batches of a judge."""

    judge: OpenAIClient

    def upload(self, name: str, lines: str) -> str:
        """Return the id of the file of a name; upload it unless it exists.

        Raises:
            JudgeError: the server refuses or does not reply.
        """

        def find_or_upload(client: OpenAI) -> str:
            for file in client.files.list(purpose="batch"):
                if file.filename == name:
                    return file.id
            content = (name, io.BytesIO(lines.encode()), "application/jsonl")
            return client.files.create(file=content, purpose="batch").id

        return self._reject_secret(self._retry(find_or_upload))

    def create(self, name: str, file_id: str) -> str:
        """Return the id of the batch over a file; create it unless it exists.

        Raises:
            JudgeError: the server refuses or does not reply.
        """

        def find_or_create(client: OpenAI) -> str:
            for batch in client.batches.list(limit=100):
                if (
                    batch.input_file_id == file_id
                    or (batch.metadata or {}).get(METADATA_KEY) == name
                ):
                    return batch.id
            created = client.batches.create(
                input_file_id=file_id,
                endpoint=ENDPOINT,
                completion_window=COMPLETION_WINDOW,
                metadata={METADATA_KEY: name},
            )
            return created.id

        return self._reject_secret(self._retry(find_or_create))

    def progress(self, batch_id: str) -> BatchProgress:
        """Return the progress of a batch.

        Raises:
            JudgeError: the judge cannot be asked, or there is no such batch.
        """
        retrieved = self._retry(lambda client: client.batches.retrieve(batch_id))
        secret = self.judge.secret()
        counts, errors = (
            retrieved.request_counts,
            (retrieved.errors and retrieved.errors.data) or [],
        )
        return BatchProgress(
            state=retrieved.status,
            done=_count(counts, "completed") + _count(counts, "failed"),
            total=_count(counts, "total"),
            files=tuple(
                file_id
                for file_id in (retrieved.output_file_id, retrieved.error_file_id)
                if file_id and isinstance(file_id, str)
            ),
            errors="; ".join(one_line(secret.redact(str(error.message))) for error in errors[:3]),
            over_limit=next(filter(None, (over_limit(e.code, e.message) for e in errors)), ""),
        )

    def lines(self, file_id: str) -> Iterator[dict[str, Any]]:
        """Yield the lines of a result; a line that is no JSON object is dropped, and so missing.

        Raises:
            JudgeError: it cannot be downloaded.
        """
        text = self._retry(lambda client: client.files.content(file_id).text)
        secret = self.judge.secret()
        for line in text.split("\n"):
            try:
                row = load_json(secret.redact_body(line))
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row

    def _retry(self, call: Callable[[OpenAI], T]) -> T:
        """Repeat a call until it succeeds; each attempt looks up what exists first.

        Raises:
            TokenLimitError: the account takes no more tokens at the moment.
            JudgeRefusedError: the judge refuses for good.
            JudgeError: it does not reply.
        """
        import openai

        message = ""
        with self._connect() as client:
            for attempt in range(1, ATTEMPTS + 1):
                requested = None
                try:
                    return call(client)
                except openai.APIStatusError as error:
                    message = self._message(error)
                    if reason := over_limit(error.code, message):
                        raise TokenLimitError(reason) from None
                    requested = retry_after(error.response.headers)
                    if not is_retryable(error.status_code, error.code, error.type):
                        raise self._refusal_error(error.status_code, message) from None
                except (openai.APIError, ValueError) as error:
                    message = self._message(error)
                time.sleep(Backoff(FIRST_PAUSE, LONGEST_PAUSE).pause(attempt, requested))
        raise JudgeError(
            f"{self.judge.display_name} does not reply about its batches ({message}): try again "
            "later; what was submitted is recorded, and is not submitted again"
        )

    def _reject_secret(self, name: str) -> str:
        """Return a name that the server gives, unless it contains the key."""
        if self.judge.secret().redact(name) != name:
            raise JudgeError(
                f"{self.judge.display_name} calls a batch or its file by the key itself, which is "
                "never stored: leave out --batch"
            )
        return name

    def _refusal_error(self, status: int, message: str) -> JudgeRefusedError:
        remedy = REMEDIES.get(status, "look at what the server says")
        return JudgeRefusedError(
            f"{self.judge.display_name} refuses the batch ({status}: {message}): {remedy}; or "
            "leave out --batch"
        )

    def _message(self, error: Exception) -> str:
        return one_line(self.judge.secret().redact(str(error)))

    def _connect(self) -> OpenAI:
        redact_logs(self.judge.secret())
        return connections.open_sync(
            self.judge.url, self.judge.key(), self.judge.timeout, LARGEST_FILE
        )
