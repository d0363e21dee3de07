"""Adaptive sampling leaves the draw alone: every sequence of outcomes enumerated, with exact probabilities."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from math import prod

import pytest

from errata.config import InjectionConfig, resolve
from errata.selection import Sample, Selection, first_wave, label_suspect, next_wave, sample_limit, select
from errata.types import Domain, Verdict

K = 5
# What a sample may be: text -> probability, verdict, answer. Two correct texts, one of them three times as likely.
OUTCOMES: dict[str, tuple[Fraction, Verdict, str | None]] = {
    "rare": (Fraction(1, 12), Verdict.CORRECT, "6"),
    "common": (Fraction(3, 12), Verdict.CORRECT, "6"),
    "Wait, this is wrong. Now it is right": (Fraction(1, 12), Verdict.CORRECT, "6"),
    "seven": (Fraction(4, 12), Verdict.INCORRECT, "7"),
    "eight": (Fraction(2, 12), Verdict.INCORRECT, "8"),
    "nothing": (Fraction(1, 12), Verdict.UNPARSABLE, None),
}
USABLE, WRONG = ("rare", "common"), ("seven", "eight")
Texts = tuple[str, ...]


@cache
def probability(texts: Texts) -> Fraction:
    return prod((OUTCOMES[text][0] for text in texts), start=Fraction(1))


def samples(texts: Texts) -> list[Sample]:
    return [Sample(at, text, *OUTCOMES[text][1:]) for at, text in enumerate(texts)]


def stopping(config: InjectionConfig) -> Callable[[Texts], Texts]:
    """What is drawn of a sequence of texts, wave by wave. Beginnings are looked at once: sequences share them."""

    @cache
    def more(texts: Texts) -> int:
        return next_wave(samples(texts), config, Domain.MATH, "q")

    def stopped(texts: Texts) -> Texts:
        drawn = first_wave(config, Domain.MATH)
        while count := more(texts[:drawn]):
            drawn += count
        return texts[:drawn]

    return stopped


@cache
def sequences() -> list[Texts]:
    return list(itertools.product(OUTCOMES, repeat=K))


def selections(config: InjectionConfig) -> Iterator[tuple[Texts, Selection, Selection]]:
    """Every sequence with what is selected of its stopped beginning, and of the whole."""
    stopped = stopping(config)

    @cache
    def selected(texts: Texts) -> Selection:
        return select(samples(texts), config.selection, "q")

    for texts in sequences():
        yield texts, selected(stopped(texts)), selected(texts)


def configuration(wave: int = 1, both: bool = False, full: bool = True, labels: bool = True) -> InjectionConfig:
    over = {"sampling": {"samples": K, "wave": wave}, "pairs": {"full": full}}
    return resolve("errata", {**over, "selection": {"require_both": both, "label_check": labels}})


CONFIGURATIONS = [
    configuration(),
    configuration(wave=2),
    configuration(wave=3, labels=False),
    configuration(both=True, labels=False),
    configuration(full=False),
]


@pytest.mark.parametrize("config", CONFIGURATIONS)
def test_the_chosen_solution_is_distributed_as_the_models_usable_correct_ones(config: InjectionConfig) -> None:
    chosen: dict[str, Fraction] = defaultdict(Fraction)
    for texts, found, _ in selections(config):
        if found.correct is not None:
            chosen[texts[found.correct]] += probability(texts)
    kept, usable = sum(chosen.values()), sum(OUTCOMES[text][0] for text in USABLE)
    assert 0 < kept < 1
    assert {text: share / kept for text, share in chosen.items()} == {t: OUTCOMES[t][0] / usable for t in USABLE}


@pytest.mark.parametrize("config", [c for c in CONFIGURATIONS if not c.selection.label_check and c.pairs.full])
def test_without_the_label_check_the_incorrect_one_is_distributed_as_the_models_too(config: InjectionConfig) -> None:
    chosen: dict[str, Fraction] = defaultdict(Fraction)
    for texts, found, _ in selections(config):
        if found.incorrect is not None:
            chosen[texts[found.incorrect]] += probability(texts)
    kept, wrong = sum(chosen.values()), sum(OUTCOMES[text][0] for text in WRONG)
    assert {text: share / kept for text, share in chosen.items()} == {t: OUTCOMES[t][0] / wrong for t in WRONG}


def test_the_same_solutions_are_drawn_as_from_all_k_samples() -> None:
    """Sequence by sequence, not only in distribution; the label check may only set more problems aside with all K."""
    for config in CONFIGURATIONS:
        for texts, part, whole in selections(config):
            if whole.problem_reason is None:
                assert part.correct == whole.correct, texts
                assert part.incorrect == whole.incorrect or not config.pairs.full, texts
            elif whole.problem_reason != part.problem_reason:
                assert label_suspect(samples(texts)), texts
                assert OUTCOMES[texts[part.correct or 0]][1] is Verdict.CORRECT, "it was kept for a correct sample"


def test_a_suspected_label_is_decided_on_all_samples() -> None:
    """A problem is never left while its label is suspected, so the suspicion rests on as many samples as ever."""
    stopped = stopping(configuration())
    for texts in sequences():
        part = stopped(texts)
        if label_suspect(samples(part)):
            assert len(part) == K
        if not any(OUTCOMES[text][1] is Verdict.CORRECT for text in texts):
            assert len(part) == K, "nothing correct: all K samples are there to agree"


def test_a_draw_over_distinct_texts_would_not_do() -> None:
    """The draw for brought solutions: it favors the rare text, and by how much depends on where sampling stopped."""
    shares = []
    for drawn in (stopping(configuration(labels=False)), lambda texts: texts):
        rare = kept = Fraction(0)
        for texts in sequences():
            distinct = set(drawn(texts)) & set(USABLE)
            if distinct:
                kept += probability(texts)
                rare += probability(texts) * Fraction("rare" in distinct) / len(distinct)
        shares.append(rare / kept)
    policy = OUTCOMES["rare"][0] / sum(OUTCOMES[text][0] for text in USABLE)
    assert policy == Fraction(1, 4)
    assert shares[0] != shares[1]
    assert all(share > policy for share in shares)


@pytest.mark.parametrize(("accuracy", "ratio"), [(37, 0.60), (70, 0.64), (85, 0.78)])
def test_the_expected_number_of_samples(accuracy: int, ratio: float) -> None:
    """Against the closed form: the n-th sample is drawn if the first n - 1 are all right or all wrong."""
    p, config = Fraction(accuracy, 100), configuration(labels=False)
    right, wrong = "common", "seven"
    expected, stopped = Fraction(0), stopping(config)
    for texts in itertools.product((right, wrong), repeat=K):
        weight = prod((p if text == right else 1 - p for text in texts), start=Fraction(1))
        expected += weight * len(stopped(texts))
    assert expected == 2 + sum(p**n + (1 - p) ** n for n in range(2, K))
    assert round(float(expected / K), 2) == ratio


def test_what_a_job_needs_decides_when_it_stops() -> None:
    both, step = configuration(), configuration(full=False)
    assert (first_wave(both, Domain.MATH), first_wave(step, Domain.MATH)) == (2, 1)
    assert stopping(both)(("common", "rare", "seven", "common", "rare")) == ("common", "rare", "seven")
    assert stopping(step)(("seven", "common", "rare", "rare", "rare")) == ("seven", "common")
    admitting = "Wait, this is wrong. Now it is right"
    assert stopping(both)(("seven", admitting, "rare", "rare", "rare")) == ("seven", admitting, "rare")


def test_jobs_that_draw_all_at_once_and_greedy_ones() -> None:
    for config, domain in (
        (resolve("paper"), Domain.MATH),
        (resolve("scripts"), Domain.MATH),
        (resolve("errata", {"sampling": {"adaptive": False}}), Domain.LOGIC),
        (resolve("errata"), Domain.CODE),
    ):
        assert first_wave(config, domain) == sample_limit(config) == K
        assert next_wave(samples(("seven",) * K), config, domain, "q") == 0
    for waves in (True, False):
        greedy = resolve("errata", {"sampling": {"temperature": 0.0, "adaptive": waves}})
        for domain in (Domain.MATH, Domain.CODE):
            assert first_wave(greedy, domain) == sample_limit(greedy) == 1, "its samples would all be the same"
            assert next_wave(samples(("seven",)), greedy, domain, "q") == 0
