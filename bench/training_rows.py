"""Preference pairs as token ids, of the lengths that GSM8K problems and solutions to them have."""

from __future__ import annotations

import random

from workers.training.run.data import Pair

VOCABULARY = 2048
# Deciles of token counts, measured on 400 GSM8K questions and 1,600 solutions to them; a chat turn adds about 45.
QUESTION = [20, 35, 40, 47, 51, 57, 64, 68, 81, 94, 150]
STEP = [12, 20, 24, 28, 30, 32, 34, 37, 41, 50, 80]
STEPS = [2, 3, 3, 4, 4, 4, 4, 5, 5, 6, 8]
TURN = 45


def at(deciles: list[int], share: float) -> int:
    """The value below which ``share`` of the distribution lies."""
    place = share * (len(deciles) - 1)
    low = min(int(place), len(deciles) - 2)
    return round(deciles[low] + (place - low) * (deciles[low + 1] - deciles[low]))


def spread(rng: random.Random, count: int) -> list[float]:
    """``count`` shares, one from each of as many equal parts of [0, 1): a few problems must stand for many."""
    shares = [(i + rng.random()) / count for i in range(count)]
    rng.shuffle(shares)
    return shares


def make_pairs(problems: int, edits: int, seed: int = 0) -> list[Pair]:
    """N edits of one token each in different steps, and a full pair, per problem."""
    rng, pairs = random.Random(seed), []

    def ids(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(3, VOCABULARY) for _ in range(count))

    def solution(count: int) -> list[tuple[int, ...]]:
        return [ids(at(STEP, share)) for share in spread(rng, count)]

    draws = zip(*(spread(rng, problems) for _ in range(3)), strict=True)
    for p, (asked, correct, wrong) in enumerate(draws):
        question = ids(TURN + at(QUESTION, asked))
        steps = solution(max(at(STEPS, correct), edits))
        for k in sorted(rng.sample(range(len(steps)), edits)):
            place = rng.randrange(len(steps[k]))
            edited = (*steps[k][:place], 2, *steps[k][place + 1 :])
            before = question + sum(steps[:k], ())
            pairs.append(Pair(f"{p}.{k}", f"p{p}", True, "calculation", before, steps[k], edited))
        incorrect = sum(solution(at(STEPS, wrong)), ())
        pairs.append(Pair(f"{p}.full", f"p{p}", False, None, question, (*sum(steps, ()), 1), (*incorrect, 1)))
    return pairs
