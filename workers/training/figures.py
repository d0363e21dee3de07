"""Figures of one optimizer step, gathered over its micro-batches: per kind of pair and per error kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from workers.training.data import Pair
from workers.training.objective import Outcome

Row = tuple[str, str | None, dict[str, float]]


def pair_rows(pairs: Sequence[Pair], outcome: Outcome, spans: Sequence[float]) -> list[Row]:
    """One row per pair. ``spans`` are log-probabilities of the divergent spans, chosen and rejected in turn."""
    columns = {
        "loss": outcome.preference.tolist(),
        "margin": outcome.margin.tolist(),
        "nll": outcome.nll.tolist(),
        "gate": outcome.gate.float().tolist(),
        "reward_chosen": outcome.chosen_reward.tolist(),
        "reward_rejected": outcome.rejected_reward.tolist(),
        "logp_chosen": list(spans[0::2]),
        "logp_rejected": list(spans[1::2]),
    }
    rows: list[Row] = []
    for index, pair in enumerate(pairs):
        values = {name: float(column[index]) for name, column in columns.items()}
        values["accuracy"] = float(values["margin"] > 0)
        rows.append(("step" if pair.is_step else "full", pair.error_kind if pair.is_step else None, values))
    return rows


def summarize(rows: Iterable[Row]) -> dict[str, Any]:
    """Means, as ``step/margin``, ``full/accuracy``, ``kind/operator/accuracy``, and counts."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for kind, error_kind, values in rows:
        for name, value in values.items():
            _add(sums[f"{kind}/{name}"], value)
            if error_kind and name in ("accuracy", "margin"):
                _add(sums[f"kind/{error_kind}/{name}"], value)
            if name in ("accuracy", "margin"):
                _add(sums[name], value)
    figures = {name: total / count for name, (total, count) in sums.items()}
    counts = {f"{kind}/pairs": sums[f"{kind}/loss"][1] for kind in ("step", "full") if f"{kind}/loss" in sums}
    return {**figures, **counts}


def _add(entry: list[float], value: float) -> None:
    entry[0] += value
    entry[1] += 1
