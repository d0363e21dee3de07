"""Line charts as the coordinates of an inline SVG: no script draws them, and no style stands inline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 30  # margins that hold the tick labels


@dataclass(frozen=True, slots=True)
class Tick:
    """A grid line at ``at`` (SVG units) with its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """One polyline: ``points`` is the SVG attribute, ``last`` its end point, ``value`` what is reached there."""

    name: str
    points: str
    last: tuple[float, float]
    value: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A line chart in a ``WIDTH`` x ``HEIGHT`` view box. ``title`` says what is drawn by optimizer step."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def chart(title: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> Chart | None:
    """Lines over shared axes; None without a finite point. Non-finite values are left out, never drawn as zero."""
    finite = {name: [p for p in points if all(map(math.isfinite, p))] for name, points in series.items()}
    finite = {name: points for name, points in finite.items() if points}
    if not finite:
        return None
    xs = [x for points in finite.values() for x, _ in points]
    ys = [y for points in finite.values() for _, y in points]
    x_steps, y_steps = nice_ticks(min(xs), max(xs)), nice_ticks(min(ys), max(ys))
    x_low, x_high = _range(min(xs), max(xs))
    y_low, y_high = _range(min(min(ys), y_steps[0]), max(max(ys), y_steps[-1]))

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        down = TOP + (y_high - y) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        return round(across, 1), round(down, 1)

    lines = []
    for name, points in finite.items():
        ordered = sorted(points)
        placed = [place(x, y) for x, y in ordered]
        lines.append(Line(name, " ".join(f"{x},{y}" for x, y in placed), placed[-1], ordered[-1][1]))
    return Chart(
        title,
        tuple(lines),
        tuple(Tick(place(x, y_low)[0], _label(x)) for x in x_steps if x_low <= x <= x_high),
        tuple(Tick(place(x_low, y)[1], _label(y)) for y in y_steps),
    )


def nice_ticks(low: float, high: float, target: int = 5) -> list[float]:
    """About ``target`` round values that cover ``[low, high]``."""
    low, high = _range(low, high)
    rough = (high - low) / target
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = 3 - math.floor(math.log10(step))
    return [round(step * i, digits) for i in range(first, last + 1)]


def _range(low: float, high: float) -> tuple[float, float]:
    """Never empty: one value gets room either side."""
    if high > low:
        return low, high
    room = abs(low) * 0.1 or 1.0
    return low - room, high + room


def _label(value: float) -> str:
    return f"{value:.6g}"
