"""Intervals and tests against published values, scipy, and exact enumeration."""

from __future__ import annotations

import itertools
import math
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from errata.statistics import (
    Interval,
    PairedDifference,
    majority_at_k,
    mcnemar_exact,
    mean_interval,
    paired_difference,
    pass_at_k,
    proportion_interval,
    total_interval,
)

ROOT = Path(__file__).resolve().parents[2]


def table(both: int, lost: int, gained: int, neither: int) -> PairedDifference:
    """The comparison of right/wrong counts."""
    before = [True] * (both + lost) + [False] * (gained + neither)
    after = [True] * both + [False] * lost + [True] * gained + [False] * neither
    return paired_difference(before, after)


# Wilson


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_bounds(k: int, n: int, low: float, high: float) -> None:
    found = proportion_interval(k, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert found.estimate == k / n


@given(n=st.integers(1, 400), data=st.data(), level=st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_equals_scipy(n: int, data: st.DataObject, level: float) -> None:
    k = data.draw(st.integers(0, n))
    found = proportion_interval(k, n, level)
    theirs = stats.binomtest(k, n).proportion_ci(level, method="wilson")
    assert found.low == pytest.approx(theirs.low, abs=1e-12)
    assert found.high == pytest.approx(theirs.high, abs=1e-12)
    assert found.low <= found.estimate <= found.high


@pytest.mark.parametrize(("k", "n"), [(1, 0), (0, 0), (-1, 3), (4, 3)])
def test_impossible_counts_are_refused(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="need 0 <= k <= n"):
        proportion_interval(k, n)


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_an_impossible_level_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        proportion_interval(1, 2, level)


# Means of several samples per problem


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=2, max_size=60))
def test_mean_interval_is_the_t_interval_cut_to_rates(values: list[float]) -> None:
    found = mean_interval(values)
    if len(set(values)) == 1:
        assert found.low < found.high
        return
    theirs = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert found.low == pytest.approx(max(theirs.low, 0.0), abs=1e-9)
    assert found.high == pytest.approx(min(theirs.high, 1.0), abs=1e-9)


def test_samples_without_variance_do_not_claim_certainty() -> None:
    assert mean_interval([1.0] * 20) == proportion_interval(20, 20)
    assert mean_interval([0.5]).low < 0.5 < mean_interval([0.5]).high


def test_clustered_samples_widen_the_interval() -> None:
    """100 problems x 10 samples, all samples of a problem alike: ten times as many trials must not look like more."""
    clustered = mean_interval([1.0] * 50 + [0.0] * 50)
    naive = proportion_interval(500, 1000)
    single = proportion_interval(50, 100)
    assert clustered.high - clustered.low > 2.5 * (naive.high - naive.low)
    assert clustered.high - clustered.low == pytest.approx(single.high - single.low, rel=0.05)


# Paired comparison


def test_paired_interval_gives_a_published_one() -> None:
    """Complete response before and after consolidation (Cavo et al. 2012), worked in Fagerland et al. 2017, ch. 8."""
    found = table(59, 6, 16, 80)
    assert (round(found.delta, 4), round(found.low, 4), round(found.high, 4)) == (0.0621, 0.0046, 0.1186)
    assert (found.n, found.gained, found.lost) == (161, 16, 6)
    assert found.p_value == pytest.approx(0.0525, abs=5e-5)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_the_binomial_test(gained: int, lost: int) -> None:
    theirs = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar_exact(gained, lost) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize(("gained", "lost"), [(400, 599), (400, 600), (700, 700), (1100, 900), (5000, 4500)])
def test_mcnemar_of_many_flips(gained: int, lost: int) -> None:
    assert mcnemar_exact(gained, lost) == pytest.approx(stats.binomtest(gained, gained + lost).pvalue, rel=1e-8)


counts = st.integers(0, 40)


@given(counts, counts, counts, counts)
def test_swapping_before_and_after_mirrors_the_comparison(both: int, lost: int, gained: int, neither: int) -> None:
    if both + lost + gained + neither == 0:
        return
    one, other = table(both, lost, gained, neither), table(both, gained, lost, neither)
    assert one.delta == -other.delta
    assert one.low == pytest.approx(-other.high, abs=1e-12)
    assert one.high == pytest.approx(-other.low, abs=1e-12)
    assert (one.gained, one.lost, one.p_value) == (other.lost, other.gained, other.p_value)
    assert -1.0 <= one.low <= one.delta + 1e-12
    assert one.delta - 1e-12 <= one.high <= 1.0


def test_paired_interval_covers_by_exact_enumeration() -> None:
    """Over every outcome of 24 problems, the 95 % interval must hold the true difference about that often."""
    n, (both, lost, gained) = 24, (0.5, 0.1, 0.2)
    chances = (both, lost, gained, 1 - both - lost - gained)
    covered = 0.0
    for a, b, c in itertools.product(range(n + 1), repeat=3):
        if a + b + c > n:
            continue
        outcome = (a, b, c, n - a - b - c)
        ways = math.factorial(n) // math.prod(math.factorial(x) for x in outcome)
        found = table(*outcome)
        if found.low <= gained - lost <= found.high:
            covered += ways * math.prod(p**x for p, x in zip(chances, outcome, strict=True))
    assert 0.94 <= covered <= 0.985


