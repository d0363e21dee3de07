"""What rules make of real solutions: ``python -m bench.rule_edits FILE... [--json]``.

Each FILE holds problems with reference solutions as JSON lines, of GSM8K (``question``, ``answer``) or MATH
(``problem``, ``solution``, ``type``). Every solution goes through what an injection job with the preset ``rules`` does
with solutions
that are brought: verdict and selection, planning, rule-made edits, screening, proof. No database, no model.

Printed per file: the share of problems with a proven step pair, by subject and by evidence, and the audit of every
error kind in each form with enough pairs. ``misreading`` counts for nothing here, since no rule can prove it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errata.answers import judge
from errata.answers.boxes import find_boxes
from errata.audit import KIND_MAX_PAIRS, AuditPair, AuditSample, audit_kinds
from errata.config import InjectionConfig, resolve
from errata.identity import Context
from errata.injection import plan_edits
from errata.proof import Outcome, prove_edit
from errata.replay import ReplayOutcome, prove_replay, replay
from errata.rule_edits import rule_edit
from errata.screening import screen
from errata.seeds import derive_seed
from errata.selection import Sample, select
from errata.steps import split_steps
from errata.types import Domain, Evidence, EvidenceKind, Form, Problem


@dataclass(frozen=True, slots=True)
class Brought:
    """A problem and the solution that is brought for it."""

    problem: Problem
    solution: str


@dataclass(frozen=True, slots=True)
class RulePair:
    """One proven edit: the step before and after."""

    brought: Brought
    kind: str
    form: Form
    original: str
    edited: str
    evidence: Evidence

    @property
    def is_identity(self) -> bool:
        """Whether an identity of algebra proves it."""
        return self.evidence.kind is EvidenceKind.IDENTITY


def read(path: Path) -> list[Brought]:
    """The problems of a file. Raises ValueError for a row that is neither GSM8K's nor MATH's."""
    return [_brought(json.loads(line), path) for line in path.read_text().splitlines() if line.strip()]


def _brought(row: dict[str, Any], path: Path) -> Brought:
    if "answer" in row and "question" in row:
        gold = row["answer"].rpartition("####")[2].strip()
        return Brought(Problem(row["question"], gold, subject="GSM8K"), row["answer"])
    if "solution" in row and "problem" in row:
        boxes = find_boxes(row["solution"])
        gold = boxes[-1].content if boxes else ""
        return Brought(Problem(row["problem"], gold, subject=row.get("type")), row["solution"])
    raise ValueError(f"{path}: a row needs 'question' and 'answer', or 'problem' and 'solution'; it has {sorted(row)}")


def usable(brought: Brought, config: InjectionConfig) -> bool:
    """Whether a job would edit the solution: its answer is gold, and it admits no mistake."""
    found = judge(brought.problem, brought.solution, Domain.MATH)
    sample = Sample(0, brought.solution, found.verdict, found.extracted, "stop")
    return select([sample], config.selection, brought.problem.question, 0, config.thoughts.markers).correct is not None


def rule_pairs(brought: Brought, config: InjectionConfig) -> Iterator[RulePair]:
    """The proven edits of one solution, as the stages ``grade`` to ``prove`` make them, with their seeds."""
    text, problem = brought.solution, brought.problem
    steps = split_steps(text, Domain.MATH, config.thoughts.in_steps)
    seed = derive_seed(config.seed, "plan", problem.question, text)
    for planned in plan_edits(text, steps, config, Domain.MATH, seed, problem).edits:
        step = steps[planned.step]
        drawn = derive_seed(config.seed, "rule", text, planned.step, planned.kind)
        edited = rule_edit(
            text, steps, planned.step, planned.kind, drawn, Domain.MATH, problem, planned.unit, planned.form
        )
        original = text[step.start : step.end]
        if edited is None or not screen(original, edited, problem.question, config.screening).kept:
            continue
        claim = replay(problem.question, problem.gold_answer, text, planned.step, edited)
        answered = None
        if claim.outcome is not ReplayOutcome.OPEN and claim.text is not None:
            answered = judge(problem, claim.text, Domain.MATH).verdict
        context = Context(problem.question, text, step.start)
        proof = prove_edit(original, edited, context=context, replayed=prove_replay(claim, answered))
        if proof.outcome is Outcome.PROVEN:
            yield RulePair(brought, planned.kind, planned.form, original, edited, proof.evidence)


def all_pairs(problems: Iterable[Brought], config: InjectionConfig) -> list[RulePair]:
    """The proven edits of every solution that a job would edit."""
    return [pair for brought in problems if usable(brought, config) for pair in rule_pairs(brought, config)]


def coverage(problems: Sequence[Brought], pairs: Sequence[RulePair]) -> dict[str, Any]:
    """How many problems have a pair, by subject, and how many of them by an identity alone."""
    by_subject = Counter(brought.problem.subject or "" for brought in problems)
    paired = {id(pair.brought): pair.brought for pair in pairs}
    otherwise = {id(pair.brought) for pair in pairs if not pair.is_identity}
    subjects = Counter(brought.problem.subject or "" for brought in paired.values())
    return {
        "problems": len(problems),
        "paired": len(paired),
        "share": round(len(paired) / len(problems), 4),
        "by_identity_alone": len(paired) - len(otherwise),
        "subjects": {name: [subjects[name], count] for name, count in sorted(by_subject.items())},
        "pairs": len(pairs),
        "evidence": dict(sorted(Counter(str(pair.evidence.kind) for pair in pairs).items())),
        "kinds": dict(sorted(Counter(f"{pair.kind}/{pair.form}" for pair in pairs).items())),
    }


def audited(pairs: Sequence[RulePair]) -> list[dict[str, Any]]:
    """The shortcut audit of each kind and form with enough pairs (errata.audit)."""
    samples: dict[tuple[str, str], AuditSample] = {}
    for pair in pairs:
        sample = samples.setdefault((pair.kind, str(pair.form)), AuditSample(KIND_MAX_PAIRS))
        sample.add(AuditPair(pair.brought.problem.question, pair.original, pair.edited))
    return audit_kinds(samples)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures of each file."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.rule_edits", description="Rule-made edits of real solutions."
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--kind", help="only this error kind, so that it gets enough pairs to be audited")
    parser.add_argument("--json", action="store_true", help="one JSON line per file")
    options = parser.parse_args(arguments)
    config = resolve("rules", {"editing": {"kinds": {options.kind: 1.0}}} if options.kind else None)
    for path in options.files:
        problems = read(path)
        pairs = all_pairs(problems, config)
        figures = {"file": path.name, **coverage(problems, pairs), "audit": audited(pairs)}
        sys.stdout.write(json.dumps(figures) + "\n" if options.json else "\n".join(_lines(figures)) + "\n")


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    yield f"{figures['file']}: {figures['paired']} of {figures['problems']} problems ({figures['share']:.1%})"
    yield f"  by an identity alone: {figures['by_identity_alone']}; pairs by evidence: {figures['evidence']}"
    yield from (f"  {name}: {n} of {of} ({n / of:.0%})" for name, (n, of) in figures["subjects"].items())
    yield f"  pairs: {figures['kinds']}"
    for group in figures["audit"]:
        told = f"AUC {group['auc']:.3f} ({group['low']:.3f} to {group['high']:.3f})"
        yield f"  {group['kind']}, {group['form']}: {told} on {group['pairs']} pairs; {', '.join(group['clues'])}"


if __name__ == "__main__":
    main()
