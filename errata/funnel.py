"""The funnel: what became of every problem, sample, step and edit of a job. It adds up, or ``check`` says where.

    problems = kept + dropped (by reason)
    samples  = correct + incorrect + unparsable + timeout      = drawn (by role) + unused (by reason)
    steps    = edited + skipped (by reason)
    edits    = rejected (by reason) + proven (by evidence)     proven = step pairs + not chosen
    edits of an editor: asked = handed on + its own;  its own = rejected + proven;  all editors' own = edits
    pairs    = step + full;  step pairs by kind, by editor and by evidence add up to the step pairs

``samples.spared`` counts samples within the limit that adaptive sampling did not need; they are no samples.
Edits are counted by kind, and by form and kind; pairs by form, too (edits of before forms were known: as ``stands``).
``edits.by_editor`` has for each editor how often it was ``asked`` for an edit, how many it ``handed_on`` to the next
one, its ``attempts`` and tokens, how many it ``kept`` past screening, and what became of its own edits, all together
and by ``kinds``. Edits of before editors were known are ``unknown``'s.
Tokens are counted per stage, and per error kind for edits; ``figures`` derives shares and tokens per pair. A stage's
``reused`` tokens were generated for earlier requests, and are no part of the others.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from errata.types import EvidenceKind, Reason, Verdict

Counts = dict[str, Any]
UNKNOWN_EDITOR = "unknown"
_TOKENS = ("prompt", "completion", "cached")
_REFUTED = (Reason.FALSE_NEGATIVE, Reason.UNPROVEN, Reason.NO_REST)  # by proof, so behind screening
_EDITS_BY = ("kind", "form", "editor")


class FunnelError(AssertionError):
    """The funnel does not add up: something was lost or counted twice."""


def _empty() -> Counts:
    return {
        "problems": {"total": 0, "kept": 0, "dropped": {}},
        "samples": {"total": 0, "verdicts": {}, "drawn": {}, "unused": {}, "labels": {}},
        "steps": {"total": 0, "edited": 0, "skipped": {}},
        "edits": {"total": 0, "attempts": 0, "rejected": {}, "proven": {}} | {f"by_{name}": {} for name in _EDITS_BY},
        "pairs": {"total": 0} | {f"by_{name}": {} for name in ("type", *_EDITS_BY, "evidence")},
        "tokens": {},
    }


class Funnel:
    """Counts in a nested dictionary of integers; funnels of shards are added to give their job's."""

    def __init__(self, counts: Counts | None = None) -> None:
        self.counts = _empty()
        _add(self.counts, counts or {})

    def add(self, *path: str, count: int = 1) -> Funnel:
        """Add ``count`` at ``path``, for example ``add("edits", "rejected", Reason.NO_CHANGE)``."""
        node = self.counts
        for name in path[:-1]:
            node = node.setdefault(str(name), {})
        node[str(path[-1])] = node.get(str(path[-1]), 0) + count
        return self

    def add_tokens(self, stage: str, prompt: int, completion: int, cached: int = 0) -> Funnel:
        """Add tokens spent in one stage; ``cached`` are those of ``prompt`` a prefix cache served."""
        for name, count in (("prompt", prompt), ("completion", completion), ("cached", cached)):
            self.add("tokens", stage, name, count=count)
        return self

    @classmethod
    def total(cls, parts: Iterable[Mapping[str, Any]]) -> Funnel:
        """The sum of parts, each as ``to_dict`` wrote it; none is changed."""
        funnel = cls()
        for part in parts:
            _add(funnel.counts, {name: value for name, value in _attributed(part).items() if name != "figures"})
        return funnel

    def to_dict(self) -> Counts:
        """Counts and ``figures``, as JSON values."""
        return {**copy.deepcopy(self.counts), "figures": self.figures()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Funnel:
        """The funnel that ``to_dict`` wrote."""
        return cls.total([data])

    def figures(self) -> dict[str, float | None]:
        """Shares of proven edits and of tokens: None where nothing was counted.

        ``cached_share_of_prompt`` is what the engine's prefix cache served of all prompt tokens, and
        ``cached_share_of_edit_prompt`` (one per stage that asked an engine) of that stage's.
        """
        counts = self.counts
        by_stage = {
            f"cached_share_of_{stage}_prompt": _share(spent["cached"], spent["prompt"])
            for stage, spent in counts["tokens"].items()
        }
        proven = sum(n for kind, n in counts["edits"]["proven"].items() if kind != EvidenceKind.UNPROVEN)
        spent = sum(stage["prompt"] + stage["completion"] for stage in counts["tokens"].values())
        prompts = sum(stage["prompt"] for stage in counts["tokens"].values())
        return {
            "proven_share_of_edits": _share(proven, counts["edits"]["total"]),
            "kept_share_of_edits": _share(sum(counts["edits"]["proven"].values()), counts["edits"]["total"]),
            "tokens_per_pair": _share(spent, counts["pairs"]["total"]),
            "cached_share_of_prompt": _share(sum(s["cached"] for s in counts["tokens"].values()), prompts),
            **by_stage,
        }

    def check(self) -> None:
        """Raise FunnelError unless every line of the module's table adds up. For finished jobs and shards."""
        c = self.counts
        samples, edits, pairs = c["samples"], c["edits"], c["pairs"]
        not_chosen = edits["rejected"].get(Reason.NOT_CHOSEN, 0)
        proven, step_pairs = sum(edits["proven"].values()), pairs["by_type"].get("step", 0)
        lines = {
            "problems": (c["problems"]["total"], c["problems"]["kept"] + sum(c["problems"]["dropped"].values())),
            "verdicts": (samples["total"], sum(samples["verdicts"].get(v, 0) for v in Verdict)),
            "samples": (samples["total"], sum(samples["drawn"].values()) + sum(samples["unused"].values())),
            "steps": (c["steps"]["total"], c["steps"]["edited"] + sum(c["steps"]["skipped"].values())),
            "edited": (c["steps"]["edited"], edits["total"]),
            # An edit that was proven and then not chosen is rejected too, and counts once, as proven.
            "edits": (edits["total"], sum(edits["rejected"].values()) - not_chosen + proven),
            "proven": (proven, step_pairs + not_chosen),
            "pairs": (pairs["total"], sum(pairs["by_type"].values())),
            "pairs by kind": (step_pairs, sum(pairs["by_kind"].values())),
            "pairs by editor": (step_pairs, sum(pairs["by_editor"].values())),
            "pairs by evidence": (step_pairs, sum(pairs["by_evidence"].values())),
            **self._editor_lines(),
        }
        wrong = {name: line for name, line in lines.items() if line[0] != line[1]}
        if wrong:
            raise FunnelError(f"the funnel does not add up: {wrong}")

    def _editor_lines(self) -> dict[str, tuple[int, int]]:
        """What must be equal for each editor, and for all of them together."""
        edits, told = self.counts["edits"], self.counts["tokens"].get("edit", {})
        editors: Mapping[str, Counts] = edits["by_editor"]
        lines = {f"{editor}: {name}": line for editor, own in editors.items() for name, line in _lines_of(own).items()}
        wholes = {"total": edits["total"], "attempts": edits["attempts"]}
        wholes |= {f"{name}_tokens": told.get(name, 0) for name in _TOKENS}
        for name, whole in wholes.items():
            lines[f"{name} of all editors"] = (whole, sum(own.get(name, 0) for own in editors.values()))
        return lines


def _lines_of(own: Counts) -> dict[str, tuple[int, int]]:
    """What must be equal for one editor."""
    total, proven = own.get("total", 0), own.get("proven", 0) + own.get("unproven_kept", 0)
    refuted = sum(own.get(reason, 0) for reason in _REFUTED)
    kinds = list(own.get("kinds", {}).values())
    outcomes = {name for counts in kinds for name in counts}
    by_kind = {f"{name} by kind": (own.get(name, 0), sum(kind.get(name, 0) for kind in kinds)) for name in outcomes}
    return {
        "asked": (own.get("asked", 0), own.get("handed_on", 0) + total),
        "edits": (total, proven + sum(own.get(reason, 0) for reason in Reason if reason != Reason.NOT_CHOSEN)),
        "kept": (own.get("kept", 0), proven + refuted),
        "proven": (proven, own.get("pairs", 0) + own.get(Reason.NOT_CHOSEN, 0)),
        **by_kind,
    }


def editor_yields(counts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What each editor was asked for and gave, from a funnel's counts; in the order in which they were asked.

    ``asked`` edits, of which it made ``kept`` past screening and ``proven`` wrong, and ``pairs`` of them; with its
    tokens, ``proven_share`` of what it was asked for, and ``tokens_per_pair``: None where nothing was asked or made.
    """
    found = {}
    asked = counts["edits"].get("by_editor", {})
    for editor in sorted(asked, key=lambda name: -asked[name].get("asked", 0)):
        names = ("asked", "kept", "proven", "pairs", "prompt_tokens", "completion_tokens")
        told: dict[str, Any] = {name: asked[editor].get(name, 0) for name in names}
        spent = told["prompt_tokens"] + told["completion_tokens"]
        told["proven_share"] = _share(told["proven"], told["asked"])
        found[editor] = {**told, "tokens_per_pair": _share(spent, told["pairs"])}
    return found


def _attributed(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of before editors were told apart, with its edits as those of an unknown one."""
    edits = part.get("edits") or {}
    if "by_editor" in edits or not edits.get("total"):
        return part
    tokens = part.get("tokens", {}).get("edit", {})
    unknown: Counts = {f"{name}_tokens": tokens.get(name, 0) for name in _TOKENS}
    unknown |= {"asked": edits["total"], "attempts": edits.get("attempts", 0)}
    kinds: Counts = edits.get("by_kind", {})
    for counted in kinds.values():
        _add(unknown, counted)
    screened = sum(unknown.get(reason, 0) for reason in Reason if reason not in (*_REFUTED, Reason.NOT_CHOSEN))
    unknown |= {"kinds": copy.deepcopy(kinds), "kept": edits["total"] - screened}
    pairs: Counts = part.get("pairs", {})
    made = {UNKNOWN_EDITOR: pairs.get("by_type", {}).get("step", 0)}
    known = {"edits": {**edits, "by_editor": {UNKNOWN_EDITOR: unknown}}, "pairs": {**pairs, "by_editor": made}}
    return {**part, **known}


def _add(counts: Counts, more: Mapping[str, Any]) -> None:
    """Add in place: a large job has tens of thousands of parts."""
    for name, value in more.items():
        if isinstance(value, Mapping):
            _add(counts.setdefault(name, {}), value)
        else:
            counts[name] = counts.get(name, 0) + value


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
