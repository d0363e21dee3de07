"""What a freeze tells of the rests of pairs: how many of which kind, how long, left out why, told apart how well."""

from __future__ import annotations

import importlib
from collections import Counter
from functools import cached_property
from typing import Any

from errata.rests import LeftOut, RestKind
from errata.shapes import PairRecord


class RestTally:
    """Counts pairs by their rest while they stream past; the audit looks at a bounded number of each kind."""

    def __init__(self) -> None:
        self.left_out_samples: Counter[LeftOut] = Counter()
        self._pairs: Counter[RestKind] = Counter()
        self._left_out: Counter[LeftOut] = Counter()
        self._lengths: dict[RestKind, Counter[str]] = {}
        self._samples: dict[RestKind, Any] = {}

    @cached_property
    def _module(self) -> Any:
        return importlib.import_module("errata.audit")  # scikit-learn takes seconds to load

    def add(self, pair: PairRecord) -> None:
        """Count one pair. Nothing is counted where no whole shape is written: then rests are not looked for."""
        rest = pair.rest
        if rest is None or rest.kind is None:
            if rest is not None and rest.why is not None:
                self._left_out[rest.why] += 1
            return
        self._pairs[rest.kind] += 1
        if pair.type != "step":  # audited as full pairs are
            return
        lengths = self._lengths.setdefault(rest.kind, Counter())
        lengths.update(steps=1, chosen=len(rest.chosen), rejected=len(rest.rejected))
        lengths["longer"] += len(rest.rejected) > len(rest.chosen)
        if rest.kind not in self._samples:
            self._samples[rest.kind] = self._module.AuditSample(self._module.KIND_MAX_PAIRS)
        sides = (pair.chosen + rest.chosen, pair.rejected + rest.rejected)
        self._samples[rest.kind].add(self._module.AuditPair(" ".join(pair.question.split()), *sides))

    def report(self) -> dict[str, Any]:
        """As JSON values, for the manifest. Lengths are mean characters behind the step, of step pairs alone."""
        return {
            "pairs": dict(sorted((str(kind), count) for kind, count in self._pairs.items())),
            "left_out": dict(sorted((str(why), count) for why, count in self._left_out.items())),
            "left_out_samples": dict(sorted((str(why), count) for why, count in self.left_out_samples.items())),
            "rests": [self._of_kind(kind) for kind in sorted(self._samples)],
        }

    def _of_kind(self, kind: RestKind) -> dict[str, Any]:
        lengths = self._lengths[kind]
        count = lengths["steps"]
        told = {
            "kind": str(kind),
            "pairs": count,
            "chosen_characters": round(lengths["chosen"] / count, 1),
            "rejected_characters": round(lengths["rejected"] / count, 1),
            "rejected_longer": round(lengths["longer"] / count, 4),
        }
        return told | dict(self._module.audit_rests(self._samples[kind]))
