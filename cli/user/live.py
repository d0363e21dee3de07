"""The live view of a watched job on a terminal: title, bar, funnel or stages, counts. Loaded only where it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cli.user.output import clean, duration
from cli.user.watch import Speed, counts_of, eta_of, progress_of

_STYLES = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}
_BAR = 30  # columns


def live(out: Console, wait: Callable[[Callable[[Any], None]], Any]) -> Any:
    """Draw what ``wait`` tells to its callback, four times a second, and return what it returns."""
    speed = Speed()
    with Live(console=out, refresh_per_second=4, transient=False, redirect_stdout=False) as drawn:
        return wait(lambda job: drawn.update(view(job, speed(job))))


def view(job: Any, tokens_per_second: float | None = None) -> Group:
    """One frame."""
    title = Text.assemble((clean(job.id), "bold"), "  ", (clean(job.state), _STYLES.get(job.state, "")))
    if getattr(job, "paused_at", None) is not None and not job.ended:
        title.append(", paused", style="yellow")
    facts = [getattr(job, name, None) for name in ("preset", "language_model", "base_model")]
    title.append("  " + " · ".join(clean(fact) for fact in facts if fact), style="dim")
    title.no_wrap, title.overflow = True, "ellipsis"
    left = eta_of(job)
    told = [f"{job.fraction:4.0%}"]
    told += [f"{tokens_per_second:,.0f} tokens/s"] if tokens_per_second and not job.ended else []
    told += [f"{duration(left)} left"] if left and not job.ended else []
    bar = Table.grid(padding=(0, 1), expand=False)
    bar.add_row(ProgressBar(total=1.0, completed=job.fraction, width=_BAR), Text("  ".join(told)))
    parts: list[RenderableType] = [title, bar]
    parts += [part for part in (_stages(job), _funnel(job)) if part is not None]
    if counts := counts_of(job):
        parts.append(Text(" · ".join(map(clean, counts)), no_wrap=True, overflow="ellipsis"))
    if advice := getattr(job, "advice", None):
        parts.append(Text(clean(advice), style="yellow"))
    return Group(*parts)


def _stages(job: Any) -> Table | None:
    """What the running stages are at; of a training run its phase between optimizer steps."""
    phase = getattr(job, "doing", None)
    if isinstance(phase, dict) and not job.ended:
        at = f"{phase.get('done', 0):,} of {phase['total']:,}" if phase.get("total") else ""
        table = Table.grid(padding=(0, 2))
        table.add_row(Text(f"  {clean(phase.get('phase', ''))}", style="dim"), Text(at))
        return table
    inside = progress_of(job, "inside", {})
    if job.ended or not inside:
        return None
    table = Table.grid(padding=(0, 2))
    for stage, told in inside.items():
        made = f"{told.made:,} of {told.total:,} {clean(told.unit)}" if told.total else clean(told.doing or "")
        tokens = f"{told.tokens:,} tokens" if told.tokens else ""
        table.add_row(Text(f"  {clean(stage)}", style="dim"), Text(made), Text(tokens, style="dim"))
    return table


def _funnel(job: Any) -> Table | None:
    """What is left of what went in, line by line: problems, samples, edits, pairs."""
    rows = funnel_rows(getattr(job, "funnel", None) or {})
    if not rows:
        return None
    table = Table.grid(padding=(0, 2))
    for name, kept, total, told in rows:
        share = Text(f"{kept:,} of {total:,}")
        bar = ProgressBar(total=float(total or 1), completed=float(kept), width=_BAR // 2)
        table.add_row(Text(f"  {name}", style="dim"), bar, share, Text(told, style="dim", overflow="ellipsis"))
    return table


def funnel_rows(funnel: dict[str, Any]) -> list[tuple[str, int, int, str]]:
    """(name, kept, total, what of it) of each level of a funnel that has anything."""
    samples, edits, pairs = (funnel.get(name) or {} for name in ("samples", "edits", "pairs"))
    rows = []
    if samples.get("total"):
        verdicts = samples.get("verdicts") or {}
        rows.append(("correct samples", int(verdicts.get("correct", 0)), int(samples["total"]), ""))
    if edits.get("total"):
        proven = sum((edits.get("proven") or {}).values())
        rows.append(("proven edits", proven, int(edits["total"]), _listed(edits.get("proven"))))
    if pairs.get("total") and rows:
        rows.append(("pairs", int(pairs["total"]), int(pairs["total"]), _listed(pairs.get("by_type"))))
    return rows


def _listed(counts: dict[str, int] | None) -> str:
    most = sorted((counts or {}).items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{count:,} {clean(name)}" for name, count in most)
