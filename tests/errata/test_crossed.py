"""Means over seeds and problems together: against scipy, a computation by hand, and simulated data."""

from __future__ import annotations

import math
import random
from statistics import fmean

import pytest
from scipy import stats

from errata.statistics import crossed_mean


def test_one_seed_is_the_t_interval_over_problems() -> None:
    rng = random.Random(1)
    values = [rng.gauss(0.1, 0.3) for _ in range(40)]
    found = crossed_mean([values])
    low, high = stats.t.interval(0.95, 39, loc=fmean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.p_value == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue)


def test_two_seeds_by_hand() -> None:
    # Rows 1 and 3 around a mean of 2; columns 1, 2 and 3; no interaction.
    found = crossed_mean([[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]])
    assert found.estimate == 2.0
    of_seeds, of_problems = 3 * 2.0, 2 * 2.0 / 2
    variance = of_seeds + of_problems
    degrees = variance**2 / (of_seeds**2 / 1 + of_problems**2 / 2)
    half = float(stats.t.ppf(0.975, degrees)) * math.sqrt(variance / 6)
    assert (found.low, found.high) == pytest.approx((2.0 - half, 2.0 + half))


def test_what_does_not_vary_has_no_width() -> None:
    assert crossed_mean([[0.5, 0.5], [0.5, 0.5]]).low == 0.5
    assert crossed_mean([[0.0, 0.0]]).p_value == 1.0


@pytest.mark.parametrize("values", [[], [[]], [[0.1]], [[0.1, 0.2], [0.1]]])
def test_refuses_what_is_no_table(values: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"value|problems"):
        crossed_mean(values)


@pytest.mark.parametrize(("seeds", "of_seeds"), [(3, 0.0), (3, 0.02), (5, 0.01), (1, 0.0)])
def test_coverage_over_seeds_and_problems(seeds: int, of_seeds: float) -> None:
    """The interval of a paired difference holds the truth about 95 times in 100, whether seeds differ or not."""
    rng, inside, runs, problems = random.Random(5), 0, 600, 100
    for _ in range(runs):
        columns = [rng.gauss(0.0, 0.15) for _ in range(problems)]
        shifts = [rng.gauss(0.0, of_seeds) for _ in range(seeds)]
        found = crossed_mean([[shift + column + rng.gauss(0.0, 0.15) for column in columns] for shift in shifts])
        inside += found.low <= 0.0 <= found.high
    assert 0.93 <= inside / runs <= 0.975, inside / runs
