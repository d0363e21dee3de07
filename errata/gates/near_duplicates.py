"""Near-duplicate questions: found by MinHash, told by what they differ in, and joined to clusters.

MinHash only proposes: two questions that share a band are compared token by token (errata.gates.differences). So a
cluster holds no question that merely sounds alike. Clusters do not depend on the order of the questions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from errata.gates.canonical import Canonical, canonical
from errata.gates.differences import KINDS, DifferenceKind, difference
from errata.gates.signatures import Hashes, Signatures

# Members of a group of which each is compared with each; of a larger one (a template) each with its neighbours, and
# those that differ in names alone are neighbours.
_ALL_PAIRS = 24
_NEIGHBOURS = 3
_LARGEST_FAMILY = 0.05  # of all questions
_ALWAYS_FAMILY = 3
_RANK = {kind: at for at, kind in enumerate(KINDS)}
_VARIANT = _RANK["number_variant"]

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Link:
    """Why a question is no new one: what it differs in from another of its cluster or family (places in the order)."""

    question: int
    of: int
    kind: DifferenceKind


@dataclass(frozen=True)
class Clusters:
    """The clusters of a list of questions, as places in the list; all arrays are ``[questions]``.

    ``cluster``: the first of a question's near-duplicates. ``family``: the same with number variants joined, which is
    what is kept on one side of a split. ``representative``: the question of the family with the smallest digest, which
    does not depend on the order. ``of`` and ``rank``: the question that a question differs least from, of those that
    lead to the first one of its family, and the place of that difference in ``KINDS``; -1 where it is the first.
    ``templates``: how many problems each family had that was too large to be kept together. More than 5 % of all
    problems then differ in one number each, and a split could not be drawn.
    """

    cluster: Indices
    family: Indices
    representative: Indices
    of: Indices
    rank: Indices
    templates: list[int]

    def counts(self) -> dict[DifferenceKind, int]:
        """How many questions are no new ones, by the kind of difference."""
        return {kind: int(np.count_nonzero(self.rank == at)) for at, kind in enumerate(KINDS)}

    @property
    def distinct(self) -> int:
        """How many problems there are, near-duplicates and not number variants taken together."""
        return len(np.unique(self.cluster))

    def links(self, most: int, *, variants: bool = False) -> list[Link]:
        """The first near-duplicates in order, at most ``most``; the number variants instead where asked for."""
        wanted = self.rank == _VARIANT if variants else (self.rank >= 0) & (self.rank != _VARIANT)
        places = np.flatnonzero(wanted)[:most].tolist()
        return [Link(at, int(self.of[at]), KINDS[int(self.rank[at])]) for at in places]


class NearDuplicates:
    """Takes questions one by one and finds their clusters at the end.

    Memory: about 150 bytes a question. The texts are not kept: ``text_of`` gives them again, by place.
    """

    def __init__(self) -> None:
        self._signatures = Signatures()

    def add(self, question: str) -> None:
        """Add the next question."""
        self._signatures.add(question)

    def clusters(self, text_of: Callable[[int], str]) -> Clusters:
        """The clusters of all that were added. Deterministic."""
        raw, form, kin, bands = self._signatures.finish()
        _, first = np.unique(form, return_index=True)
        distinct = first[np.lexsort((form[first], kin[first]))]  # by digests: the order of adding does not matter
        read = lru_cache(maxsize=4_096)(lambda at: canonical(text_of(at)))
        edges = np.concatenate([_equal(raw, "exact"), _equal(form, "format"), _compared(distinct, bands, read)])
        return _joined(raw, edges)


def find_clusters(questions: list[str]) -> Clusters:
    """The clusters of a list of questions held in memory."""
    found = NearDuplicates()
    for question in questions:
        found.add(question)
    return found.clusters(questions.__getitem__)


def _equal(digests: Hashes, kind: DifferenceKind) -> Indices:
    """Each question with the first one of the same digest, as edges."""
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    places = np.arange(len(digests))
    edges = np.stack([np.full(len(digests), _RANK[kind]), first[inverse], places], axis=1)
    later: Indices = edges[edges[:, 1] != places]
    return later


def _compared(distinct: Indices, bands: NDArray[np.uint32], read: Callable[[int], Canonical]) -> Indices:
    """The edges between questions that have two bands in common, each pair compared once."""
    once = twice = np.zeros(0, np.uint64)
    edges: list[tuple[int, int, int]] = []
    for band in bands:
        pairs = _proposed(band[distinct])
        # One common band is mostly chance: of texts that share 0.8 of their shingles 0.9996 have two.
        again = np.setdiff1d(np.intersect1d(once, pairs, assume_unique=True), twice, assume_unique=True)
        once, twice = np.union1d(once, pairs), np.union1d(twice, again)
        for pair in again.tolist():
            one, other = sorted((int(distinct[pair >> 32]), int(distinct[pair & 0xFFFFFFFF])))
            found = difference(read(one), read(other))
            if found is not None:
                edges.append((_RANK[found.kind], one, other))
    return np.array(edges, np.int64).reshape(-1, 3)


def _proposed(band: NDArray[np.uint32]) -> Hashes:
    """Pairs of places with the same hash, as one number each: all pairs of a small group, neighbours of a large one."""
    order = np.argsort(band, kind="stable")
    ordered = band[order]
    sizes = np.diff(np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]])))
    size_of = np.repeat(sizes, sizes)
    found = []
    for gap in range(1, min(_ALL_PAIRS, len(band))):
        together = ordered[gap:] == ordered[:-gap]
        if gap > _NEIGHBOURS:
            together &= size_of[gap:] <= _ALL_PAIRS
        if not together.any():
            break
        ends = np.sort(np.stack([order[:-gap][together], order[gap:][together]]), axis=0).astype(np.uint64)
        found.append(ends[0] << np.uint64(32) | ends[1])
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.uint64)


def _joined(raw: Hashes, edges: Indices) -> Clusters:
    """Join by the least differences: a minimum spanning forest holds, of each cluster, the edges that say least."""
    count = len(raw)
    ordered = edges[np.lexsort((edges[:, 0], edges[:, 2], edges[:, 1]))]
    new = np.ones(len(ordered), bool)
    new[1:] = (ordered[1:, 1:] != ordered[:-1, 1:]).any(axis=1)  # of two kinds of one pair the lesser counts
    rank, one, other = ordered[new].T
    forest = minimum_spanning_tree(csr_matrix((rank + 1.0, (one, other)), shape=(count, count))).tocoo()
    tree = np.stack([forest.data.astype(np.int64) - 1, forest.row, forest.col], axis=1)
    cluster = _first_of(tree[tree[:, 0] != _VARIANT], count)
    whole = _first_of(tree, count)
    of, ranks = _toward_first(tree, whole)
    family, templates = _without_templates(cluster, whole)
    order = np.lexsort((raw, family))
    _, first, inverse = np.unique(family[order], return_index=True, return_inverse=True)
    representative = np.empty(count, np.int64)
    representative[order] = order[first][inverse]
    return Clusters(cluster, family, representative, of, ranks, templates)


def _first_of(edges: Indices, count: int) -> Indices:
    """The first question of each question's component."""
    ones = np.ones(len(edges))
    _, label = connected_components(
        csr_matrix((ones, (edges[:, 1], edges[:, 2])), shape=(count, count)), directed=False
    )
    _, first = np.unique(label, return_index=True)
    firsts: Indices = first[label].astype(np.int64)
    return firsts


