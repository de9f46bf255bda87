"""OpenAI's Batch API, as little of it as is needed, so that nothing is ever submitted twice.

Whatever makes something new is looked for before it is made: an upload by its file's name, a batch
by its file. So a call whose answer was lost, or a process that was killed, does no harm.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from harness.core.http import Backoff, is_loopback, is_retryable, retry_after
from harness.core.secrets import redact_logs
from harness.core.terminal import one_line
from harness.errors import JudgeError, JudgeRefusedError
from harness.judges.client import CONNECT_SECONDS, OpenAIClient
from harness.judges.retry import REMEDIES

if TYPE_CHECKING:
    from openai import OpenAI

T = TypeVar("T")
ENDPOINT: Final = "/v1/chat/completions"
COMPLETION_WINDOW: Final = "24h"
FIRST_PAUSE, LONGEST_PAUSE, ATTEMPTS = 1.0, 30.0, 8
ENDED_STATES = frozenset({"completed", "expired", "cancelled", "failed"})
METADATA_KEY = "harness"
"""The metadata under which a batch carries our name for it."""


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far a batch is."""

    state: str
    done: int
    total: int
    files: tuple[str, ...]
    """Its output and its errors, where there are any by now."""
    errors: str = ""
    """Why it failed as a whole."""

    @property
    def has_ended(self) -> bool:
        """Say whether nothing more will come."""
        return self.state in ENDED_STATES


@dataclass(frozen=True)
class BatchAPI:
    """The line to a judge's batches."""

    judge: OpenAIClient

    def upload(self, name: str, lines: str) -> str:
        """Return the id of the file of that name, uploaded unless it is there.

        Raises:
            JudgeError: it cannot be done.
        """

        def find_or_upload(client: OpenAI) -> str:
            for file in client.files.list(purpose="batch"):
                if file.filename == name:
                    return file.id
            content = (name, io.BytesIO(lines.encode()), "application/jsonl")
            return client.files.create(file=content, purpose="batch").id

        return self._reject_secret(self._retry(find_or_upload))

    def create(self, name: str, file_id: str) -> str:
        """Return the id of the batch over a file, made unless it is there.

        Raises:
            JudgeError: it cannot be done.
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
        """Return how far a batch is.

        Raises:
            JudgeError: the judge cannot be asked, or knows of no such batch.
        """
        retrieved = self._retry(lambda client: client.batches.retrieve(batch_id))
        secret = self.judge.secret()
        counts, errors = (
            retrieved.request_counts,
            (retrieved.errors and retrieved.errors.data) or [],
        )
        return BatchProgress(
            state=retrieved.status,
            done=counts.completed + counts.failed if counts else 0,
            total=counts.total if counts else 0,
            files=tuple(
                file_id
                for file_id in (retrieved.output_file_id, retrieved.error_file_id)
                if file_id
            ),
            errors="; ".join(one_line(secret.redact(str(error.message))) for error in errors[:3]),
        )

    def lines(self, file_id: str) -> Iterator[dict[str, Any]]:
        """Yield the lines of a result; what is no object is left out, and so counts as missing.

        Raises:
            JudgeError: it cannot be had.
        """
        text = self._retry(lambda client: client.files.content(file_id).text)
        secret = self.judge.secret()
        for line in text.split("\n"):
            try:
                row = json.loads(secret.redact_body(line))
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row

    def _retry(self, call: Callable[[OpenAI], T]) -> T:
        """Do something until it works; from the start, so that what was made is found.

        Raises:
            JudgeRefusedError: the judge refuses for good.
            JudgeError: it gives no answer.
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
                    requested = retry_after(error.response.headers)
                    if not is_retryable(error.status_code, error.code, error.type):
                        raise self._refusal_error(error.status_code, message) from None
                except (openai.APIError, ValueError) as error:
                    message = self._message(error)
                time.sleep(Backoff(FIRST_PAUSE, LONGEST_PAUSE).pause(attempt, requested))
        raise JudgeError(
            f"{self.judge.display_name} gives no answer about its batches ({message}): try again later; what "
            "was submitted is known, and is not submitted again"
        )

    def _reject_secret(self, name: str) -> str:
        """Return a name that the judge gives, if it may be kept."""
        if self.judge.secret().redact(name) != name:
            raise JudgeError(
                f"{self.judge.display_name} calls a batch or its file by the key itself, which is kept "
                "nowhere: leave out --batch"
            )
        return name

    def _refusal_error(self, status: int, message: str) -> JudgeRefusedError:
        remedy = REMEDIES.get(status, "look at what the server says")
        return JudgeRefusedError(
            f"{self.judge.display_name} refuses the batch ({status}: {message}): {remedy}; or leave out --batch"
        )

    def _message(self, error: Exception) -> str:
        return one_line(self.judge.secret().redact(str(error)))

    def _connect(self) -> OpenAI:
        import openai

        redact_logs(self.judge.secret())
        return openai.OpenAI(
            base_url=self.judge.url,
            api_key=self.judge.key(),
            max_retries=0,  # what makes something new must be looked for first
            timeout=openai.Timeout(self.judge.timeout, connect=CONNECT_SECONDS),
            http_client=openai.DefaultHttpxClient(trust_env=not is_loopback(self.judge.url)),
        )
