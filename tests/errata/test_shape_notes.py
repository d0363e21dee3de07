"""What is said of datasets whose pairs have few whole forms."""

from __future__ import annotations

from errata.output_config import ShapeName
from errata.rests import LeftOut
from errata.shapes.notes import whole_notes

SHAPES: list[ShapeName] = ["steps_and_full", "whole_conversational", "sft_conversational"]


def test_nothing_is_said_where_most_pairs_are_whole_or_nobody_asked() -> None:
    assert whole_notes(6, {LeftOut.NO_REST: 4}, SHAPES, "whole_conversational") == []
    assert whole_notes(0, {LeftOut.NO_REST: 4}, ["steps_and_full", "trl"], None) == []
    assert whole_notes(0, {}, SHAPES, None) == []


def test_every_reason_is_told_with_what_helps() -> None:
    left_out = {LeftOut.CUT: 1, LeftOut.ANSWER_STAYS: 5, LeftOut.NO_REST: 3}
    first, *others = whole_notes(0, left_out, SHAPES, "sft_conversational")
    assert first.startswith("None of the 9 pairs have a whole form, so `whole_conversational` holds no rows.")
    assert "`sft_conversational`: correct samples to imitate, no preferences" in first
    assert [note.split()[0] for note in others] == ["5", "3", "1"]
    for note, helps in zip(others, ("whole_right_answers", "proof.continuations.when", "max_tokens"), strict=True):
        assert helps in note
    assert "gives nothing" in whole_notes(0, left_out, SHAPES, None)[0]
    assert whole_notes(2, left_out, SHAPES, "whole")[0].startswith("Only 2 of 11 pairs have a whole form")
