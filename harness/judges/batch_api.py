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

from harness.errors import JudgeError, JudgeRefusedError
from harness.judges.calls import MENDS, PASSING, plain
from harness.judges.client import CONNECT_SECONDS, OpenAIJudge, loopback
from harness.secret import hush

if TYPE_CHECKING:
    from openai import OpenAI

T = TypeVar("T")
ENDPOINT: Final = "/v1/chat/completions"
WINDOW: Final = "24h"
FIRST_PAUSE, LONGEST_PAUSE, TRIES = 1.0, 30.0, 8
ENDED = frozenset({"completed", "expired", "cancelled", "failed"})
MARK = "harness"
"""The metadata under which a batch carries our name for it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is."""

    state: str
    done: int
    total: int
    files: tuple[str, ...]
    """Its output and its errors, where there are any by now."""
    faults: str = ""
    """Why it failed as a whole."""

    @property
    def ended(self) -> bool:
        """Say whether nothing more will come."""
        return self.state in ENDED


@dataclass(frozen=True)
class BatchAPI:
    """The line to a judge's batches."""

    judge: OpenAIJudge

    def upload(self, name: str, lines: str) -> str:
        """Return the id of the file of that name, uploaded unless it is there.

        Raises:
            JudgeError: it cannot be done.
        """

        def make(client: OpenAI) -> str:
            for file in client.files.list(purpose="batch"):
                if file.filename == name:
                    return file.id
            content = (name, io.BytesIO(lines.encode()), "application/jsonl")
            return client.files.create(file=content, purpose="batch").id

        return self._bare(self._patiently(make))

    def create(self, name: str, file: str) -> str:
        """Return the id of the batch over a file, made unless it is there.

        Raises:
            JudgeError: it cannot be done.
        """

        def make(client: OpenAI) -> str:
            for batch in client.batches.list(limit=100):
                if batch.input_file_id == file or (batch.metadata or {}).get(MARK) == name:
                    return batch.id
            made = client.batches.create(
                input_file_id=file,
                endpoint=ENDPOINT,
                completion_window=WINDOW,
                metadata={MARK: name},
            )
            return made.id

        return self._bare(self._patiently(make))

    def progress(self, batch: str) -> Progress:
        """Return how far a batch is.

        Raises:
            JudgeError: the judge cannot be asked, or knows of no such batch.
        """
        found = self._patiently(lambda client: client.batches.retrieve(batch))
        secret = self.judge.secret()
        counts, faults = found.request_counts, (found.errors and found.errors.data) or []
        return Progress(
            state=found.status,
            done=counts.completed + counts.failed if counts else 0,
            total=counts.total if counts else 0,
            files=tuple(one for one in (found.output_file_id, found.error_file_id) if one),
            faults="; ".join(plain(secret.clean(str(one.message))) for one in faults[:3]),
        )

    def lines(self, file: str) -> Iterator[dict[str, Any]]:
        """Yield the lines of a result; what is no object is left out, and so counts as missing.

        Raises:
            JudgeError: it cannot be had.
        """
        text = self._patiently(lambda client: client.files.content(file).text)
        secret = self.judge.secret()
        for line in text.split("\n"):
            try:
                row = json.loads(secret.clean_body(line))
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row

    def _patiently(self, do: Callable[[OpenAI], T]) -> T:
        """Do something until it works; from the start, so that what was made is found.

        Raises:
            JudgeRefusedError: the judge refuses for good.
            JudgeError: it gives no answer.
        """
        import openai

        told = ""
        with self._connected() as client:
            for tried in range(TRIES):
                try:
                    return do(client)
                except openai.APIStatusError as error:
                    told = self._told(error)
                    passing = error.status_code in PASSING or error.status_code >= 500
                    if not passing or "insufficient_quota" in (error.code, error.type):
                        raise self._refused(error.status_code, told) from None
                except (openai.APIError, ValueError) as error:
                    told = self._told(error)
                time.sleep(min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**tried))
        raise JudgeError(
            f"{self.judge.who} gives no answer about its batches ({told}): try again later; what "
            "was submitted is known, and is not submitted again"
        )

    def _bare(self, name: str) -> str:
        """Return a name that the judge gives, if it may be kept."""
        if self.judge.secret().clean(name) != name:
            raise JudgeError(
                f"{self.judge.who} calls a batch or its file by the key itself, which is kept "
                "nowhere: leave out --batch"
            )
        return name

    def _refused(self, status: int, told: str) -> JudgeRefusedError:
        mend = MENDS.get(status, "look at what the server says")
        return JudgeRefusedError(
            f"{self.judge.who} refuses the batch ({status}: {told}): {mend}; or leave out --batch"
        )

    def _told(self, error: Exception) -> str:
        return plain(self.judge.secret().clean(str(error)))

    def _connected(self) -> OpenAI:
        import openai

        hush(self.judge.secret())
        return openai.OpenAI(
            base_url=self.judge.url,
            api_key=self.judge.key(),
            max_retries=0,  # what makes something new must be looked for first
            timeout=openai.Timeout(self.judge.timeout, connect=CONNECT_SECONDS),
            http_client=openai.DefaultHttpxClient(trust_env=not loopback(self.judge.url)),
        )
