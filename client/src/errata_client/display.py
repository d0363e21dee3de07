"""How far a job is, as a line on standard error."""

from __future__ import annotations

import shutil
import sys
from types import TracebackType
from typing import TextIO

from errata_client.records import Job, ShardedJob, TrainingJob

_BAR = 24  # characters
_STEP = 0.1  # of the way between two lines where no line can be drawn over


class ProgressLine:
    """One line: drawn over on a terminal; elsewhere a new one for each state and each tenth of the way.

    Shows nothing unless ``shown``. A context manager: the line is ended with the block.
    """

    def __init__(self, *, shown: bool = True, stream: TextIO | None = None) -> None:
        self._shown, self._stream = shown, stream if stream is not None else sys.stderr
        self._terminal = self._stream.isatty()
        self._told: tuple[str, int] | None = None

    def __call__(self, job: Job) -> None:
        """Tell how far the job is."""
        if not self._shown:
            return
        text = "".join(char for char in line(job) if char.isprintable())
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r\x1b[K{text[:width]}")
        else:
            now = job.state, int(job.fraction / _STEP)
            if now == self._told:
                return
            self._told = now
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shown and self._terminal:
            self._stream.write("\n")
            self._stream.flush()


def line(job: Job) -> str:
    """The job's id and state, a bar, and what is known of its stages and of the time left."""
    full = round(job.fraction * _BAR)
    parts = [f"{job.id} {job.state:9} [{'#' * full}{'.' * (_BAR - full)}] {job.fraction:4.0%}"]
    left: float | None = None
    if isinstance(job, TrainingJob):
        left = job.eta_seconds
        parts += [f"step {job.step} of {job.total_steps}"] if job.total_steps else []
    elif isinstance(job, ShardedJob):
        left = job.progress.eta_seconds
        inside = job.progress.inside.items()
        parts += [f"{stage}: {at.made:,} of {at.total:,} {at.unit}" for stage, at in inside if at.total]
    if left and not job.ended:
        parts.append(f"{_spoken(left)} left")
    return "  ".join(parts)


def _spoken(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{whole} s"
