"""What every kind of job can: be fetched, listed, waited for, cancelled, and tell its events."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from errata_client.errors import JobFailed, ServiceUnreachable, WaitTimeout
from errata_client.records import Event, Job
from errata_client.transport import Transport

J = TypeVar("J", bound=Job)
_FIRST_POLL, _LONGEST_POLL = 0.1, 2.0  # seconds


class Resource:
    """Something of the API, reached through one transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport


class Jobs(Resource, Generic[J]):
    """One kind of job under one path."""

    path: str
    record: type[J]

    def get(self, job_id: str) -> J:
        """One job as it is now."""
        return self.record.model_validate(self._transport.get(f"{self.path}/{job_id}"))

    def list(self, **filters: Any) -> Iterator[J]:
        """Every job, newest first; filters as in the API (``state=...``)."""
        return (self.record.model_validate(row) for row in self._transport.pages(self.path, **filters))

    def cancel(self, job_id: str) -> J:
        """Ask a job to stop. What it had stays."""
        return self._post(f"{job_id}/cancel")

    def wait(
        self,
        job_id: str,
        *,
        timeout_seconds: float | None = None,
        on_progress: Callable[[J], object] | None = None,
        check: bool = True,
    ) -> J:
        """Poll until the job has ended; ``on_progress`` sees every poll.

        Raises JobFailed when it ended without success (unless ``check`` is false) and WaitTimeout. A service that
        restarts meanwhile is waited for, within its retries.
        """
        started, pause = time.monotonic(), _FIRST_POLL
        while True:
            job = self.get(job_id)
            if on_progress is not None:
                on_progress(job)
            if job.ended:
                if check and not job.succeeded:
                    raise JobFailed(job)
                return job
            if timeout_seconds is not None and time.monotonic() - started >= timeout_seconds:
                raise WaitTimeout(job, timeout_seconds)
            time.sleep(pause)
            pause = min(pause * 1.3, _LONGEST_POLL)

    def events(self, job_id: str) -> Iterator[Event]:
        """The job's events so far, oldest first."""
        rows = self._transport.pages(f"{self.path}/{job_id}/events")
        return (Event.model_validate(row) for row in rows)

    def follow(self, job_id: str, *, reconnects: int = 5, progress: bool = False) -> Iterator[Event]:
        """The job's events as they happen, until it ends. A cut connection is resumed behind the last event.

        With ``progress`` also events of that type, which say how far the job is and are kept nowhere.
        """
        last, left = 0, reconnects
        while True:
            try:
                for event in self._stream(job_id, last):
                    if event is None:
                        return
                    last, left = event.id, reconnects
                    if progress or event.type != "progress":
                        yield event
            except ServiceUnreachable:
                if left == 0:
                    raise
            if left == 0:
                raise ServiceUnreachable(f"the event stream of {job_id} keeps ending early")
            left -= 1
            time.sleep(0.5)

    def _stream(self, job_id: str, last: int) -> Iterator[Event | None]:
        """Events behind ``last``; None when the service says that there will be no more."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last)}
        kind, data = "message", ""
        with self._transport.stream(f"{self.path}/{job_id}/events", headers, endless=True) as response:
            for line in response.iter_lines():
                name, _, value = line.partition(":")
                if name == "event":
                    kind = value.strip()
                elif name == "data":
                    data += value.removeprefix(" ")
                elif not line and data:
                    if kind == "end":
                        yield None
                        return
                    yield Event.model_validate(json.loads(data))
                    kind, data = "message", ""

    def _create(self, body: dict[str, Any]) -> J:
        given = {name: value for name, value in body.items() if value is not None}
        return self.record.model_validate(self._transport.post(self.path, given))

    def _post(self, path: str, body: Any = None) -> J:
        return self.record.model_validate(self._transport.post(f"{self.path}/{path}", body))
