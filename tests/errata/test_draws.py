"""Draws: what is taken of many pairs depends on the seed and on the pairs, and holds what was asked for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.draws import Candidates, DrawImpossible, draw
from errata.output_config import DatasetConfig

KINDS, FORMS = ["operator", "unit", "copying"], ["stands", "consistent"]
Row = tuple[int, int, int, int, int]  # source, problem, step (-1: full), kind, form
rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 5), st.integers(-1, 4), st.integers(0, 2), st.integers(0, 1)),
    min_size=1,
    max_size=60,
    unique=True,
).map(sorted)


def candidates(made: list[Row]) -> Candidates:
    source, problem, step, kind, form = (np.array(column, np.int64) for column in zip(*made, strict=True))
    full = step < 0
    kind, form = np.where(full, -1, kind), np.where(full, -1, form)
    names: Any = {"type": ["step", "full"], "kind": KINDS, "form": FORMS}
    return Candidates(source, problem, step, np.where(full, 1, 0), kind, form, names)


def config(**values: Any) -> DatasetConfig:
    return DatasetConfig(jobs=["a", "b"], **values)


def taken(made: list[Row], **values: Any) -> list[Row]:
    return [row for row, kept in zip(made, draw(candidates(made), config(**values)).taken, strict=True) if kept]


@given(rows, st.integers(0, 5))
def test_nothing_asked_takes_all(made: list[Row], seed: int) -> None:
    drawn = draw(candidates(made), config(seed=seed))
    assert drawn.taken.all()
    assert drawn.left_out == {}


@given(rows, st.integers(1, 3), st.integers(0, 3))
def test_step_pairs_of_a_problem_are_limited_and_kinds_take_turns(made: list[Row], limit: int, seed: int) -> None:
    kept = taken(made, step_pairs_per_problem=limit, seed=seed)
    assert [row for row in kept if row[2] < 0] == [row for row in made if row[2] < 0]
    for place in {row[:2] for row in made}:
        there = [row for row in made if row[:2] == place and row[2] >= 0]
        found = [row for row in kept if row[:2] == place and row[2] >= 0]
        assert len(found) == min(limit, len(there))
        assert len({row[3] for row in found}) == min(len(found), len({row[3] for row in there}))


@given(rows, st.sampled_from(["kind", "form"]), st.integers(0, 3))
def test_balance_gives_each_group_what_the_rarest_has(made: list[Row], by: Any, seed: int) -> None:
    column = 3 if by == "kind" else 4
    there = Counter(row[column] for row in made if row[2] >= 0)
    kept = taken(made, balance=by, seed=seed)
    assert Counter(row[column] for row in kept if row[2] >= 0) == dict.fromkeys(there, min(there.values(), default=0))
    assert sum(row[2] < 0 for row in kept) == sum(row[2] < 0 for row in made)


@given(rows, st.integers(0, 9), st.integers(1, 20), st.integers(0, 3))
def test_quotas_and_a_most(made: list[Row], most: int, total: int, seed: int) -> None:
    quotas = {
        "kind": {"unit": {"at_most": most}},
        "type": {"full": {"at_most": most}},
        "form": {"stands": {"at_most": most}},
    }
    kept = taken(made, quotas=quotas, max_pairs=total, seed=seed)
    assert len(kept) <= total
    assert sum(row[2] >= 0 and row[3] == 1 for row in kept) <= most
    assert sum(row[2] < 0 for row in kept) <= most
    assert sum(row[2] >= 0 and row[4] == 0 for row in kept) <= most


@given(rows, st.integers(1, 20), st.integers(0, 3))
def test_a_smaller_draw_is_part_of_a_larger_one(made: list[Row], total: int, seed: int) -> None:
    assert set(taken(made, max_pairs=total, seed=seed)) <= set(taken(made, max_pairs=total + 1, seed=seed))


@given(rows, st.integers(1, 20), st.integers(0, 3), st.randoms(use_true_random=False))
def test_a_draw_depends_on_no_order_of_names(made: list[Row], total: int, seed: int, random: Any) -> None:
    """The same pairs with their kinds numbered in another order give the same draw."""
    places = list(range(len(KINDS)))
    random.shuffle(places)
    pairs = candidates(made)
    renamed: Any = {**pairs.names, "kind": [KINDS[places.index(at)] for at in range(len(KINDS))]}
    kind = np.where(pairs.kind < 0, -1, np.array([places[at] for at in range(len(KINDS))])[pairs.kind])
    other = Candidates(pairs.source, pairs.problem, pairs.step, pairs.type, kind, pairs.form, renamed)
    asked = config(max_pairs=total, seed=seed)
    assert (draw(pairs, asked).taken == draw(other, asked).taken).all()


@given(rows, st.floats(0.1, 10), st.floats(0.1, 10))
def test_weights_are_shares_and_use_one_source_up(made: list[Row], one: float, other: float) -> None:
    there = Counter(row[0] for row in made)
    if len(there) < 2:
        with pytest.raises(DrawImpossible, match="no share of it"):
            taken(made, job_weights={"a": one, "b": other})
        return
    kept = Counter(row[0] for row in taken(made, job_weights={"a": one, "b": other}))
    assert any(kept[at] == there[at] for at in (0, 1))
    unit = min(there[0] / one, there[1] / other)
    assert kept == {at: max(1, int(unit * weight + 1e-9)) for at, weight in enumerate((one, other))}


def test_another_seed_draws_others() -> None:
    made = [(0, problem, 0, problem % 3, 0) for problem in range(300)]
    draws = [set(taken(made, max_pairs=100, seed=seed)) for seed in range(3)]
    assert all(len(drawn) == 100 for drawn in draws)
    assert all(20 < len(draws[0] & drawn) < 50 for drawn in draws[1:]), "a third is shared by chance"


def test_what_is_left_out_is_counted_by_reason() -> None:
    made = [(0, problem, step, step % 3, 0) for problem in range(10) for step in range(3)]
    quotas = {"kind": {"unit": {"at_most": 2}}}
    drawn = draw(candidates(made), config(step_pairs_per_problem=2, quotas=quotas, max_pairs=7))
    assert drawn.left_out["step_pairs_per_problem"] == 10
    assert sum(drawn.left_out.values()) == 30 - 7
    assert set(drawn.left_out) == {"step_pairs_per_problem", "quotas.kind.unit", "max_pairs"}


@pytest.mark.parametrize("kind", ["unit", "misreading"])
def test_a_quota_that_cannot_be_filled_is_told(kind: str) -> None:
    made = [(0, problem, 0, 1, 0) for problem in range(4)]
    with pytest.raises(DrawImpossible, match=f"quotas.kind.{kind}: {4 if kind == 'unit' else 0} pairs are there"):
        taken(made, quotas={"kind": {kind: {"at_least": 5}}})
