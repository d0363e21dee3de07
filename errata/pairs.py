"""Pairs: error against no error, and nothing else (docs/method.md step 9)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from errata.types import Evidence


@dataclass(frozen=True, slots=True)
class PairDraft:
    """A preference pair. Prompt = ``question`` and, behind the assistant turn's opening, ``prefix``.

    For a ``step`` pair ``prefix`` is the solution's text before the step, ``chosen`` the step, ``rejected`` its edit;
    ``start`` and ``end`` are the step's offsets in the solution. For a ``full`` pair ``prefix`` is empty and both sides
    are whole solutions.
    """

    type: Literal["step", "full"]
    question: str
    prefix: str
    chosen: str
    rejected: str
    step_index: int | None = None
    start: int | None = None
    end: int | None = None
    error_kind: str | None = None
    distance: int | None = None
    evidence: Evidence | None = None


def step_pair(
    question: str,
    solution: str,
    start: int,
    end: int,
    edited: str,
    *,
    step_index: int,
    error_kind: str,
    distance: int,
    evidence: Evidence,
    rest: tuple[str, str] = ("", ""),
) -> PairDraft:
    """The pair of one step and its edit. ``rest`` (mode ``dynamic``) is what follows on the chosen and rejected side.

    Raises ValueError when both sides are equal: such a pair has no gradient.
    """
    chosen, rejected = solution[start:end] + rest[0], edited + rest[1]
    if chosen == rejected:
        raise ValueError("a pair's sides must differ")
    return PairDraft(
        "step", question, solution[:start], chosen, rejected, step_index, start, end, error_kind, distance, evidence
    )


def full_pair(question: str, correct: str, incorrect: str) -> PairDraft:
    """The pair of a correct and an incorrect solution of one problem. Raises ValueError when they are equal."""
    if correct == incorrect:
        raise ValueError("a pair's sides must differ")
    return PairDraft("full", question, "", correct, incorrect)


def choose(
    candidates: Sequence[tuple[str, str]],
    *,
    limit: int | None,
    max_kind_share: float,
    seed: int,
) -> list[str]:
    """Which of a problem's proven edits become pairs: ids of at most ``limit`` (id, kind) candidates, in given order.

    Kinds take turns, rarest among the candidates first, so that a limit does not favour the commonest kind;
    ``max_kind_share`` then drops surplus candidates of a kind above that share (two or more candidates only).
    """
    rng = random.Random(seed)
    pool = list(candidates)
    rng.shuffle(pool)
    counts = Counter(kind for _, kind in pool)
    taken: Counter[str] = Counter()
    chosen: list[str] = []
    # The kind taken least so far goes first, of these the rarest: after the shuffle, min() breaks ties at random.
    while pool and (limit is None or len(chosen) < limit):
        at = min(range(len(pool)), key=lambda i: (taken[pool[i][1]], counts[pool[i][1]]))
        identity, kind = pool.pop(at)
        if taken[kind] + 1 > _cap(len(candidates), max_kind_share):
            continue
        taken[kind] += 1
        chosen.append(identity)
    order = {identity: place for place, (identity, _) in enumerate(candidates)}
    return sorted(chosen, key=order.__getitem__)


def _cap(count: int, share: float) -> int:
    """How many of a problem's ``count`` candidates may be of one kind: at least one, all where no share is set."""
    # The small addend keeps 100 * 0.29 from being 28 by a rounding error.
    return max(1, int(count * share + 1e-9)) if share < 1 else count
