"""Watching a job: a live view on a terminal, a plain line now and then elsewhere.

Ctrl-C stops watching and never the job.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cli import CliError
from cli.user.output import clean, console, duration, say

_LINE_SECONDS = 5.0  # between two lines without a terminal, where nothing else has changed
_STYLES = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}


class Watchable(Protocol):
    """A resource of the client whose jobs can be waited for."""

    def wait(self, job_id: str, *, on_progress: Callable[[Any], object] | None = None, check: bool = True) -> Any:
        """Poll until the job has ended."""


def watch(jobs: Watchable, job_id: str, command: str) -> Any:
    """See a job to its end and return it. Raises CliError (status 3) where it fails, and for Ctrl-C (status 130)."""
    out = console(stderr=True)
    try:
        job = _live(jobs, job_id) if out.is_terminal else _lines(jobs, job_id)
    except KeyboardInterrupt:
        raise CliError(f"no longer watching; the job goes on: `{command}`", status=130) from None
    if not job.succeeded:
        raise CliError(f"{job.id} {job.state}" + (f": {job.error}" if job.error else ""), status=3)
    return job


def _live(jobs: Watchable, job_id: str) -> Any:
    speed = _Speed()
    with Live(console=console(stderr=True), refresh_per_second=4, transient=False) as live:
        return jobs.wait(job_id, on_progress=lambda job: live.update(view(job, speed(job))), check=False)


def _lines(jobs: Watchable, job_id: str) -> Any:
    told: dict[str, Any] = {"line": None, "at": 0.0}
    speed = _Speed()

    def tell(job: Any) -> None:
        line, now = summary(job, speed(job)), time.monotonic()
        changed = told["line"] is None or told["line"][0] != job.state
        if changed or (now - told["at"] >= _LINE_SECONDS and told["line"][1] != line):
            told.update(line=(job.state, line), at=now)
            say(line)

    return jobs.wait(job_id, on_progress=tell, check=False)


class _Speed:
    """Generated tokens per second since the last look but one; None until there are two."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def __call__(self, job: Any) -> float | None:
        tokens = sum(_progress(job, "tokens", {}).values())
        self._seen = [*self._seen[-20:], (time.monotonic(), tokens)]
        (first, before), (last, after) = self._seen[0], self._seen[-1]
        return (after - before) / (last - first) if last > first and after > before else None


def summary(job: Any, tokens_per_second: float | None = None) -> str:
    """One line: state, share, what was made, speed, time left."""
    parts = [f"{job.id} {job.state}", f"{job.fraction:.0%}", *_counts(job)]
    if not job.ended:
        parts += [f"{tokens_per_second:,.0f} tokens/s"] if tokens_per_second else []
        eta = _eta(job)
        parts += [f"{duration(eta)} left"] if eta else []
    return " · ".join(parts)


def view(job: Any, tokens_per_second: float | None = None) -> Group:
    """The live view: title, bar, stages, counts."""
    title = Text.assemble((clean(job.id), "bold"), "  ", (job.state, _STYLES.get(job.state, "")))
    facts = [getattr(job, name, None) for name in ("preset", "language_model", "base_model")]
    title.append("  " + " · ".join(clean(fact) for fact in facts if fact), style="dim")
    title.no_wrap, title.overflow = True, "ellipsis"
    bar = Table.grid(padding=(0, 1), expand=False)
    left = _eta(job)
    told = [f"{job.fraction:4.0%}"]
    told += [f"{tokens_per_second:,.0f} tokens/s"] if tokens_per_second and not job.ended else []
    told += [f"{duration(left)} left"] if left and not job.ended else []
    bar.add_row(ProgressBar(total=1.0, completed=job.fraction, width=30), Text("  ".join(told)))
    parts: list[Any] = [title, bar]
    if stages := _stages(job):
        parts.append(stages)
    if counts := _counts(job):
        parts.append(Text(" · ".join(counts), no_wrap=True, overflow="ellipsis"))
    if advice := getattr(job, "advice", None):
        parts.append(Text(clean(advice), style="yellow"))
    return Group(*parts)


def _stages(job: Any) -> Table | None:
    inside = _progress(job, "inside", {})
    if job.ended or not inside:
        return None
    table = Table.grid(padding=(0, 2))
    for stage, told in inside.items():
        made = f"{told.made:,} of {told.total:,} {told.unit}" if told.total else clean(told.doing or "")
        tokens = f"{told.tokens:,} tokens" if told.tokens else ""
        table.add_row(Text(f"  {stage}", style="dim"), Text(made), Text(tokens, style="dim"))
    return table


def _counts(job: Any) -> list[str]:
    progress = getattr(job, "progress", None)
    if progress is None:  # a training run
        return [f"step {job.step} of {job.total_steps}"] if getattr(job, "total_steps", None) else []
    counts = []
    if progress.problems_total and not job.id.startswith("ds_"):  # a freeze has one unit of work, and no problems
        counts.append(f"{progress.problems_done:,} of {progress.problems_total:,} problems")
    counts += [f"{count:,} {name}" for name, count in progress.made.items() if count]
    funnel = getattr(job, "funnel", None) or {}
    pairs = (funnel.get("pairs") or {}).get("total")
    counts += [f"{pairs:,} pairs"] if pairs is not None and "pairs" not in progress.made else []
    if progress.shards.skipped:
        counts.append(f"stopped at its limit, {progress.shards.skipped:,} shards skipped")
    lost = progress.shards.quarantined
    return [*counts, f"{lost} shards failed"] if lost else counts


def _eta(job: Any) -> float | None:
    left: float | None = getattr(job, "eta_seconds", None) or _progress(job, "eta_seconds", None)
    return left


def _progress(job: Any, name: str, otherwise: Any) -> Any:
    return getattr(getattr(job, "progress", None), name, otherwise)
