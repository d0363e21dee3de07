"""The counting of ``bench.sampling_cost``, on samples small enough to count by hand."""

from __future__ import annotations

import pytest

from bench.sampling_cost import Spent, compare, expected_share, stratum, totals

R, W, U = "correct", "incorrect", "unparsable"


def _drawn(problem: str, verdicts: list[str], requests: set[int]) -> list[Spent]:
    """Samples of 10 tokens each; the prompt of 7 stands where a request begins."""
    return [Spent(problem, verdict, 7 if at in requests else 0, 10) for at, verdict in enumerate(verdicts)]


FIXED = [
    *_drawn("a", [R, W, R, W, W], {0}),
    *_drawn("b", [R, R, R, R, W], {0}),
    *_drawn("c", [W, U, W, U, W], {0}),
]
WAVES = [
    *_drawn("a", [R, W], {0}),
    *_drawn("b", [R, R, R, R, W], {0, 2, 3, 4}),
    *_drawn("c", [W, U, W, U, W], {0, 2, 3, 4}),
]


def test_totals() -> None:
    assert totals(FIXED) == {
        "problems": 3,
        "problems_with_both": 2,
        "samples": 15,
        "correct": 6,
        "prompt_tokens": 21,
        "completion_tokens": 150,
    }


def test_ratios() -> None:
    found = compare(FIXED, WAVES, dict.fromkeys("abc", 7))
    assert found["ratio"] == found["ratio_by_count"] == 0.8
    assert found["ratio_with_prompts"] == pytest.approx((120 + 9 * 7) / (150 + 21), abs=1e-4)
    assert found["ratio_computed"] == pytest.approx(0.8, abs=1e-4), "every sample with its prompt"
    assert found["adaptive"]["tokens_per_problem"] == 60
    assert found["accuracy"] == 0.4


def test_a_problem_that_lost_its_pair_makes_the_others_dearer() -> None:
    lost = [*_drawn("a", [R], {0}), *WAVES[2:]]
    assert compare(FIXED, lost, dict.fromkeys("abc", 7))["ratio"] == pytest.approx(11 / 15 * 2, abs=1e-4)
    with pytest.raises(ValueError, match="more problems"):
        compare(FIXED, WAVES[-5:], {"c": 7})


def test_the_curve_and_a_stratum() -> None:
    assert [round(expected_share(p), 2) for p in (0.37, 0.70, 0.85)] == [0.60, 0.64, 0.78]
    assert expected_share(1.0) == expected_share(0.0) == 1.0
    row = stratum(FIXED, WAVES)
    assert (row["accuracy"], row["by_count"], row["problems"]) == (0.4, 0.8, 3)
    assert row["expected_by_count"] == round(expected_share(0.4), 3)
