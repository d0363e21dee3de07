# Made from _async/jobs.py by client/tools/generate.py: change that file, not this one.
"""What every kind of job can: be fetched, listed, waited for, cancelled, and tell its events."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, Generic, TypeVar

import httpx2 as httpx

from errata_client.display import ProgressLine
from errata_client.errors import JobFailed, ServiceUnreachable, WaitTimeout
from errata_client.handles import Handle, Job
from errata_client.progress import Record
from errata_client.records import Event
from errata_client.transport import Rows, Transport
from errata_client.waiting import sleep

J = TypeVar("J", bound=Job)
R = TypeVar("R", bound=Record)
_FIRST_POLL, _LONGEST_POLL = 0.1, 2.0  # seconds


class Resource:
    """Something of the API, reached through one transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __deepcopy__(self, memo: dict[int, Any]) -> Resource:
        """A copy of a handle goes on through the same connections."""
        return self

    def _made(self, kind: type[R], answer: Any) -> R:
        """The record of an answer; a handle goes on through this resource."""
        made = kind.model_validate(answer)
        if isinstance(made, Handle):
            made._owner = self
        return made


class Jobs(Resource, Generic[J]):
    """One kind of job under one path."""

    path: str
    record: type[J]

    def get(self, job_id: str) -> J:
        """One job as it is now."""
        return self._made(self.record, self._transport.get(f"{self.path}/{job_id}"))

    def list(self, **filters: Any) -> Rows[J]:
        """Every job, newest first; filters as in the API (``state=...``)."""
        return self._transport.rows(lambda row: self._made(self.record, row), self.path, **filters)

    def cancel(self, job_id: str) -> J:
        """Ask a job to stop. What it had stays."""
        return self._post(f"{job_id}/cancel")

    def wait(
        self,
        job_id: str,
        *,
        timeout_seconds: float | None = None,
        progress: bool = False,
        on_progress: Callable[[J], object] | None = None,
        check: bool = True,
    ) -> J:
        """Poll until the job has ended; ``on_progress`` sees every poll, ``progress`` tells of it on standard error.

        Raises JobFailed when it ended without success (unless ``check`` is false) and WaitTimeout. A service that
        restarts meanwhile is waited for, within its retries.
        """
        started, pause = time.monotonic(), _FIRST_POLL
        with ProgressLine(shown=progress) as tell:
            while True:
                job = self.get(job_id)
                tell(job)
                if on_progress is not None:
                    on_progress(job)
                if job.ended:
                    break
                if timeout_seconds is not None and time.monotonic() - started >= timeout_seconds:
                    raise WaitTimeout(job, timeout_seconds)
                sleep(pause)
                pause = min(pause * 1.3, _LONGEST_POLL)
        if check and not job.succeeded:
            raise JobFailed(job)
        return job

    def events(self, job_id: str) -> Rows[Event]:
        """The job's events so far, oldest first."""
        return self._transport.rows(Event.model_validate, f"{self.path}/{job_id}/events")

    def follow(self, job_id: str, *, after: int = 0, reconnects: int = 5, progress: bool = False) -> Iterator[Event]:
        """The job's events as they happen, until it ends; ``after``: only those behind this event's id.

        A cut connection is resumed behind the last event. With ``progress`` also events of that type, which say how far
        the job is and are kept nowhere.
        """
        last, left = after, reconnects
        while True:
            try:
                with closing(self._stream(job_id, last)) as events:
                    for event in events:
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
            sleep(0.5)

    def _stream(self, job_id: str, last: int) -> Generator[Event | None, None]:
        """Events behind ``last``; None when the service says that there will be no more."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last)}
        with self._transport.stream(f"{self.path}/{job_id}/events", headers, endless=True) as response:
            for told in httpx.EventSource(response):
                if told.event == "end":
                    yield None
                    return
                if told.data:
                    yield Event.model_validate_json(told.data)

    def _create(self, body: dict[str, Any]) -> J:
        given = {name: value for name, value in body.items() if value is not None}
        return self._made(self.record, self._transport.post(self.path, given))

    def _post(self, path: str, body: Any = None) -> J:
        return self._made(self.record, self._transport.post(f"{self.path}/{path}", body))
