"""What stages count: a shard that an earlier version edited is finished and counted by this one."""

from __future__ import annotations

from errata.funnel import Funnel
from workers.stages.ledger import count_pairs, count_proofs

OLD = {
    "steps": {"total": 4, "edited": 4, "skipped": {}},
    "edits": {
        "total": 4,
        "attempts": 5,
        "rejected": {"no_change": 1},
        "proven": {},
        "by_kind": {"operator": {"total": 4, "tokens": 320, "no_change": 1}},
        "by_form": {},
    },
    "pairs": {"total": 0, "by_type": {}, "by_kind": {}, "by_form": {}, "by_evidence": {}},
    "tokens": {"edit": {"prompt": 300, "completion": 20, "cached": 200}},
}
"""A shard's part of the funnel behind stage ``edit``, as a version wrote it that did not tell editors apart."""


def test_edits_of_before_editors_were_told_apart_are_an_unknown_ones() -> None:
    told = {"evidence_kind": "contradiction", "kind": "operator", "form": None, "editor": None}
    proofs = [{**told, "reason": None}, {**told, "reason": None}, {**told, "reason": "unproven"}]
    pairs = [{**told, "type": "step", "error_kind": "operator"}] * 2
    funnel = Funnel.total([OLD, count_proofs(proofs).counts, count_pairs(pairs, ()).counts])
    funnel.check()
    unknown = funnel.counts["edits"]["by_editor"]["unknown"]
    assert (unknown["asked"], unknown["kept"], unknown["proven"], unknown["pairs"]) == (4, 3, 2, 2)
    assert Funnel.total([funnel.counts]).counts == funnel.counts, "what is counted so is not counted again"
