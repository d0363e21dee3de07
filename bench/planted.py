"""What the gates find of what is planted in real pairs: ``python -m bench.planted FILE [--every N] [--json]``.

FILE holds problems with reference solutions as JSON lines, as bench.rule_edits reads them. Step pairs are made of them
by rules. Then the gates look at them as they are, and with one fault planted at a time:

    shortcuts      rejected sides end with a mark; only 4 of 10 do; rejected sides are longer, in their own words
    labels         sides swapped; a rejected side without an error; a gold answer that is not right
    contamination  a quarter of the questions stands in a benchmark, in other spacing

For each is printed what share was found: the AUC of the shortcut audit with its threshold, the share of wrong labels
told, the share of planted questions told. ``clean`` are the same figures of pairs as they are.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.rule_edits import RulePair, all_pairs, read
from errata.answers import judge
from errata.audit import AuditPair, AuditSample, audit
from errata.config import resolve
from errata.gates.contamination import Benchmarks
from errata.gates.labels import Label, LabelCheck
from errata.steps import split_steps
from errata.types import Domain

_MARK = " Indeed."


def check_of(pair: RulePair) -> LabelCheck:
    """What the label of a pair made by rules rests on."""
    problem, text = replace(pair.brought.problem, gold_solution=pair.brought.solution), pair.brought.solution
    steps = split_steps(text, Domain.MATH)
    step = next(step for step in steps if text[step.start : step.end] == pair.original)
    return LabelCheck(
        type="step",
        problem=problem,
        domain=Domain.MATH,
        chosen=pair.original,
        rejected=pair.edited,
        solution=text,
        original=pair.original,
        edited=pair.edited,
        start=step.start,
        step_index=step.index,
        evidence=pair.evidence.kind,
        detail=pair.evidence.detail,
    )


def label_of(check: LabelCheck) -> Label:
    """What a check comes to, with real verdicts."""
    verdicts = {role: judge(check.problem, text, check.domain).verdict for role, text in check.texts.items()}
    return check.result(verdicts)[0]


def swapped(check: LabelCheck) -> LabelCheck:
    """The wrong side chosen."""
    return replace(check, chosen=check.rejected, rejected=check.chosen, original=check.edited, edited=check.original)


def harmless(check: LabelCheck) -> LabelCheck:
    """A rejected side without an error."""
    return replace(check, rejected=check.chosen, edited=f"{check.original} ")


def misjudged(check: LabelCheck) -> LabelCheck:
    """A gold answer that is not right."""
    return replace(check, problem=replace(check.problem, gold_answer="-123456"))


def marked(text: str) -> str:
    """The text with a mark at its end, before its white space."""
    body = text.rstrip()
    return f"{body}{_MARK}{text[len(body) :]}"


def longer(text: str) -> str:
    """The text with its own first words once more at its end: longer, and without a word that others have not."""
    body = text.rstrip()
    words = re.findall(r"\S+", body)
    return f"{body} {' '.join(words[: max(4, len(words) // 3)])}{text[len(body) :]}"


SHORTCUTS: dict[str, Callable[[str, int], str]] = {
    "clean": lambda text, _: text,
    "mark": lambda text, _: marked(text),
    "mark_on_4_of_10": lambda text, at: marked(text) if at % 10 < 4 else text,
    "longer": lambda text, _: longer(text),
}
LABELS: dict[str, Callable[[LabelCheck], LabelCheck]] = {
    "clean": lambda check: check,
    "swapped": swapped,
    "harmless": harmless,
    "misjudged": misjudged,
}


def shortcut(checks: Sequence[LabelCheck], planted: Callable[[str, int], str]) -> Any:
    """The report of the audit on pairs whose rejected sides were changed so."""
    sample = AuditSample()
    for at, check in enumerate(checks):
        sample.add(AuditPair(check.problem.question, check.chosen, planted(check.rejected, at)))
    return audit(sample.pairs(), "step")


def wrong_labels(checks: Sequence[LabelCheck], planted: Callable[[LabelCheck], LabelCheck]) -> float:
    """The share of the pairs, changed so, whose label is told to be wrong."""
    return sum(label_of(planted(check)) is Label.WRONG for check in checks) / len(checks)


def contaminated(questions: Sequence[str], benchmark: Sequence[str]) -> float:
    """The share of the questions that are told to stand in a benchmark."""
    index = Benchmarks()
    for each in benchmark:
        index.add(each)
    index.seal()
    hits = [index.hit(question, benchmark.__getitem__) for question in questions]
    return sum(hit is not None and hit.is_contaminated for hit in hits) / len(questions)


def respaced(question: str, rng: random.Random) -> str:
    """The question with other white space."""
    return re.sub(r"(?<=\w) (?=\w)", lambda _: rng.choice([" ", "  ", "\n"]), f" {question} ")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take one problem of so many")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    given = parser.parse_args(arguments)
    problems = read(given.file)[:: given.every]
    checks = [check_of(pair) for pair in all_pairs(problems, resolve("rules", None))]
    questions, rng = [each.problem.question for each in problems], random.Random(0)
    planted, others = questions[::4], [question for at, question in enumerate(questions) if at % 4]
    found: dict[str, Any] = {
        "problems": len(problems),
        "pairs": len(checks),
        "shortcuts": {
            name: {"auc": round(told.auc, 3), "threshold": told.threshold, "shortcut": told.shortcut}
            for name, make in SHORTCUTS.items()
            if (told := shortcut(checks, make)).auc is not None
        },
        "labels": {name: round(wrong_labels(checks, make), 4) for name, make in LABELS.items()},
        "contamination": {
            "clean": round(contaminated(others, planted), 4),
            "planted": round(contaminated([respaced(question, rng) for question in planted], planted), 4),
        },
    }
    print(json.dumps(found) if given.json else json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
