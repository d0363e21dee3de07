"""Questions that differ in one number alone: found by digests, however many there are of one template."""

from __future__ import annotations

import random

import numpy as np
import pytest

from errata.gates import near_duplicates
from errata.gates.canonical import Canonical, canonical
from errata.gates.differences import difference
from errata.gates.near_duplicates import find_clusters

ASK = "Ann has {} apples, {} pears and {} plums. She eats {} of them and buys {} more. How many does she have?"


def test_every_pair_that_differs_in_one_number_is_joined_and_no_other() -> None:
    rng = random.Random(0)
    chosen = {tuple(10 * at + rng.randint(1, 4) for at in range(1, 6)) for _ in range(120)}
    pool = [ASK.format(*numbers) for numbers in sorted(chosen)]
    found = find_clusters(pool)
    read = [canonical(question) for question in pool]
    joined = np.arange(len(read))
    for one in range(len(read)):
        for other in range(one):
            told = difference(read[one], read[other])
            if told is not None and told.kind == "number_variant":
                joined[joined == joined[one]] = joined[other]
    groups = {tuple(np.flatnonzero(joined == at)) for at in joined}
    large = [group for group in groups if len(group) > max(3, 0.05 * len(read))]
    assert sorted(found.templates) == sorted(len(group) for group in large)
    for group in groups - set(large):
        assert len({int(found.family[at]) for at in group}) == 1


@pytest.mark.parametrize("share", [1, 25])
def test_comparisons_grow_with_the_questions_alone(monkeypatch: pytest.MonkeyPatch, share: int) -> None:
    """Many numbers of few templates whose shingles are alike: every question of a template lies in every bucket."""
    compared = []

    def counted(one: Canonical, other: Canonical) -> object:
        compared.append(1)
        return difference(one, other)

    monkeypatch.setattr(near_duplicates, "difference", counted)
    things = ["pens", "cups", "hats", "toys", "keys", "maps", "bags", "jars"]
    ask = "A shop sells {0} for {1} dollars each. On Monday it sells 40 {0}. How much does it take for the {0}?"
    pool = [ask.format(things[at % len(things)], at // len(things)) for at in range(len(things) * 12 * share)]
    found = find_clusters(pool)
    assert found.distinct == len(pool)
    assert len(compared) <= 12 * len(pool)