def test_pairing_is_narrower_than_two_separate_samples() -> None:
    found = table(80, 2, 6, 12)
    before, after = proportion_interval(82, 100), proportion_interval(86, 100)
    assert found.high - found.low < (before.high - before.low) + (after.high - after.low)


def test_means_are_compared_by_a_paired_t() -> None:
    draw = random.Random(5)
    before = [draw.randint(0, 8) / 8 for _ in range(40)]
    after = [min(1.0, value + draw.choice([-0.125, 0.0, 0.125, 0.25])) for value in before]
    found = paired_difference(before, after)
    theirs = stats.ttest_rel(after, before)
    bounds = theirs.confidence_interval(0.95)
    assert found.delta == pytest.approx(sum(after) / 40 - sum(before) / 40)
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))
    assert found.p_value == pytest.approx(theirs.pvalue)


def test_flips_of_means_cross_one_half() -> None:
    found = paired_difference([0.25, 0.75, 0.5, 1.0, 0.0], [0.75, 0.25, 0.75, 0.5, 0.25])
    assert (found.gained, found.lost) == (1, 1)


def test_equal_answers_are_no_difference() -> None:
    for values in ([True, False, True], [0.5, 0.25, 0.75]):
        found = paired_difference(values, values)
        assert (found.delta, found.gained, found.lost, found.p_value) == (0.0, 0, 0, 1.0)
        assert found.low < 0.0 < found.high


@pytest.mark.parametrize(("before", "after"), [([], []), ([True], []), ([True], [True, False])])
def test_samples_that_do_not_match_are_refused(before: list[bool], after: list[bool]) -> None:
    with pytest.raises(ValueError, match="one length"):
        paired_difference(before, after)


# Several samples


@given(st.integers(1, 8), st.data())
def test_pass_at_k_counts_every_draw(n: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    draws = list(itertools.combinations([True] * correct + [False] * (n - correct), k))
    assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.mark.parametrize(("n", "correct", "k"), [(0, 0, 1), (3, 4, 1), (3, -1, 1), (3, 1, 0), (3, 1, 4)])
def test_pass_at_k_refuses_impossible_counts(n: int, correct: int, k: int) -> None:
    with pytest.raises(ValueError, match="need 0 <= correct"):
        pass_at_k(n, correct, k)


@pytest.mark.parametrize(
    ("answers", "correct", "expected"),
    [
        (["4", "4", "5"], [True, True, False], 1.0),
        (["4", "5", "5"], [True, False, False], 0.0),
        (["4", "5"], [True, False], 0.5),
        (["4", "5", "6"], [True, False, False], 1 / 3),
        (["0.5", "1/2", "3", "3", "7"], [True, True, False, False, False], 0.5),
        (["1/2", "0.5", "\\frac12", "3", "3"], [True, True, True, False, False], 1.0),
        ([None, None, "4"], [False, False, True], 1.0),
        ([None, None, "4"], [False, False, False], 0.0),
        ([None, None], [False, False], 0.0),
        ([None, "4"], [True, False], 0.5),
        (["correct", "4"], [False, True], 0.5),
        ([], [], 0.0),
    ],
)
def test_majority(answers: list[str | None], correct: list[bool], expected: float) -> None:
    assert majority_at_k(answers, correct) == pytest.approx(expected)


def test_majority_needs_a_verdict_per_answer() -> None:
    with pytest.raises(ValueError, match="one verdict per answer"):
        majority_at_k(["4"], [])


def test_a_total_of_everything_is_known_and_less_is_not() -> None:
    assert total_interval([1, 2, 3], 3) == Interval(6, 6, 6)
    found = total_interval([1, 2, 3], 4)
    assert (found.estimate, found.low) == (8, 6), "never below what was seen"
    assert found.high > 8
    wider = total_interval([1, 2, 3], 400)
    assert wider.estimate == 800
    for values in ([0.0] * 8, [5.0] * 8):
        same = total_interval(values, 100)
        assert same.low <= sum(values) / 8 * 100 < same.high, "values that do not vary are no certainty"
    for bad, population in (([], 3), ([1.0, 2.0], 1)):
        with pytest.raises(ValueError, match="need"):
            total_interval(bad, population)


def test_totals_are_covered_as_often_as_promised() -> None:
    """Every sample of 8 of 16 problems with pairs 0 to 4, enumerated: the share of intervals that hold the truth."""
    population = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 4.0, 4.0, 4.0]
    found = Counter(itertools.combinations(population, 8))
    held = 0
    for values, times in found.items():
        interval = total_interval(values, len(population))
        held += times * (interval.low <= sum(population) <= interval.high)
    assert 0.93 <= held / found.total() <= 0.99


def test_the_method_is_imported_without_scipy() -> None:
    """The base install is client and method: neither scipy nor numpy may be needed until an interval of t is asked."""
    modules = ("config", "injection", "kinds", "pairs", "profile", "prompts", "proof", "screening", "selection")
    imports = ", ".join(f"errata.{name}" for name in modules)
    code = f"import sys, {imports}; print(sorted({{'scipy', 'numpy', 'sklearn'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
