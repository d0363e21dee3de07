"""Contamination: questions of a dataset that stand in a benchmark, found by common n-grams of tokens.

Questions are compared as tokens (errata.gates.canonical), so spacing, LaTeX layout and capitals hide nothing. A
question is contaminated by a benchmark's problem where at least half of the n-grams of the shorter one, and at least 8
or all, stand in the other; or where both differ in names or the order of sentences alone. The same with one number
changed is told apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from errata.gates.canonical import Canonical, canonical
from errata.gates.differences import difference
from errata.gates.signatures import Hashes, masked_names, mixed, token_hash

NGRAM = 8
SHARE = 0.5
_LEAST = 8  # n-grams in common, or all: fewer are a turn of phrase
_CANDIDATES = 5  # problems of the benchmarks with the most n-grams in common, which are compared in full
_STEP = np.uint64(0x9E3779B97F4A7C15)

HitKind = str
"""``ngrams``, or a kind of errata.gates.differences."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A question and the benchmark's problem (by its place) that it holds. ``share``: of the n-grams of the shorter."""

    problem: int
    kind: HitKind
    share: float

    @property
    def is_contaminated(self) -> bool:
        """False for a problem that differs in one number."""
        return self.kind != "number_variant"


class Benchmarks:
    """The n-grams of every benchmark problem: ``add`` each, then ``seal``, then ``hit``.

    Memory: 12 bytes an n-gram, about 500 bytes a problem; texts are not kept.
    """

    def __init__(self, ngram: int = NGRAM, share: float = SHARE) -> None:
        self.problems = 0
        self._ngram, self._share = ngram, share
        self._held: list[tuple[Hashes, NDArray[np.int32]]] = []
        self._hashes, self._owners = np.zeros(0, np.uint64), np.zeros(0, np.int32)
        self._sizes: list[int] = []

    def add(self, question: str) -> None:
        """Add the next problem of a benchmark."""
        grams = _grams(canonical(question), self._ngram)
        self._held.append((grams, np.full(len(grams), self.problems, np.int32)))
        self._sizes.append(len(grams))
        self.problems += 1

    def seal(self) -> None:
        """Sort what was added: from now on questions can be looked up."""
        if self._held:
            hashes, owners = (np.concatenate(column) for column in zip(*self._held, strict=True))
            order = np.lexsort((owners, hashes))
            self._hashes, self._owners = hashes[order], owners[order]
        self._held = []

    def hit(self, question: str, text_of: Callable[[int], str]) -> Hit | None:
        """What of the benchmarks the question holds, the worst first; ``text_of`` gives a benchmark's problem again."""
        if not len(self._hashes):
            return None
        read = canonical(question)
        grams = _grams(read, self._ngram)
        found = self._owners_of(grams)
        if not len(found):
            return None
        owners, common = np.unique(found, return_counts=True)
        best: Hit | None = None
        for at in np.lexsort((owners, -common))[:_CANDIDATES].tolist():
            told = self._told(read, int(owners[at]), int(common[at]), len(grams), text_of)
            if told is not None and (best is None or (told.is_contaminated and not best.is_contaminated)):
                best = told
        return best

    def _told(
        self, read: Canonical, problem: int, common: int, grams: int, text_of: Callable[[int], str]
    ) -> Hit | None:
        """What a question has of one problem with which it has n-grams in common."""
        shorter = min(grams, self._sizes[problem])
        found = difference(read, canonical(text_of(problem)))
        if found is not None:
            return Hit(problem, found.kind, common / shorter)
        enough = max(self._share * shorter, min(shorter, _LEAST))
        return Hit(problem, "ngrams", common / shorter) if common >= enough else None

    def _owners_of(self, grams: Hashes) -> NDArray[np.int32]:
        """The problems that hold each of the n-grams, one after another."""
        first = np.searchsorted(self._hashes, grams, "left")
        last = np.searchsorted(self._hashes, grams, "right")
        held = [self._owners[start:stop] for start, stop in zip(first, last, strict=True) if stop > start]
        return np.concatenate(held) if held else np.zeros(0, np.int32)


def _grams(text: Canonical, size: int) -> Hashes:
    """The hashes of a text's n-grams, each once; a shorter text is one n-gram. Names and letters are masked."""
    tokens = [token_hash(mark) for sentence in text.sentences for mark in masked_names(sentence)]
    width = min(size, len(tokens))
    if not width:
        return np.zeros(0, np.uint64)
    hashes = np.array(tokens, np.uint64)
    windows = np.full(len(hashes) - width + 1, width, np.uint64)
    for at in range(width):
        windows = mixed(windows * _STEP + hashes[at : at + len(windows)])
    return np.unique(windows)
