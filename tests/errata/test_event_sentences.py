"""Events as sentences: those that are known, those of other versions, and those that lack something."""

from __future__ import annotations

import pytest

from errata.event_sentences import sentence_of


@pytest.mark.parametrize(
    ("kind", "data", "sentence"),
    [
        ("queued", {"shards": 1200}, "It waits, in 1,200 shards."),
        ("queued", {"shards": 1}, "It waits, in 1 shard."),
        ("queued", {}, "It waits for a trainer."),
        (
            "stopped",
            {"limit": "accepted_pairs", "at": 50, "reached": 57},
            "It reached its limit: 57 of 50 pairs. Nothing new starts.",
        ),
        ("limits_changed", {}, "It now has no limits."),
        (
            "succeeded",
            {"partial": True, "error": "1 of 2 shards"},
            "It succeeded without some of its shards. 1 of 2 shards",
        ),
        ("failed", {"error": "boom"}, "It failed: boom"),
        ("training.cancelled", {"kept": True}, "It ended, cancelled. Its checkpoints are kept."),
        ("training.running", {"total_steps": 1500}, "It trains: 1,500 steps."),
        ("training.running", {"total_steps": "many"}, "Training: running: total steps many."),
        ("shard_failed", {"stage": "edit"}, "Shard failed: stage edit."),
        ("of_tomorrow", {"why": {"a": 1, "b": [2, 3]}}, "Of tomorrow: why a 1, b 2, 3."),
        ("progress", {"fraction": 0.25}, "It is at 25%."),
    ],
)
def test_an_event_is_told_in_a_sentence(kind: str, data: dict[str, object], sentence: str) -> None:
    assert sentence_of(kind, data) == sentence
