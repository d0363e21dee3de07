"""Pairs and which proven edits become them; the funnel that counts every input; seeds."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.funnel import Funnel, FunnelError, editor_yields
from errata.pairs import choose, full_pair, step_pair
from errata.seeds import derive_seed
from errata.steps import splice, split_steps
from errata.types import Evidence, EvidenceKind, Reason

EVIDENCE = Evidence(EvidenceKind.CONTRADICTION, {"equation": "3 * 4 = 13"})
SEEDS = [419175444, 1641757102, 961760057]
SOLUTION = "Let's see.\nStep 1: 3 * 4 = 12.\nStep 2: 12 + 5 = 17.\n"


def test_a_step_pair_is_the_step_its_edit_and_what_stands_before() -> None:
    step = split_steps(SOLUTION)[1]
    edited = "Step 2: 12 - 5 = 17.\n"
    pair = step_pair(
        "q", SOLUTION, step.start, step.end, edited, step_index=1, error_kind="operator", distance=1, evidence=EVIDENCE
    )
    assert (pair.prefix, pair.chosen, pair.rejected) == (SOLUTION[: step.start], "Step 2: 12 + 5 = 17.\n", edited)
    assert pair.prefix + pair.chosen == SOLUTION
    assert pair.prefix + pair.rejected == splice(SOLUTION, step, edited)
    assert (pair.type, pair.step_index, pair.error_kind, pair.distance) == ("step", 1, "operator", 1)


def test_a_dynamic_pair_goes_on_to_the_end_on_both_sides() -> None:
    step = split_steps(SOLUTION)[0]
    rest = (SOLUTION[step.end :], "Step 2: 13 + 5 = 18.\n")
    pair = step_pair(
        "q", SOLUTION, step.start, step.end, "Step 1: 3 * 4 = 13.\n",
        step_index=0, error_kind="calculation", distance=1, evidence=EVIDENCE, rest=rest,
    )  # fmt: skip
    assert pair.prefix + pair.chosen == SOLUTION
    assert pair.rejected == "Step 1: 3 * 4 = 13.\nStep 2: 13 + 5 = 18.\n"


def test_equal_sides_make_no_pair() -> None:
    with pytest.raises(ValueError, match="differ"):
        full_pair("q", "same", "same")
    with pytest.raises(ValueError, match="differ"):
        step_pair("q", "ab", 0, 2, "ab", step_index=0, error_kind="order", distance=0, evidence=EVIDENCE)
    full = full_pair("q", "right", "wrong")
    assert (full.type, full.prefix, full.chosen, full.rejected, full.evidence) == ("full", "", "right", "wrong", None)


candidates = st.lists(st.sampled_from("abc"), max_size=12).map(lambda kinds: [(str(i), k) for i, k in enumerate(kinds)])


@given(candidates, st.none() | st.integers(1, 8), st.sampled_from([0.25, 0.5, 1.0]), st.integers(0, 99))
def test_the_choice_keeps_its_limits_and_its_order(
    found: list[tuple[str, str]], limit: int | None, share: float, seed: int
) -> None:
    chosen = choose(found, limit=limit, max_kind_share=share, seed=seed)
    assert chosen == choose(found, limit=limit, max_kind_share=share, seed=seed)
    assert chosen == sorted(chosen, key=int)
    assert len(set(chosen)) == len(chosen)
    assert limit is None or len(chosen) <= limit
    kinds = Counter(dict(found)[identity] for identity in chosen)
    assert all(count <= max(1, share * len(found)) for count in kinds.values())
    if found:
        assert chosen
    if share == 1.0:
        assert len(chosen) == min(len(found), limit or len(found))


def test_a_limit_favors_rare_kinds() -> None:
    found = [(str(at), "common") for at in range(9)] + [("9", "rare")]
    assert all("9" in choose(found, limit=2, max_kind_share=1.0, seed=seed) for seed in range(20))


def _finished() -> Funnel:
    """The funnel of a small finished job: three problems, four samples, five steps."""
    f = Funnel()
    f.add("problems", "total", count=3).add("problems", "kept", count=2)
    f.add("problems", "dropped", Reason.NO_CORRECT)
    f.add("samples", "total", count=4).add("samples", "verdicts", "correct", count=3)
    f.add("samples", "verdicts", "timeout")
    f.add("samples", "drawn", "correct", count=2).add("samples", "unused", Reason.NOT_DRAWN)
    f.add("samples", "unused", Reason.TIMEOUT)
    f.add("steps", "total", count=5).add("steps", "edited", count=4).add("steps", "skipped", Reason.ANSWER_STEP)
    f.add("edits", "total", count=4).add("edits", "rejected", Reason.NO_CHANGE)
    f.add("edits", "proven", "contradiction", count=3).add("edits", "rejected", Reason.NOT_CHOSEN)
    f.add("pairs", "total", count=3).add("pairs", "by_type", "step", count=2).add("pairs", "by_type", "full")
    f.add("pairs", "by_kind", "operator", count=2).add("pairs", "by_evidence", "contradiction", count=2)
    for editor, outcomes in _BY_EDITOR.items():
        for name, count in outcomes.items():
            f.add("edits", "by_editor", editor, name, count=count)
            if name in ("asked", "total", "proven", "pairs", Reason.NO_CHANGE, Reason.NOT_CHOSEN):
                f.add("edits", "by_editor", editor, "kinds", "operator", name, count=count)
    f.add("pairs", "by_editor", "words", count=2).add("edits", "attempts", count=5)
    return f.add_tokens("sample", 100, 40).add_tokens("edit", 300, 20, cached=200)


_BY_EDITOR: dict[str, dict[str, int]] = {
    "words": {
        "asked": 4, "handed_on": 1, "total": 3, Reason.NO_CHANGE: 1, "kept": 2, "proven": 2, "pairs": 2, "attempts": 4,
        "prompt_tokens": 200, "completion_tokens": 20, "cached_tokens": 200,
    },
    "slip": {
        "asked": 1, "total": 1, "kept": 1, "proven": 1, Reason.NOT_CHOSEN: 1, "attempts": 1, "prompt_tokens": 100,
    },
}  # fmt: skip


def test_a_finished_funnel_adds_up_and_says_what_it_cost() -> None:
    funnel = _finished()
    funnel.check()
    assert funnel.figures() == {
        "proven_share_of_edits": 0.75,
        "kept_share_of_edits": 0.75,
        "tokens_per_pair": 460 / 3,
        "cached_share_of_prompt": 0.5,
        "cached_share_of_sample_prompt": 0.0,
        "cached_share_of_edit_prompt": 200 / 300,
    }


def _leaves(counts: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, value in counts.items():
        found += _leaves(value, (*path, name)) if isinstance(value, Mapping) else [(*path, name)]
    return found


@pytest.mark.parametrize("path", [path for path in _leaves(_finished().counts) if path[:2] != ("tokens", "sample")])
@pytest.mark.parametrize("by", [1, -1])
def test_no_count_can_be_off_by_one(path: tuple[str, ...], by: int) -> None:
    """Whatever single count is lost or taken twice, the check says so."""
    funnel = _finished().add(*path, count=by)
    with pytest.raises(FunnelError, match="does not add up"):
        funnel.check()


def test_yields_of_editors_come_from_the_counts() -> None:
    found = editor_yields(_finished().counts)
    assert list(found) == ["words", "slip"]
    assert found["words"] == {
        "asked": 4, "kept": 2, "proven": 2, "pairs": 2, "prompt_tokens": 200, "completion_tokens": 20,
        "proven_share": 0.5, "tokens_per_pair": 110.0,
    }  # fmt: skip
    assert (found["slip"]["proven_share"], found["slip"]["tokens_per_pair"]) == (1.0, None)


def test_an_empty_funnel_adds_up() -> None:
    Funnel().check()
    assert set(Funnel().figures().values()) == {None}


def test_merging_adds_and_changes_neither() -> None:
    one, two = _finished(), _finished()
    before = copy.deepcopy(one.counts)
    both = Funnel.total([one.to_dict(), two.to_dict()])
    both.check()
    assert one.counts == before == two.counts
    assert both.counts["edits"]["total"] == 8
    assert both.counts["tokens"]["edit"] == {"prompt": 600, "completion": 40, "cached": 400}
    assert Funnel.total([one.counts, Funnel().counts]).counts == one.counts
    both.add("edits", "total")
    assert one.counts == before


def test_a_funnel_survives_json() -> None:
    stored = json.loads(json.dumps(_finished().to_dict()))
    assert Funnel.from_dict(stored).counts == json.loads(json.dumps(_finished().counts))
    assert stored["figures"] == _finished().figures()


def test_every_reason_has_a_sentence() -> None:
    assert all(reason.sentence.endswith(".") and len(reason.sentence) < 120 for reason in Reason)


def test_seeds_depend_on_every_part_and_their_order() -> None:
    assert derive_seed("job", 1, "q") == derive_seed("job", 1, "q")
    others = [("job", 1), ("job", "1", "q"), ("q", 1, "job"), ("job", 2, "q"), ("jo", "b", 1, "q"), ("job", 1, "q", "")]
    assert len({derive_seed(*parts) for parts in [("job", 1, "q"), *others]}) == len(others) + 1


def test_seeds_are_the_same_on_every_machine() -> None:
    assert [derive_seed(), derive_seed("errata", 7), derive_seed("é", -1)] == SEEDS


@given(st.lists(st.text() | st.integers(), max_size=5))
def test_seeds_fit_where_seeds_go(parts: list[str | int]) -> None:
    assert 0 <= derive_seed(*parts) < 2**31
