"""Pace of the core against another checkout: ``python -m bench.rules_pace --other ../parent [--json]``.

GSM8K solutions are judged, cut into steps, planned with the preset ``rules``, edited and proven, by this checkout and
by the other one, each in a process of its own. They take turns, chunk by chunk, and only their own CPU seconds are
counted, so other work on the machine hurts neither more. ``ratio`` is the other's seconds by this one's: 2 is twice
its pace. ``ratio_form_stands`` is the same without consistent edits, which a checkout from before them has not.

``same_outputs`` says whether both made the same verdicts, steps, plans, edits and proofs, by a hash of all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "gsm8k"
FORMS: dict[str, dict[str, Any]] = {"default": {}, "stands": {"editing": {"form": {"stands": 1.0}}}}


def solutions(folder: Path, count: int) -> list[tuple[str, str, str]]:
    """Up to ``count`` triples of question, gold answer and a solution: reference solutions, then those of models."""
    found: list[tuple[str, str, str]] = []
    for line in (folder / "train-1000.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.append((row["question"], row["answer"].rpartition("#### ")[2].strip(), row["answer"]))
    for line in (folder / "model-solutions-400.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        gold = row["ground_truth"].rpartition("A: ")[2].strip()
        found += [(row["question"], gold, v["solution"]) for v in row.values() if isinstance(v, dict)]
    return found[:count]


def worked(question: str, gold: str, text: str, overrides: dict[str, Any]) -> list[Any]:
    """All that a job with the preset ``rules`` makes of one solution. Knows the names of earlier versions, too."""
    from errata import injection
    from errata.answers import judge
    from errata.proof import prove_edit
    from errata.steps import split_steps
    from errata.types import Domain, Problem

    # Where rules were part of the plan's module, an edit was a pair and had one form.
    units = hasattr(injection, "PlannedEdit")
    rule_edit = importlib.import_module("errata.rule_edits" if units else "errata.injection").rule_edit
    resolve = importlib.import_module("errata.config" if units else "errata.presets").resolve
    problem = Problem(question, gold)
    verdict = judge(problem, text, Domain.MATH).verdict
    steps = split_steps(text)
    made: list[Any] = [str(verdict), [(step.start, step.end, step.body_start) for step in steps]]
    config = resolve("rules", overrides if units else {})
    seed = zlib.crc32(text.encode())
    plan = injection.plan_edits(text, steps, config, Domain.MATH, seed, problem)
    made.append(sorted((at, str(reason)) for at, reason in plan.skipped.items()))
    for planned in plan.edits:
        step: Any = planned
        at, kind = (step.step, step.kind) if units else step
        more = (step.unit, step.form) if units else ()
        original = text[steps[at].start : steps[at].end]
        edited = rule_edit(text, steps, at, kind, seed + at, Domain.MATH, problem, *more)
        proof = prove_edit(original, edited)
        if units and str(proof.outcome) != "proven":
            replays = importlib.import_module("errata.replay")
            found = replays.replay(question, gold, text, at, edited)
            answer = None if found.text is None else judge(problem, found.text, Domain.MATH).verdict
            proof = prove_edit(original, edited, replayed=replays.prove_replay(found, answer))
        made.append((at, kind, str(more), edited, str(proof.outcome), str(proof.evidence.kind)))
    return made


def serve(folder: Path, count: int) -> None:
    """One side: for each line ``[first, last, form]`` works on these solutions and says the CPU seconds it took."""
    rows = solutions(folder, count)
    for line in sys.stdin:
        first, last, form = json.loads(line)
        started = time.process_time()
        made = [worked(*row, FORMS[form]) for row in rows[first:last]]
        spent = time.process_time() - started
        print(json.dumps([spent, hashlib.sha256(repr(made).encode()).hexdigest()]), flush=True)


@contextlib.contextmanager
def side(checkout: Path, folder: Path, count: int) -> Iterator[subprocess.Popen[str]]:
    """A process that works with the package of ``checkout``."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONHASHSEED": "0"}
    command = [sys.executable, str(Path(__file__)), "--serve", "--data", str(folder), "--solutions", str(count)]
    with subprocess.Popen(
        command, env=environment, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def ask(process: subprocess.Popen[str], first: int, last: int, form: str) -> tuple[float, str]:
    """CPU seconds for some solutions, and the hash of what was made. Raises RuntimeError if the process died."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the process has no pipes")
    process.stdin.write(json.dumps([first, last, form]) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError("a side died; its last words stand above")
    spent, made = json.loads(answer)
    return spent, made


def measure(other: Path, folder: Path, count: int, chunk: int) -> dict[str, Any]:
    """Every figure of the benchmark."""
    found: dict[str, Any] = {}
    for form in FORMS:
        # New processes per form: what one has read already is remembered and would be quicker the second time.
        with side(ROOT, folder, count) as mine, side(other, folder, count) as theirs:
            seconds, same = _alternate((mine, theirs), len(solutions(folder, count)), chunk, form)
        found[form] = {"seconds": [round(s, 4) for s in seconds], "ratio": round(seconds[1] / seconds[0], 3)}
        found["same_outputs"] = found.get("same_outputs", True) and same
    stands = found["stands"]["ratio"]
    return {"ratio": found["default"]["ratio"], "ratio_form_stands": stands, "solutions": count, **found}


def _alternate(
    sides: Sequence[subprocess.Popen[str]], count: int, chunk: int, form: str
) -> tuple[tuple[float, float], bool]:
    totals, same = [0.0, 0.0], True
    for at in sides:
        ask(at, 0, 1, form)  # imports are no part of the pace
    for turn, first in enumerate(range(0, count, chunk)):
        hashes = set()
        for place in (0, 1) if turn % 2 else (1, 0):
            spent, made = ask(sides[place], first, min(first + chunk, count), form)
            totals[place] += spent
            hashes.add(made)
        same = same and len(hashes) == 1
    return (totals[0], totals[1]), same


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, help="the checkout to compare with")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with GSM8K's two files")
    parser.add_argument("--solutions", type=int, default=2000)
    parser.add_argument("--chunk", type=int, default=50, help="solutions per turn")
    parser.add_argument("--json", action="store_true", help="print only the line of JSON")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.data, args.solutions)
        return
    if args.other is None or not (args.other / "errata").is_dir():
        parser.error("--other: name a folder that holds another checkout")
    if not (args.data / "train-1000.jsonl").is_file():
        parser.error(f"--data: {args.data} has no train-1000.jsonl")
    result = measure(args.other.resolve(), args.data, args.solutions, args.chunk)
    if not args.json:
        print(f"this checkout at {result['ratio']} of the other's pace", file=sys.stderr)
    print(json.dumps({"benchmark": "rules_pace", **result}))


if __name__ == "__main__":
    main()
