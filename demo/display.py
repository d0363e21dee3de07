"""What the demo shows while it runs and at its end: on standard error, so that standard output is the result alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from errata.funnel import editor_yields
from errata.types import Reason

_AFTER_SCREENING = ("unproven_kept", Reason.FALSE_NEGATIVE, Reason.UNPROVEN, Reason.NO_REST, Reason.MARK_MISMATCH)
_LINE_EVERY = 5.0  # seconds between lines where there is no terminal to draw on


class Watched(Protocol):
    """A job as the display needs it."""

    @property
    def state(self) -> str:
        """Its state."""
        ...

    @property
    def fraction(self) -> float:
        """How far it is, from 0 to 1."""
        ...


class Display:
    """A bar per stage on a terminal, a line every few seconds elsewhere; ``seconds`` holds what each stage took."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
        self.seconds: dict[str, float] = {}

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text)

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[Callable[[Watched], None]]:
        """Time a stage under ``name``; the block gets a function that shows a job's progress."""
        started = time.monotonic()
        try:
            with self._bar(title) if self.console.is_terminal else self._lines(title) as show:
                yield show
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 1)

    @contextmanager
    def _bar(self, title: str) -> Iterator[Callable[[Watched], None]]:
        columns = (
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}", style="bold"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[note]}"),
        )
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(f"{title:<42}", total=1.0, note="")
            yield lambda job: progress.update(task, completed=job.fraction, note=note(job))
            progress.update(task, completed=1.0, note="")

    @contextmanager
    def _lines(self, title: str) -> Iterator[Callable[[Watched], None]]:
        started = last = time.monotonic()

        def show(job: Watched) -> None:
            nonlocal last
            if time.monotonic() - last >= _LINE_EVERY:
                last = time.monotonic()
                self.console.print(f"  {title}: {job.fraction:.0%} {note(job)}".rstrip())

        self.console.print(f"{title} ...")
        yield show
        self.console.print(f"{title}: done in {time.monotonic() - started:.1f} s")

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """A table, its numbers to the right."""
        table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
        for at, column in enumerate(columns):
            table.add_column(column, justify="left" if at == 0 or column == "of which" else "right")
        for row in rows:
            table.add_row(*row)
        self.console.print()
        self.console.print(table)


def note(job: Watched) -> str:
    """What a job does now, from what it tells: its stages, step or state."""
    stages: Mapping[str, Any] = getattr(getattr(getattr(job, "progress", None), "shards", None), "stages", {})
    busy = [name for name, states in stages.items() if states.get("running")]
    if busy:
        inside = getattr(getattr(job, "progress", None), "inside", {})
        return ", ".join(_busy(name, inside.get(name)) for name in busy)
    step, total = getattr(job, "step", None), getattr(job, "total_steps", None)
    if total:
        return f"step {step} of {total}"
    return job.state


def _busy(stage: str, told: Any) -> str:
    """A stage that runs, and what its shards have made, where they tell."""
    if told is None:
        return stage
    if not told.total:
        return f"{stage} ({told.doing})"
    return f"{stage} ({told.made} of {told.total} {told.unit}, {told.tokens} tokens)"


def funnel_rows(funnel: Mapping[str, Any]) -> list[list[str]]:
    """The funnel as lines: what went in, what came out, and why the rest did not."""
    problems, samples, steps = funnel["problems"], funnel["samples"], funnel["steps"]
    edits, pairs = funnel["edits"], funnel["pairs"]
    return [
        ["problems", str(problems["total"]), f"kept {problems['kept']}; dropped: {told(problems['dropped'])}"],
        ["solutions", str(samples["total"]), told(samples["verdicts"])],
        ["  drawn", str(sum(samples["drawn"].values())), f"not drawn: {told(samples['unused'])}"],
        ["steps", str(steps["total"]), f"edited {steps['edited']}; skipped: {told(steps['skipped'])}"],
        ["edits", str(edits["total"]), f"proven: {told(edits['proven'])}; rejected: {told(edits['rejected'])}"],
        ["pairs", str(pairs["total"]), told(pairs["by_type"])],
        ["  by error kind", str(sum(pairs["by_kind"].values())), told(pairs["by_kind"])],
    ]


def editor_rows(funnel: Mapping[str, Any]) -> list[list[str]]:
    """Per editor: edits asked for, of those kept and proven, its pairs, and tokens per pair."""
    rows = []
    for editor, found in editor_yields(funnel).items():
        spent = found["tokens_per_pair"]
        proven = f"{found['proven']} ({found['proven_share'] or 0:.0%})"
        figures = [str(found["asked"]), str(found["kept"]), proven, str(found["pairs"])]
        rows.append([editor, *figures, "" if spent is None else f"{spent:.0f}"])
    return rows


def told(counts: Mapping[str, int]) -> str:
    """Counts in words, largest first."""
    found = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count}" for name, count in found if count) or "none"


def kind_rows(funnel: Mapping[str, Any]) -> list[list[str]]:
    """Per error kind and form: edits asked for, of those parsed, kept by screening and proven, and their pairs."""
    rows = []
    by_form = funnel["edits"].get("by_form", {})
    found = {f"{kind}, {form}": counts for form, kinds in by_form.items() for kind, counts in kinds.items()}
    for kind, counts in sorted(found.items()):
        asked = counts.get("total", 0)
        kept = counts.get("proven", 0) + sum(counts.get(outcome, 0) for outcome in _AFTER_SCREENING)
        parsed = asked - counts.get(Reason.NO_REPLY, 0)
        cells = [
            f"{count} ({count / asked:.0%})" if asked else "0" for count in (parsed, kept, counts.get("proven", 0))
        ]
        rows.append([kind, str(asked), *cells, str(counts.get("pairs", 0))])
    return rows or [["none", "0", "0", "0", "0", "0"]]
