"""What the demo says its figures mean."""

from __future__ import annotations

from typing import Any

import pytest

from demo.accuracy import meaning


def figures(greedy: tuple[float, float], sampled: tuple[float, float], after: float = 0.78) -> dict[str, Any]:
    def side(low: float, high: float) -> dict[str, Any]:
        return {"accuracy": after, "against_control": {"delta": (low + high) / 2, "low": low, "high": high}}

    return {
        "greedy": {"after": side(*greedy)},
        "sampled": {"before": {"accuracy": 0.55}, "after": side(*sampled)},
        "best": {"before": {"temperature": 0.3, "accuracy": 0.9}},
    }


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.01, 0.03), "better (+2.0 points, +1.0 to +3.0) greedily"),
        ((-0.03, -0.01), "worse (-2.0 points, -3.0 to -1.0) greedily"),
        ((-0.01, 0.03), "not shown to differ (+1.0 points, -1.0 to +3.0) greedily"),
    ],
)
def test_better_and_worse_are_said_only_where_the_interval_does(interval: tuple[float, float], verdict: str) -> None:
    assert verdict in meaning(figures(interval, (0.0, 0.02)))


def test_what_a_lower_temperature_gives_alone_is_told() -> None:
    told = meaning(figures((0.0, 0.02), (0.01, 0.02)))
    assert "start model alone at temperature 0.3 is right 90.0%" in told
    assert "better (+1.5 points, +1.0 to +2.0) at temperature 1" in told
    assert told.endswith("(one seed).")


def test_no_gain_is_not_called_sharpening() -> None:
    told = meaning(figures((-0.1, -0.02), (-0.1, -0.02), after=0.5))
    assert "for nothing" not in told
    assert told.startswith(
        "At temperature 1 the model trained on pairs is right 50.0% of the time and the start model 55.0%;"
    )
