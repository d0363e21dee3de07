"""What evaluations measure: against brute force, simulation and statsmodels' and scipy's own intervals."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from errata.decisive import covers, decisive_steps, step_count
from errata.measures import (
    About,
    Sampled,
    Scored,
    answer_entropy,
    powers_of_two,
    sampled_measures,
    scored_measures,
    scored_pass,
)
from errata.statistics import majority_at_k, mean_interval

NOTHING = About()


def sampled(right: str, answers: str | None = None, about: About = NOTHING) -> Sampled:
    """A problem whose answers are right (1) or wrong (0)."""
    return Sampled(about, tuple(each == "1" for each in right), tuple(answers or right))


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data())
def test_pass_at_k_is_the_share_of_all_subsets(right: list[bool], data: st.DataObject) -> None:
    measured = sampled_measures([Sampled(NOTHING, tuple(right), ("x",) * len(right))])
    for k, told in measured.get("pass_at_k", {}).items():
        subsets = list(itertools.combinations(right, int(k)))
        assert told == pytest.approx(fmean(any(each) for each in subsets))


@given(st.integers(0, 8), st.integers(1, 5))
def test_scored_pass_is_that_of_independent_answers(eighths: int, k: int) -> None:
    p = Fraction(eighths, 8)
    every = itertools.product((True, False), repeat=k)
    exact = sum(math.prod((p if each else 1 - p) for each in answers) for answers in every if any(answers))
    assert scored_pass(float(p), k) == pytest.approx(float(exact))


def test_scored_pass_keeps_tiny_probabilities() -> None:
    assert scored_pass(1e-20, 8) == pytest.approx(8e-20, rel=1e-12)
    assert scored_pass(0.0, 8) == 0.0
    assert scored_pass(1.0, 3) == 1.0


def test_majorities_are_means_over_disjoint_groups() -> None:
    found = sampled("1001", "aabb")
    measured = sampled_measures([found])
    pairs = [majority_at_k(found.answers[at : at + 2], found.right[at : at + 2]) for at in (0, 2)]
    assert measured["majority_at_k"]["2"] == fmean(pairs)
    assert set(measured["majority_at_k"]) == {"2", "4"}


def test_entropy_of_answers() -> None:
    assert answer_entropy(sampled("1111", "abcd")) == 0.0  # right however it is written
    assert answer_entropy(sampled("1100", "abcd")) == pytest.approx(stats.entropy([2, 1, 1]))
    measured = sampled_measures([Sampled(NOTHING, (True, False), ("1", "2"), (0.5, 2.5))])
    assert measured["entropy"]["nats"]["mean"] == 1.5
    assert measured["entropy"]["answers"]["mean"] == pytest.approx(math.log(2))


def test_groups_by_subject_level_and_steps() -> None:
    problems = [
        sampled("1", about=About("algebra", "1", 2)),
        sampled("0", about=About("algebra", "2", 10)),
        sampled("1", about=About("geometry", None, None)),
    ]
    groups = sampled_measures(problems)["groups"]
    assert {name: each["problems"] for name, each in groups["subject"].items()} == {"algebra": 2, "geometry": 1}
    assert groups["subject"]["algebra"]["accuracy"] == 0.5
    assert list(groups["steps"]) == ["2", "10"]
    assert list(groups["level"]) == ["1", "2"]
    scored = scored_measures([Scored(About("algebra"), 0.25), Scored(About("algebra"), 0.75)])
    assert scored["groups"]["subject"]["algebra"]["accuracy"] == 0.5
    assert scored["pass_at_k"]["2"] == pytest.approx(fmean((1 - 0.75**2, 1 - 0.25**2)))


def test_intervals_of_scored_accuracy_are_scipy_s() -> None:
    rng = random.Random(5)
    values = [rng.random() for _ in range(50)]
    measured = scored_measures([Scored(NOTHING, value) for value in values])
    theirs = stats.t.interval(0.95, 49, loc=fmean(values), scale=stats.sem(values))
    assert measured["interval"] == pytest.approx(list(theirs))


def test_coverage_of_pass_and_majority_intervals() -> None:
    """Problems of random difficulty, four answers each: the interval holds the truth about 95 times in 100."""
    rng, inside, runs = random.Random(11), {"pass": 0, "mean": 0}, 400
    truth = {"mean": 2 / 3, "pass": 1 - _beta_miss(2, 1, 2)}
    for _ in range(runs):
        problems = []
        for _ in range(120):
            p = rng.betavariate(2, 1)
            right = tuple(rng.random() < p for _ in range(4))
            problems.append(Sampled(NOTHING, right, tuple(str(each) for each in right)))
        measured = sampled_measures(problems)
        low, high = measured["interval"]
        inside["mean"] += low <= truth["mean"] <= high
        low, high = measured["pass_at_k_intervals"]["2"]
        inside["pass"] += low <= truth["pass"] <= high
    assert all(0.93 <= count / runs <= 0.97 for count in inside.values()), inside


def _beta_miss(a: float, b: float, k: int) -> float:
    """The mean of ``(1 - p)^k`` over a beta distribution of p."""
    return math.exp(math.lgamma(a + b) - math.lgamma(b) + math.lgamma(b + k) - math.lgamma(a + b + k))


def test_powers() -> None:
    assert [powers_of_two(each) for each in (1, 2, 5, 8)] == [[1], [1, 2], [1, 2, 4, 5], [1, 2, 4, 8]]


SOLUTION = (
    "Let's think step by step.\nStep 1: Tom has 3 + 4 = 7 apples.\nStep 2: He eats them."
    "\nStep 3: The answer is \\boxed{7}."
)


def test_equations_and_the_answer_decide() -> None:
    steps = decisive_steps(SOLUTION)
    told = [[SOLUTION[start:end] for start, end in step.spans] for step in steps]
    assert told == [["3 + 4 = 7"], ["The answer is \\boxed{7}."]]
    assert [step.step for step in steps] == [0, 2]
    assert step_count(SOLUTION) == 2
    assert covers(steps[0].spans, SOLUTION.index("7 apples"), SOLUTION.index("7 apples") + 1)
    assert not covers(steps[0].spans, SOLUTION.index("apples"), SOLUTION.index("apples") + 6)


def test_without_an_answer_step_the_last_step_counts_whole() -> None:
    text = "First 3 + 4 = 7.\n\nThen half of it is three and a half."
    assert [text[a:b] for a, b in decisive_steps(text)[-1].spans] == ["Then half of it is three and a half."]


def test_mean_interval_stays_the_one_of_accuracy() -> None:
    rates = [sampled("1100"), sampled("1000"), sampled("1111")]
    found = mean_interval([each.rate for each in rates])
    assert sampled_measures(rates)["interval"] == [found.low, found.high]
