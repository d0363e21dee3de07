"""What a freeze tells of the rests of pairs: how many of which kind, how long, left out why, told apart how well."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

import pyarrow as pa

from errata.rests import LeftOut, Rest, RestKind
from workers.stages.bulk_reading import text_list


@lru_cache(maxsize=256)  # the pairs of a problem come one after the other
def one_line(question: str) -> str:
    """A question without its line breaks and double spaces: what the audit tells problems apart by."""
    return " ".join(question.split())


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

    def add_table(self, table: pa.Table, rests: Sequence[Rest | None]) -> None:
        """Count a table of pairs with their rests. None: no whole shape is written, so that rests were not looked for.

        The audit takes step pairs alone: full pairs are audited as such.
        """
        columns = (text_list(table[name]) for name in ("type", "question", "chosen", "rejected"))
        for rest, type_, question, chosen, rejected in zip(rests, *columns, strict=True):
            if rest is None:
                continue
            if rest.kind is None:
                self._left_out.update(() if rest.why is None else (rest.why,))
                continue
            self._pairs[rest.kind] += 1
            if type_ == "step":
                self._add_step(rest.kind, one_line(question), chosen, rejected, rest)

    def _add_step(self, kind: RestKind, problem: str, chosen: str, rejected: str, rest: Rest) -> None:
        lengths = self._lengths.setdefault(kind, Counter())
        lengths["steps"] += 1
        lengths["chosen"] += len(rest.chosen)
        lengths["rejected"] += len(rest.rejected)
        lengths["longer"] += len(rest.rejected) > len(rest.chosen)
        if kind not in self._samples:
            self._samples[kind] = self._module.AuditSample(self._module.KIND_MAX_PAIRS)
        sides = (chosen + rest.chosen, rejected + rest.rejected)
        self._samples[kind].offer(self._module.audit_rank(problem, *sides), problem, *sides)

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
