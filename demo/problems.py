"""Word-arithmetic problems of 2 to 4 steps with worked solutions, endless and reproducible.

Light on purpose: no torch, no tokenizer, no other room but the method's types. The split is decided by the numbers
in the question alone, so a held-out problem's numbers stand in no training problem, whatever the names and things.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
from collections.abc import Iterable, Iterator
from typing import Literal

from demo.stories import Equation, Story, resolve, tell
from errata.types import Problem

Split = Literal["train", "heldout"]

PREAMBLE = "Let's think step by step.\n"
_HELDOUT_ONE_IN = 8


def split_of(question: str) -> Split:
    """The split a question belongs to: one in eight, by a hash of its numbers in order, is held out."""
    # By the numbers and not by the text: another name or thing must not carry a held-out calculation into training.
    numbers = " ".join(re.findall(r"\d+", question))
    digest = hashlib.sha256(numbers.encode()).digest()
    return "heldout" if digest[0] % _HELDOUT_ONE_IN == 0 else "train"


def stories(seed: int, split: Split = "train") -> Iterator[tuple[str, Story, list[int]]]:
    """Endless (question, story, results) of one split; questions may come twice. The same seed, the same stream."""
    rng = random.Random(f"{split}/{seed}")
    while True:
        story, results = tell(rng)
        question = " ".join(story.told)
        if split_of(question) == split:
            yield question, story, results


def write_solution(bodies: Iterable[str]) -> str:
    """Number the step bodies behind the preamble that the solving prompt forces."""
    return PREAMBLE + "\n".join(f"Step {k}: {body}" for k, body in enumerate(bodies, start=1))


def true_bodies(story: Story, results: list[int]) -> list[str]:
    """The bodies of a right solution's steps, the last of which states the answer."""
    bodies = []
    for line, result in zip(story.lines, results, strict=True):
        equation = Equation(resolve(line, results), line.ops, result)
        bodies.append(f"{line.before}{equation}{line.after}")
    return [*bodies, answer_body(results[-1])]


def answer_body(answer: int) -> str:
    """The body of the step that states the answer."""
    return f"The answer is \\boxed{{{answer}}}."


def generate(count: int, seed: int, split: Split = "train") -> list[Problem]:
    """``count`` different problems; the first n of a longer list are the list of n."""
    problems: dict[str, Problem] = {}
    for question, story, results in stories(seed, split):
        if len(problems) >= count:
            break
        solution = write_solution(true_bodies(story, results))
        # The first of equal questions stays, so that a longer list begins with the shorter one.
        problems.setdefault(question, Problem(question, str(results[-1]), solution, story.family))
    return list(problems.values())


def rows(problems: Iterable[Problem]) -> list[dict[str, str]]:
    """The problems as rows of a problem set."""
    return [{"question": p.question, "answer": p.gold_answer} for p in problems]


def solved_rows(problems: Iterable[Problem]) -> list[dict[str, str | None]]:
    """The same with each problem's right solution and kind, as evaluations by scoring need them."""
    return [
        {
            "question": p.question,
            "gold_answer": p.gold_answer,
            "gold_solution": p.gold_solution,
            "subject": p.subject,
        }
        for p in problems
    ]  # fmt: skip


def main() -> None:
    """Print problems as JSON lines: ``python -m demo.problems 12``."""
    parser = argparse.ArgumentParser(description="Problems that the miniature can solve, as JSON lines.")
    parser.add_argument("count", type=int, help="how many")
    parser.add_argument("--seed", type=int, default=5, help="others with another seed")
    given = parser.parse_args()
    for row in rows(generate(given.count, given.seed)):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
