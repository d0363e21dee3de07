"""Clusters of near-duplicate questions: on real problems with planted copies, and whatever the order."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from errata.gates.near_duplicates import Clusters, find_clusters
from tests.errata.gates import planted


@pytest.fixture(scope="module")
def questions(shared_data: Path) -> dict[str, list[str]]:
    """1,000 questions each of MATH and GSM8K."""
    told = {"math": ("math/test-1000.jsonl", "problem"), "gsm8k": ("gsm8k/train-1000.jsonl", "question")}
    return {
        name: [json.loads(line)[field] for line in (shared_data / path).read_text().splitlines()]
        for name, (path, field) in told.items()
    }


@pytest.mark.parametrize("name", ["math", "gsm8k"])
def test_at_most_one_percent_of_clean_questions_is_flagged(questions: dict[str, list[str]], name: str) -> None:
    found = find_clusters(questions[name])
    assert sum(found.counts().values()) <= 10
    assert found.distinct == 1000
    assert not found.templates


def test_every_clean_number_variant_is_one(questions: dict[str, list[str]]) -> None:
    """Read by eye: the pizzas, the sines, the square roots and their like."""
    found = find_clusters(questions["math"])
    told = {(questions["math"][link.question], questions["math"][link.of]) for link in found.links(99, variants=True)}
    assert ("Simplify $\\sqrt{192}$.", "Simplify $\\sqrt{720}$.") in told
    assert len(told) == found.counts()["number_variant"] == 6


CHANGES: dict[str, tuple[Callable[[str, random.Random], str], Callable[[str], bool]]] = {
    "names": (planted.renamed, lambda question: bool(planted.names_in(question))),
    "spacing": (planted.respaced, bool),
    "order": (planted.reordered, lambda question: len(planted.sentences(question)) > 1),
    "number": (planted.renumbered, lambda question: bool(planted.numbers_in(question))),
}


@pytest.mark.parametrize("name", ["math", "gsm8k"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_planted_copies_are_found(questions: dict[str, list[str]], name: str, seed: int) -> None:
    """20 copies of each kind among 1,000 problems: recall of at least 0.9, and one changed number is told apart."""
    rng, all_questions = random.Random(seed), list(questions[name])
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for change, (make, may) in CHANGES.items():
        for question in rng.sample([q for q in questions[name] if may(q)], 20):
            copy = make(question, rng)
            assert copy != question
            places[change].append((questions[name].index(question), len(all_questions)))
            all_questions.append(copy)
    found = find_clusters(all_questions)
    for change in ("names", "spacing", "order"):
        hits = [found.cluster[one] == found.cluster[copy] for one, copy in places[change]]
        assert np.mean(hits) >= 0.9, change
    apart = [found.cluster[one] != found.cluster[copy] for one, copy in places["number"]]
    beside = [found.family[one] == found.family[copy] for one, copy in places["number"]]
    assert np.mean(apart) == 1
    assert np.mean(beside) >= 0.9
    assert sum(found.counts().values()) <= 80 + 10


def partition(found: Clusters, order: list[int], field: str) -> set[frozenset[int]]:
    """The sets of original places that belong together."""
    groups: dict[int, set[int]] = defaultdict(set)
    for at, first in enumerate(getattr(found, field)):
        groups[int(first)].add(order[at])
    return {frozenset(group) for group in groups.values()}


def test_the_order_does_not_matter(questions: dict[str, list[str]]) -> None:
    rng = random.Random(0)
    base = questions["gsm8k"][:150]
    pool = (
        base
        + [planted.renamed(q, rng) for q in base[:40]]
        + [planted.renumbered(q, rng) for q in base[20:50] if planted.numbers_in(q)]
    )
    pool += base[:7]
    found = {}
    for seed in range(3):
        order = list(range(len(pool)))
        random.Random(seed).shuffle(order)
        clusters = find_clusters([pool[at] for at in order])
        told = tuple(pool[order[int(at)]] for at in np.argsort(order)[[0]])
        sides = {pool[order[at]]: pool[order[int(first)]] for at, first in enumerate(clusters.representative)}
        found[seed] = (partition(clusters, order, "cluster"), partition(clusters, order, "family"), sides, told)
    assert found[0] == found[1] == found[2]


def test_links_lead_to_the_first_of_the_cluster() -> None:
    ask = "{} has {} cats and 7 dogs. How many animals does {} have?"
    pool = [ask.format(n, k, n) for n, k in [("Tom", 3), ("Eve", 3), ("Tom", 4), ("Ida", 4), ("Tom", 3)]]
    pool += ["What is a prime?"]
    found = find_clusters(pool)
    assert found.cluster.tolist() == [0, 0, 2, 2, 0, 5]
    assert found.family.tolist() == [0, 0, 0, 0, 0, 5]
    assert found.counts() == {"exact": 1, "format": 0, "order": 0, "names": 2, "wording": 0, "number_variant": 1}
    assert [(link.question, link.kind) for link in found.links(9)] == [(1, "names"), (3, "names"), (4, "exact")]
    assert len({int(at) for at in found.representative[:5]}) == 1
    assert len(found.links(9, variants=True)) == 1


def test_a_template_is_not_kept_together_but_its_copies_are() -> None:
    pool = [f"Ann has {count} apples and eats one. How many are left?" for count in range(5, 65)]
    pool += ["Bob has 9 apples and eats one. How many are left?"]
    found = find_clusters(pool)
    assert found.templates == [60]
    assert found.distinct == 60
    assert found.cluster[60] == found.family[60] == 4
    assert len(np.unique(found.family)) == 60


@pytest.mark.parametrize("pool", [[], [""], ["", " ", "\n"], ["?"], ["a"]])
def test_questions_without_words(pool: list[str]) -> None:
    found = find_clusters(pool)
    assert len(found.cluster) == len(pool)
    assert found.distinct == min(1, len(pool))


def test_many_copies_of_one_problem_are_one_cluster() -> None:
    names = [
        f"{first}{second}" for first in ("Ka", "Lo", "Mi", "Nu", "Pe") for second in ("rla", "tta", "ssy", "nda", "bbo")
    ]
    pool = [f"{name} buys 3 pens for 2 dollars each. What does {name} pay?" for name in names * 3]
    found = find_clusters(pool)
    assert found.distinct == 1
    assert found.counts()["exact"] == 50
    assert found.counts()["names"] == 24
