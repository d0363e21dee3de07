"""Figures become states, and lengths become figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from errata.gates.card import gates_section
from errata.gates.config import GatesConfig, NearDuplicatesGate
from errata.gates.lengths import measure, summary
from errata.gates.report import MOST_ROWS, refusal, report
from errata.output_config import DatasetConfig


@pytest.mark.parametrize(
    ("action", "figure", "state"),
    [
        ("warn", 0.05, "passed"),
        ("warn", 0.051, "warning"),
        ("refuse", 0.05, "passed"),
        ("refuse", 0.051, "refused"),
        ("refuse", None, "not_measured"),
    ],
)
def test_a_figure_above_the_limit_warns_or_refuses(action: str, figure: float | None, state: str) -> None:
    gate = NearDuplicatesGate.model_validate({"action": action, "at_most": 0.05})
    told = report("near_duplicates", gate, figure, "Told.", found=500, rows=[{"problem_id": "p"}] * 500)
    assert told.state == state
    assert len(told.rows) == MOST_ROWS
    assert told.found == 500
    why = refusal([told])
    assert (why is not None) == (state == "refused")
    assert why is None or ("near_duplicates: Told." in why and "'gates.near_duplicates.at_most'" in why)


@pytest.mark.parametrize(
    ("given_", "field"),
    [
        ({"near_duplicates": {"action": "stop"}}, "gates.near_duplicates.action"),
        ({"near_duplicates": {"at_most": 1.5}}, "gates.near_duplicates.at_most"),
        ({"near_duplicate": {}}, "gates.near_duplicate"),
        ({"lengths": {"max_length": 0}}, "gates.lengths.max_length"),
        ({"labels": {"samples": 3}}, "gates.labels.samples"),
        ({"shortcuts": {"at_most": 0.2}}, "gates.shortcuts.at_most"),
    ],
)
def test_a_faulty_configuration_is_refused_by_its_field(given_: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DatasetConfig.model_validate({"jobs": ["inj_1"], "gates": given_})
    assert [".".join(map(str, error["loc"])) for error in caught.value.errors()] == [field]


def test_datasets_of_before_have_the_default_gates() -> None:
    assert DatasetConfig.model_validate({"jobs": ["inj_1"]}).gates == GatesConfig()


def test_lengths_by_a_counter_of_words() -> None:
    pairs = [("a", "one two", "x y z", "x y w v"), ("b", "one", "p", "q")]
    found = measure(pairs, lambda texts: [len(text.split()) for text in texts])
    assert [(each.pair_id, each.whole, each.error) for each in found] == [("a", 6, 4), ("b", 2, 1)]
    told = summary(found, 3)
    assert (told["over_max_length"], told["error_cut_off"], told["longest"]) == (0.5, 0.5, 6)
    assert summary(found, 5)["error_cut_off"] == 0


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), min_size=1, max_size=8), st.integers(1, 50))
def test_an_error_lies_inside_its_pair(texts: list[tuple[str, str, str]], limit: int) -> None:
    pairs = [(str(at), *row) for at, row in enumerate(texts)]
    found = measure(pairs, lambda given_: [len(text) for text in given_])
    assert all(each.error <= each.whole for each in found)
    told = summary(found, limit)
    assert told["measured"] == len(texts)
    assert list(told["over"].values()) == sorted(told["over"].values(), reverse=True)


def test_the_card_lists_gates_and_the_evidence_of_warnings() -> None:
    gate = NearDuplicatesGate(at_most=0.01)
    rows = [{"problem_id": f"p{at}", "question": "a|b\nc"} for at in range(30)]
    told = {
        "near_duplicates": report("near_duplicates", gate, 0.5, "Half.", found=30, rows=rows).as_dict(),
        "duplicate_pairs": report("duplicate_pairs", gate, None, "None.", rows=rows).as_dict(),
    }
    card = "\n".join(gates_section(told))
    assert "| near-duplicate questions | **warning** | 50.00% | 1.00% | Half. |" in card
    assert "| duplicate pairs | not measured |  | 1.00% | None. |" in card
    assert card.count("problem\\_id: p") == 10
    assert "10 of 30 rows" in card
    assert "a\\|b c" in card
    assert gates_section(None) == []
