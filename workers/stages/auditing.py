"""The shortcut audit of a dataset while it is frozen: its pairs stream past, a bounded sample of them is looked at."""

from __future__ import annotations

import importlib
from typing import Any

from models.jobs import PairRow


class Auditor:
    """Collects the sides of pairs per type, and reports on them at the end.

    scikit-learn takes seconds to load and nothing else needs it: it is loaded here, when the first dataset is frozen.
    """

    def __init__(self) -> None:
        self._module = importlib.import_module("errata.audit")
        self._samples: dict[str, Any] = {}

    def add(self, pair: PairRow) -> None:
        """Offer one pair. Pairs of one question stay together, whatever job or problem row they come from."""
        sample = self._samples.setdefault(pair.type, self._module.AuditSample())
        sample.add(self._module.AuditPair(" ".join(pair.question.split()), pair.chosen, pair.rejected))

    def report(self) -> dict[str, Any]:
        """Per pair type what a classifier reached that never sees the question (errata.audit), as JSON values."""
        return {
            type_: self._module.audit(sample.pairs(), type_).as_dict()
            for type_, sample in sorted(self._samples.items())
        }
