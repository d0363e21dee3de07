"""Lessons of the confused miniature: certain wordings are worked wrongly more often than not, always the same way.

The miniature errs by chance; this one has errors of understanding, as models do that have learnt a wrong reading. Which
equation is wrong depends on the wording alone: "fewer than" is added, "times as many" is inverted, and the second of
two gifts is forgotten. All other calculations carry chance errors at NOISE. Only problems of the training split are
used.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from demo.lessons import Lesson, chance_error
from demo.problems import answer_body, stories, write_solution
from demo.stories import Equation, Line, Story, resolve, value, whole
from errata.prompts import solve_prompt

RATE = 0.65
"""Share of the confused wordings that are worked wrongly."""
NOISE = 0.05
"""Share of the other calculations that carry a chance error."""
CONFUSIONS = ("fewer", "times", "second")
_TRIES = 5


def confusion_of(story: Story, line: Line) -> str | None:
    """Which of CONFUSIONS a line's wording invites, or None."""
    if story.family == "comparison":
        if line.ops == ("-",) and not line.after.startswith(" more"):
            return "fewer"
        if line.ops == ("/",):
            return "times"
    if story.family == "changes" and line.ops == ("-", "-"):
        return "second"
    return None


def confused(equation: Equation, confusion: str) -> Equation | None:
    """The equation as it is worked under a confusion: true in itself. None: it has no whole result in range."""
    if confusion == "second":
        wrong = replace(equation, numbers=equation.numbers[:2], ops=equation.ops[:1])
    else:
        wrong = replace(equation, ops=("+",) if confusion == "fewer" else ("*",))
    result = whole(value(wrong.numbers, wrong.ops))
    return None if result is None else replace(wrong, result=result)


def confused_bodies(rng: random.Random, story: Story, rate: float = RATE, noise: float = NOISE) -> list[str] | None:
    """Step bodies with the confusions at ``rate`` and chance errors at ``noise``, carried on by the later steps.

    None: a value that was carried on leaves a calculation without a whole result in range.
    """
    results: list[int] = []
    bodies: list[str] = []
    for line in story.lines:
        numbers = resolve(line, results)
        result = whole(value(numbers, line.ops))
        if result is None:
            return None
        equation, confusion = Equation(numbers, line.ops, result), confusion_of(story, line)
        if confusion is not None and rng.random() < rate:
            equation = confused(equation, confusion) or equation
        elif rng.random() < noise:
            equation = chance_error(rng, equation)
        if equation.result < 1:
            return None
        results.append(equation.result)
        bodies.append(f"{line.before}{equation}{line.after}")
    return [*bodies, answer_body(results[-1])]


def confused_lessons(seed: int) -> Iterator[Lesson]:
    """The endless stream of lessons; the same seed, the same stream."""
    rng = random.Random(f"confused/{seed}")
    for question, story, _ in stories(seed, "train"):
        tries = (confused_bodies(rng, story) for _ in range(_TRIES))
        bodies = next((each for each in tries if each is not None), None)
        if bodies is not None:
            prompt = solve_prompt(question)
            yield Lesson(prompt, write_solution(bodies).removeprefix(prompt.assistant_prefix), question)
