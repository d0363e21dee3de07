"""Which pairs of those that pass the filters a dataset takes: N per problem, quotas, balance, weights, a most.

All draws are by one random rank per pair, which depends on the seed and on what the pair is of (source, place of its
problem, step, kind, form), never on ids or on the other pairs. So the same inputs give the same draw, and a smaller
dataset is part of a larger one where nothing else differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from errata.output_config import DatasetConfig
from errata.pairs import choose
from errata.seeds import derive_seed

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
By = Literal["type", "kind", "form"]
_ODD = np.uint64(0x9E3779B97F4A7C15)


class DrawImpossible(ValueError):
    """The pairs cannot meet the configuration; the message says which part and what would help."""


class Names:
    """Numbers for names, in the order they come; -1 for none."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._codes: dict[str, int] = {}

    def code(self, name: str | None) -> int:
        """The number of a name."""
        if name is None:
            return -1
        if name not in self._codes:
            self._codes[name] = len(self.all)
            self.all.append(name)
        return self._codes[name]


@dataclass(frozen=True)
class Candidates:
    """Pairs in order, as arrays ``[pairs]``. ``type``, ``kind`` and ``form`` are places in the lists of names.

    ``problem``: the place of the pair's problem in its source. ``step``: -1 for full pairs, as are kind and form.
    """

    source: Ints
    problem: Ints
    step: Ints
    type: Ints
    kind: Ints
    form: Ints
    names: dict[By, list[str]]

    def is_in(self, by: By, name: str) -> Mask:
        """Which pairs belong to a group."""
        codes: Ints = {"type": self.type, "kind": self.kind, "form": self.form}[by]
        names = self.names[by]
        found: Mask = codes == (names.index(name) if name in names else -2)
        return found

    def ranks(self, seed: int) -> NDArray[np.uint64]:
        """A random number for each pair."""
        found = np.full(len(self.source), derive_seed(seed, "rank"), np.uint64)
        for column, names in ((self.kind, self.names["kind"]), (self.form, self.names["form"])):
            # By the name and not by its place, which depends on the other pairs.
            of_names = np.array([*(derive_seed("name", name) for name in names), 0], np.uint64)
            found = _mixed(found, of_names[column])
        for column in (self.source, self.problem, self.step):
            found = _mixed(found, column.astype(np.uint64))
        return found


@dataclass
class Draw:
    """Which pairs are taken, and how many were left out for which reason."""

    taken: Mask
    left_out: dict[str, int] = field(default_factory=dict)

    def keep(self, kept: Mask, reason: str) -> None:
        """Leave out what is not ``kept``."""
        lost = int(np.count_nonzero(self.taken & ~kept))
        if lost:
            self.left_out[reason] = self.left_out.get(reason, 0) + lost
        self.taken &= kept


def draw(pairs: Candidates, config: DatasetConfig) -> Draw:
    """Draw as the configuration says, in its order. Raises DrawImpossible where a quota cannot be filled."""
    drawn = Draw(np.ones(len(pairs.source), np.bool_))
    ranks = pairs.ranks(config.seed)
    if config.step_pairs_per_problem is not None:
        kept = _per_problem(pairs, config.step_pairs_per_problem, config.seed)
        drawn.keep(kept, "step_pairs_per_problem")
    for by, name, quota in config.quotas.named():
        if quota.at_most is not None:
            group = pairs.is_in(by, name)
            drawn.keep(~group | _lowest(drawn.taken & group, ranks, quota.at_most), f"quotas.{by}.{name}")
    if config.balance is not None:
        drawn.keep(_balanced(pairs, drawn.taken, ranks, config.balance), "balance")
    if config.weighted:
        drawn.keep(_shared(pairs.source, drawn.taken, ranks, config), "weights")
    if config.max_pairs is not None:
        drawn.keep(_lowest(drawn.taken, ranks, config.max_pairs), "max_pairs")
    _check_least(pairs, drawn.taken, config)
    return drawn


def _check_least(pairs: Candidates, taken: Mask, config: DatasetConfig) -> None:
    for by, name, quota in config.quotas.named():
        count = int(np.count_nonzero(taken & pairs.is_in(by, name)))
        if quota.at_least is not None and count < quota.at_least:
            raise DrawImpossible(
                f"quotas.{by}.{name}: {count:,} pairs are there and at_least wants {quota.at_least:,}: lower it, loosen"
                " the filters and what is drawn before, or name more jobs"
            )


def _per_problem(pairs: Candidates, limit: int, seed: int) -> Mask:
    """At most so many step pairs of each problem, its kinds in turn."""
    kept = np.ones(len(pairs.source), np.bool_)
    steps = np.flatnonzero(pairs.step >= 0)
    order = steps[np.lexsort((pairs.problem[steps], pairs.source[steps]))]
    places = np.stack([pairs.source[order], pairs.problem[order]])
    borders = np.flatnonzero(np.any(places[:, 1:] != places[:, :-1], axis=0)) + 1
    for group in np.split(order, borders):
        if len(group) > limit:
            kinds = [(str(at), str(pairs.kind[at])) for at in group.tolist()]
            source, problem = int(pairs.source[group[0]]), int(pairs.problem[group[0]])
            drawn = choose(kinds, limit=limit, max_kind_share=1.0, seed=derive_seed(seed, "draw", source, problem))
            kept[group] = np.isin(group, np.array(drawn, np.int64))
    return kept


def _balanced(pairs: Candidates, taken: Mask, ranks: NDArray[np.uint64], by: By) -> Mask:
    """Of each group's step pairs as many as the rarest group has; all full pairs."""
    steps = taken & (pairs.step >= 0)
    groups = [steps & pairs.is_in(by, name) for name in pairs.names[by]]
    there = [group for group in groups if group.any()]
    least = min((int(np.count_nonzero(group)) for group in there), default=0)
    kept = ~steps
    for group in there:
        kept |= _lowest(group, ranks, least)
    return kept


def _shared(source: Ints, taken: Mask, ranks: NDArray[np.uint64], config: DatasetConfig) -> Mask:
    """Of each source its share, so many in all that no source has to give more than it has."""
    counts = [int(np.count_nonzero(taken & (source == at))) for at in range(len(config.weights))]
    for at, count in enumerate(counts):
        if not count:
            name = [*config.jobs, *(mixed.id for mixed in config.datasets)][at]
            raise DrawImpossible(f"no pair of {name} passes the filters, so no share of it can be taken: leave it out")
    unit = min(count / weight for count, weight in zip(counts, config.weights, strict=True))
    kept = np.zeros(len(source), np.bool_)
    for at, weight in enumerate(config.weights):
        kept |= _lowest(taken & (source == at), ranks, max(1, int(unit * weight + 1e-9)))
    return kept


def _lowest(group: Mask, ranks: NDArray[np.uint64], count: int) -> Mask:
    """Of a group the pairs with the lowest ranks; of equal ranks the first."""
    places = np.flatnonzero(group)
    kept = np.zeros(len(group), np.bool_)
    kept[places[np.argsort(ranks[places], kind="stable")][:count]] = True
    return kept


def _mixed(state: NDArray[np.uint64], value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Both as one number that looks random (the finish of splitmix64)."""
    with np.errstate(over="ignore"):
        found = (state ^ (value * _ODD)) + _ODD
        found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return found ^ (found >> np.uint64(31))
