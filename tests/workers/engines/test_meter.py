"""What a stage tells of itself while it runs: it only grows, and ends at what the stage then counts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workers.engines.base import Completion, Scores
from workers.engines.meter import Meter, SoFar


def completions(count: int, tokens: int = 10) -> list[Completion]:
    return [Completion("x", "stop", 7 if at == 0 else 0, tokens, 3 if at == 0 else 0) for at in range(count)]


def snapshot(meter: Meter) -> dict[str, Any]:
    told = meter.snapshot()
    assert told is not None
    return told


def test_nothing_is_told_before_there_is_anything() -> None:
    meter = Meter()
    meter.expect(8)
    assert meter.snapshot() is None
    meter.doing("loading the language model")
    assert snapshot(meter)["doing"] == "loading the language model"
    meter.tell(SoFar(0, 1, 0.01))
    assert "doing" not in snapshot(meter)


def test_waves_and_the_samples_they_spare() -> None:
    meter = Meter()
    meter.expect(10)  # two problems with up to five samples
    meter.tell(SoFar(1, 25, 0.5))
    assert snapshot(meter) == {"made": 1, "total": 10, "share": 0.15, "prompt": 0, "completion": 25, "cached": 0}
    meter.add(completions(4))
    assert snapshot(meter) == {"made": 4, "total": 10, "share": 0.4, "prompt": 7, "completion": 40, "cached": 3}
    meter.spare(3)
    assert (snapshot(meter)["made"], snapshot(meter)["share"]) == (4, 0.7)
    meter.add(completions(3))
    assert (snapshot(meter)["made"], snapshot(meter)["share"]) == (7, 1.0)


def test_edits_count_once_they_are_settled() -> None:
    meter = Meter()
    meter.expect(4, attempts=2)
    meter.add(completions(4))
    assert (snapshot(meter)["made"], snapshot(meter)["share"]) == (0, 0.5)
    for _ in range(3):
        meter.settle(1)
    assert (snapshot(meter)["made"], snapshot(meter)["share"]) == (3, 0.875)
    meter.add(completions(1))
    meter.settle(2)
    assert snapshot(meter) == {"made": 4, "total": 4, "share": 1.0, "prompt": 14, "completion": 50, "cached": 6}


def test_scored_texts_are_half_of_the_way() -> None:
    meter = Meter()
    meter.expect(4, attempts=2)
    meter.tell_scored(0.5)
    assert snapshot(meter)["share"] == 0.25
    meter.add_scores([Scores((), 100, 40), Scores((), 50)])
    assert (snapshot(meter)["share"], snapshot(meter)["prompt"], snapshot(meter)["cached"]) == (0.5, 150, 40)
    for _ in range(4):
        meter.settle(0)
    assert (snapshot(meter)["made"], snapshot(meter)["share"]) == (4, 1.0)


@given(st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 500), st.floats(0, 5)), max_size=5), max_size=5))
def test_no_reader_ever_sees_it_fall(batches: list[list[tuple[int, int, float]]]) -> None:
    """Whatever engines tell in between, even of a sibling that ended and is not given back yet."""
    meter = Meter()
    meter.expect(20, attempts=3)
    seen: list[dict[str, Any]] = []

    def look() -> None:
        if (told := meter.snapshot()) is not None:
            seen.append(told)

    for batch in batches:
        for so_far in batch:
            meter.tell(SoFar(*so_far))
            look()
        meter.add(completions(3, tokens=200))
        look()
        meter.settle(3)
        look()
    for before, after in pairwise(seen):
        assert all(before[name] <= after[name] for name in ("made", "share", "prompt", "completion", "cached"))
    assert all(0 <= told["share"] <= 1 for told in seen)
