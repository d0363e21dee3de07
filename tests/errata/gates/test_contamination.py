"""Questions of a benchmark are found in a dataset, however they are written; other questions are not."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from errata.gates.contamination import Benchmarks, Hit
from tests.errata.gates import planted


def hits(benchmark: list[str], questions: list[str]) -> list[Hit | None]:
    """What each question has of the benchmark."""
    index = Benchmarks()
    for question in benchmark:
        index.add(question)
    index.seal()
    return [index.hit(question, benchmark.__getitem__) for question in questions]


@pytest.fixture(scope="module")
def math(shared_data: Path) -> list[str]:
    """1,000 questions of MATH."""
    return [json.loads(line)["problem"] for line in (shared_data / "math" / "test-1000.jsonl").read_text().splitlines()]


def contaminated(found: list[Hit | None]) -> float:
    """The share of contaminated questions."""
    return float(np.mean([hit is not None and hit.is_contaminated for hit in found]))


def test_clean_questions_are_not_flagged(math: list[str], shared_data: Path) -> None:
    lines = (shared_data / "gsm8k" / "train-1000.jsonl").read_text().splitlines()
    gsm8k = [json.loads(line)["question"] for line in lines]
    assert contaminated(hits(math[::2], math[1::2])) <= 0.01
    assert contaminated(hits(gsm8k[::2], gsm8k[1::2])) <= 0.01
    assert contaminated(hits(gsm8k[:300], math[:300])) == 0


def test_planted_copies_are_found(math: list[str]) -> None:
    rng, benchmark = random.Random(4), math[::4]
    copies = {
        "verbatim": list(benchmark),
        "spacing": [planted.respaced(q, rng) for q in benchmark],
        "names": [planted.renamed(q, rng) for q in benchmark if planted.names_in(q)],
        "order": [planted.reordered(q, rng) for q in benchmark if len(planted.sentences(q)) > 1],
        "inside": [f"Solve this and box the answer. {q} Think step by step." for q in benchmark if len(q) > 60],
        "cut": [" ".join(q.split()[: len(q.split()) * 4 // 5]) for q in benchmark if len(q) > 120],
    }
    for name, questions in copies.items():
        assert contaminated(hits(benchmark, questions)) >= 0.9, name
    numbered = [planted.renumbered(q, rng) for q in benchmark if planted.numbers_in(q)]
    assert contaminated(hits(benchmark, numbered)) <= 0.05
    assert np.mean([hit is not None for hit in hits(benchmark, numbered)]) >= 0.9


def test_a_hit_names_its_problem(math: list[str]) -> None:
    benchmark = math[:50]
    found = hits(benchmark, [benchmark[7]])[0]
    assert found == Hit(7, "exact", 1.0)


@pytest.mark.parametrize("text", ["", "?", "What?", "Compute $1+1$."])
def test_short_and_empty_texts(text: str) -> None:
    assert hits([], [text]) == [None]
    found = hits(["Compute $1 + 1$."], [text])[0]
    assert (found is not None) == ("1" in text)
