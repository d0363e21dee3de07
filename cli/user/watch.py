"""Watching a job: a live view on a terminal (cli.user.live), a plain line now and then elsewhere.

Ctrl-C stops watching and never the job.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from cli import CliError
from cli.user.output import console, duration, say

_LINE_SECONDS = 5.0  # between two lines without a terminal, where nothing else has changed


class Watchable(Protocol):
    """A resource of the client whose jobs can be waited for."""

    def wait(self, job_id: str, *, on_progress: Callable[[Any], object] | None = None, check: bool = True) -> Any:
        """Poll until the job has ended."""


def watch(jobs: Watchable, job_id: str, command: str) -> Any:
    """See a job to its end and return it. Raises CliError (status 3) where it fails, and for Ctrl-C (status 130)."""
    out = console(stderr=True)
    try:
        if out.is_terminal:
            from cli.user.live import live

            job = live(out, lambda tell: jobs.wait(job_id, on_progress=tell, check=False))
        else:
            job = _lines(jobs, job_id)
    except KeyboardInterrupt:
        raise CliError(f"no longer watching; the job goes on: `{command}`", status=130) from None
    if not job.succeeded:
        raise CliError(f"{job.id} {job.state}" + (f": {job.error}" if job.error else ""), status=3)
    return job


def _lines(jobs: Watchable, job_id: str) -> Any:
    told: dict[str, Any] = {"line": None, "at": 0.0}
    speed = Speed()

    def tell(job: Any) -> None:
        line, now = summary(job, speed(job)), time.monotonic()
        changed = told["line"] is None or told["line"][0] != job.state
        if changed or (now - told["at"] >= _LINE_SECONDS and told["line"][1] != line):
            told.update(line=(job.state, line), at=now)
            say(line)

    return jobs.wait(job_id, on_progress=tell, check=False)


class Speed:
    """Generated tokens per second over the last looks at one job; None until there are two."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=20)

    def __call__(self, job: Any) -> float | None:
        """The speed at this look. Tokens of prompts do not count: they are read, not generated."""
        self._seen.append((time.monotonic(), int(progress_of(job, "tokens", {}).get("completion", 0))))
        (first, before), (last, after) = self._seen[0], self._seen[-1]
        return (after - before) / (last - first) if last > first and after > before else None


def summary(job: Any, tokens_per_second: float | None = None) -> str:
    """One line: state, share, what was made, speed, time left."""
    parts = [f"{job.id} {job.state}", f"{job.fraction:.0%}", *counts_of(job)]
    if not job.ended:
        parts += [f"{tokens_per_second:,.0f} tokens/s"] if tokens_per_second else []
        eta = eta_of(job)
        parts += [f"{duration(eta)} left"] if eta else []
    return " · ".join(parts)


def counts_of(job: Any) -> list[str]:
    """What a job has made, and what it lost."""
    progress = getattr(job, "progress", None)
    if parts := getattr(job, "parts", None):  # a study or campaign
        return [f"{parts.ended} of {parts.made} parts ended"]
    if progress is None:  # a training run
        return [f"step {job.step} of {job.total_steps}"] if getattr(job, "total_steps", None) else []
    counts = []
    if progress.problems_total and not job.id.startswith("ds_"):  # a freeze has one unit of work, and no problems
        counts.append(f"{progress.problems_done:,} of {progress.problems_total:,} problems")
    counts += [f"{count:,} {name}" for name, count in progress.made.items() if count]
    funnel = getattr(job, "funnel", None) or {}
    pairs = (funnel.get("pairs") or {}).get("total")
    counts += [f"{pairs:,} pairs"] if pairs is not None and "pairs" not in progress.made else []
    if reused := progress.tokens.get("reused"):
        counts.append(f"{reused:,} tokens reused")
    if progress.shards.skipped:
        counts.append(f"stopped at its limit, {progress.shards.skipped:,} shards skipped")
    lost = progress.shards.quarantined
    return [*counts, f"{lost} shards failed"] if lost else counts


def eta_of(job: Any) -> float | None:
    """Seconds left, where a job or its progress tells."""
    left: float | None = getattr(job, "eta_seconds", None) or progress_of(job, "eta_seconds", None)
    return left


def progress_of(job: Any, name: str, otherwise: Any) -> Any:
    """A field of a job's progress; ``otherwise`` where it has none."""
    return getattr(getattr(job, "progress", None), name, otherwise)
