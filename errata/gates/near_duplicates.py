"""Near-duplicate questions: found by MinHash, told by what they differ in, and joined to clusters.

MinHash only proposes: two questions that share a band are compared token by token (errata.gates.differences). So a
cluster holds no question that merely sounds alike. Clusters do not depend on the order of the questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from errata.gates.canonical import Canonical, canonical
from errata.gates.differences import KINDS, DifferenceKind, difference
from errata.gates.signatures import Hashes, Signatures, Signed

# Members of a group of which each is compared with each; of a larger one (a template) each with its neighbours, and
# those that differ in names alone are neighbours.
_ALL_PAIRS = 24
_NEIGHBOURS = 3
_SLICE = 1 << 16  # places whose pairs are held at one time
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

    Memory: about 250 bytes a question. The texts are not kept: ``text_of`` gives them again, by place.
    """

    def __init__(self) -> None:
        self._signatures = Signatures()

    def add(self, question: str) -> None:
        """Add the next question."""
        self._signatures.add(question)

    def clusters(self, text_of: Callable[[int], str]) -> Clusters:
        """The clusters of all that were added. Deterministic."""
        signed = self._signatures.finish()
        _, first = np.unique(signed.form, return_index=True)
        distinct = first[np.lexsort((signed.form[first], signed.kin[first]))]  # by digests, whatever the order
        read = lru_cache(maxsize=4_096)(lambda at: canonical(text_of(at)))
        same = [_equal(signed.raw, "exact"), _equal(signed.form, "format"), _variants(signed, distinct)]
        return _joined(signed.raw, np.concatenate([*same, _compared(distinct, signed, read)]))


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


def _variants(signed: Signed, distinct: Indices) -> Indices:
    """The edges between questions that differ in one number alone: each with the first of them, without comparing."""
    wanted = np.zeros(len(signed.raw), bool)
    wanted[distinct] = True
    kept = wanted[signed.variant_of]
    owners = signed.variant_of[kept].astype(np.int64)
    edges = _equal(signed.variants[kept], "number_variant")
    edges[:, 1:] = np.sort(owners[edges[:, 1:]], axis=1)
    apart: Indices = edges[edges[:, 1] != edges[:, 2]]
    return apart


def _compared(distinct: Indices, signed: Signed, read: Callable[[int], Canonical]) -> Indices:
    """The edges between questions that look alike, each pair compared once.

    Compared are those that differ in names and order alone by their digests, and those that have two bands in common.
    Of a template with many numbers one question stands for all: the others differ from it in numbers, and are no copies
    of another question unless they say the same but for names and order.
    """
    template, kin = signed.template[distinct], signed.kin[distinct]
    _, first, inverse, counts = np.unique(template, return_index=True, return_inverse=True, return_counts=True)
    stand = np.flatnonzero((counts[inverse] <= _ALL_PAIRS) | (first[inverse] == np.arange(len(distinct))))
    edges: list[tuple[int, int, int]] = []
    for pair in _alike(kin, stand, signed.bands[:, distinct[stand]]):
        one, other = int(pair >> 32), int(pair & 0xFFFFFFFF)
        if template[one] == template[other] and kin[one] != kin[other]:
            continue  # they differ in numbers: see _variants
        low, high = sorted((int(distinct[one]), int(distinct[other])))
        found = difference(read(low), read(high))
        if found is not None:
            edges.append((_RANK[found.kind], low, high))
    return np.array(edges, np.int64).reshape(-1, 3)


def _alike(kin: Hashes, stand: Indices, bands: NDArray[np.uint32]) -> Iterator[int]:
    """Pairs of places to compare, as one number each: of equal kin, or with two bands in common.

    One common band is mostly chance: of texts that share 0.8 of their shingles 0.9996 have two. Memory: the pairs that
    begin with some of the places, not all of them.
    """
    of_kin = _proposed(kin)
    yield from of_kin.tolist()
    for start in range(0, len(stand), _SLICE):
        found = []
        for band in bands:
            proposed = _proposed(band)
            low = proposed >> np.uint64(32)
            found.append(proposed[(low >= start) & (low < start + _SLICE)])
        pairs = np.sort(np.concatenate(found))
        twice = np.unique(pairs[1:][pairs[1:] == pairs[:-1]])
        one, other = stand[twice >> np.uint64(32)], stand[twice & np.uint64(0xFFFFFFFF)]
        again = one.astype(np.uint64) << np.uint64(32) | other.astype(np.uint64)
        yield from np.setdiff1d(again, of_kin, assume_unique=True).tolist()


def _proposed(band: NDArray[np.uint32] | Hashes) -> Hashes:
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