def _toward_first(tree: Indices, first: Indices) -> tuple[Indices, Indices]:
    """For each question the neighbour on the way to the first of its component, and the rank of that edge; else -1."""
    count = len(first)
    roots = np.unique(first)
    # One more node joins all firsts: one search then reaches every question.
    starts = np.concatenate([tree[:, 1], np.full(len(roots), count)])
    ends = np.concatenate([tree[:, 2], roots])
    joined = csr_matrix((np.ones(len(starts)), (starts, ends)), shape=(count + 1, count + 1))
    _, before = breadth_first_order(joined, count, directed=False)
    of = np.where(before[:count] == count, -1, before[:count]).astype(np.int64)
    rank = np.full(count, -1, np.int64)
    for column, neighbour in ((1, 2), (2, 1)):
        led = of[tree[:, column]] == tree[:, neighbour]
        rank[tree[led, column]] = tree[led, 0]
    return of, rank


def _without_templates(cluster: Indices, family: Indices) -> tuple[Indices, list[int]]:
    """Families of at most 5 % of the problems (or three); a larger one is taken apart into its clusters."""
    firsts = np.flatnonzero(cluster == np.arange(len(cluster)))
    sizes = np.bincount(family[firsts], minlength=len(cluster))  # in problems, not in copies
    large = sizes > max(_ALWAYS_FAMILY, _LARGEST_FAMILY * len(firsts))
    return np.where(large[family], cluster, family), sorted(sizes[large].tolist(), reverse=True)
