"""Problems with solutions for a run on a real model: GSM8K as it is published, or rows of one's own."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from demo import gsm8k, problems
from tests.processes import ROOT

Rows = list[dict[str, Any]]
_GOLD = "####"
_MADE = 200  # problems of the demo's generator, where there is no file


def default_file() -> Path | None:
    """The GSM8K sample in the folder that ERRATA_SHARED_DATA names, or beside the checkout; None where it is not."""
    shared = Path(os.environ.get("ERRATA_SHARED_DATA", ROOT.parent / "shared" / "data"))
    file = shared / "gsm8k" / "train-1000.jsonl"
    return file if file.is_file() else None


def read(file: Path | None, count: int) -> tuple[Rows, Rows]:
    """The first ``count`` problems of a file, and the solutions that it brings for them.

    A line has ``question``, and ``answer`` that ends in ``#### gold`` (GSM8K), or ``gold_answer`` and ``solution``, or
    the solutions of several models (demo.gsm8k). Without a file: problems and solutions that the demo's generator
    makes. Raises ValueError naming the line.
    """
    if file is None:
        made = problems.generate(min(count, _MADE), seed=17)
        rows = [{"question": each.question, "gold_answer": each.gold_answer} for each in made]
        return rows, _brought([each.gold_solution or "" for each in made])
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if lines and "ground_truth" in json.loads(lines[0]):
        many, solutions = gsm8k.read(file)
        return many[:count], [each for each in solutions if each["problem"] < count and each["label"]]
    found = [_row(file, number, line) for number, line in enumerate(lines[:count], start=1)]
    return [problem for problem, _ in found], _brought([solution for _, solution in found])


def _row(file: Path, number: int, line: str) -> tuple[dict[str, Any], str]:
    try:
        row = json.loads(line)
        gold, solution = row.get("gold_answer"), row.get("solution")
        if gold is None:
            solution = row["answer"]
            before, mark, gold = solution.rpartition(_GOLD)
            if not mark:
                raise ValueError(f"its answer has no {_GOLD}")
            # As solutions end that models write; "####" is the file's own mark.
            solution = f"{before.strip()}\nThe answer is \\boxed{{{gold.strip()}}}."
        return {"id": f"line-{number}", "question": row["question"], "gold_answer": str(gold).strip()}, str(solution)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file} line {number}: give question and answer, or gold_answer and solution: {error}"
        ) from None


def _brought(texts: Sequence[str]) -> Rows:
    return [{"problem": at, "source": "brought", "text": text, "label": True} for at, text in enumerate(texts) if text]
