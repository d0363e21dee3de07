"""What the miniature learns from: solutions with subtle errors in them, and edits, through the product's own prompts.

Only problems of the training split are used. A share of the steps of the solutions carries an error that the later
steps carry on, as text from the web does: without it a model would have nothing to lose in preference training.

An edit is the twin of what the editing prompts ask for: each error kind lists its false edits of an equation with
weights, and the likeliest is much likelier than the next, so that a model which learnt them has one to make when it
decodes greedily.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from demo.problems import answer_body, stories, true_bodies, write_solution
from demo.stories import Equation, Line, Story, resolve, value, whole
from errata.prompts import Layout, edit_prompt, solve_prompt
from errata.types import Prompt, Step
from errata.units import Unit, units_of, whole_unit

ERROR_RATE = 0.15
"""Share of the steps in the solving lessons that carry an error."""
EDIT_SHARE = 0.4
"""Share of the lessons that are edits."""
DRILL_LINES = 14
"""Equations on one sheet of drill, about as long as a solving lesson."""
ANSWER_EDITS = 0.04
"""Share of the edits that are asked of the step stating the answer (the ``paper`` preset offers it too)."""
Weighted = tuple[float, Equation]
_LAYOUTS: dict[Layout, float] = {"errata": 0.5, "paper": 0.35, "scripts": 0.15}
_SHIFTS = ((1, 8.0), (-1, 3.0), (10, 2.0), (-10, 2.0), (2, 1.0), (-2, 1.0))
_SIGNS = {"+": (("-", 4.0), ("*", 1.0)), "-": (("+", 4.0), ("/", 1.0)), "*": (("+", 4.0), ("-", 1.0))}
_SIGNS["/"] = (("*", 4.0), ("-", 1.0))


def _near(number: int) -> Iterator[tuple[int, float]]:
    """Wrong numbers that look like ``number``, with weights."""
    for shift, weight in _SHIFTS:
        if number + shift > 0:
            yield number + shift, weight
    swapped = int(str(number)[::-1])
    if swapped not in (number, 0) and len(str(swapped)) == len(str(number)):
        yield swapped, 1.0


def near_miss(rng: random.Random, number: int) -> int:
    """A wrong number that looks like ``number``."""
    numbers, weights = zip(*_near(number), strict=True)
    return int(rng.choices(numbers, weights)[0])


def _calculation(eq: Equation) -> Iterator[Weighted]:
    """Another result."""
    for wrong, weight in _near(eq.result):
        yield weight, replace(eq, result=wrong)


def _substitution(eq: Equation) -> Iterator[Weighted]:
    """Another number on the left, most often the last one."""
    last = len(eq.numbers) - 1
    for place, number in enumerate(eq.numbers):
        for wrong, weight in _near(number):
            numbers = (*eq.numbers[:place], wrong, *eq.numbers[place + 1 :])
            yield weight * (4.0 if place == last else 1.0), replace(eq, numbers=numbers)


def _omission(eq: Equation) -> Iterator[Weighted]:
    """One term less, most often the last one; at least two remain, or no calculation would."""
    if len(eq.numbers) < 3:
        return
    last = len(eq.numbers) - 1
    for place in range(len(eq.numbers)):
        sign = max(place - 1, 0)
        numbers = eq.numbers[:place] + eq.numbers[place + 1 :]
        yield 4.0 if place == last else 1.0, replace(eq, numbers=numbers, ops=eq.ops[:sign] + eq.ops[sign + 1 :])


def _operator(eq: Equation) -> Iterator[Weighted]:
    """Another sign, most often the last one's opposite."""
    for place, op in enumerate(eq.ops):
        for sign, weight in _SIGNS[op]:
            ops = (*eq.ops[:place], sign, *eq.ops[place + 1 :])
            yield weight * (4.0 if place == len(eq.ops) - 1 else 1.0), replace(eq, ops=ops)


def _order(eq: Equation) -> Iterator[Weighted]:
    """Two terms swapped, most often the first two."""
    for i, j in combinations(range(len(eq.numbers)), 2):
        numbers = list(eq.numbers)
        numbers[i], numbers[j] = numbers[j], numbers[i]
        yield 4.0 if (i, j) == (0, 1) else 1.0, replace(eq, numbers=tuple(numbers))


_KINDS: dict[str, Callable[[Equation], Iterator[Weighted]]] = {
    "calculation": _calculation,
    "substitution": _substitution,
    "omission": _omission,
    "operator": _operator,
    "order": _order,
}
KINDS = tuple(_KINDS)


def false_edits(eq: Equation, kind: str) -> list[Weighted]:
    """All false edits of a kind with weights; empty where the kind has none, as swapping the terms of a sum."""
    return [(weight, edited) for weight, edited in _KINDS[kind](eq) if not edited.true]


def draw_edit(rng: random.Random, eq: Equation, kind: str) -> Equation | None:
    """One false edit, None where the kind has none."""
    choices = false_edits(eq, kind)
    if not choices:
        return None
    return rng.choices([edited for _, edited in choices], [weight for weight, _ in choices])[0]


@dataclass(frozen=True, slots=True)
class Lesson:
    """A prompt of the product and the reply to learn, which continues ``prompt.assistant_prefix``."""

    prompt: Prompt
    reply: str
    question: str


def chance_error(rng: random.Random, eq: Equation) -> Equation:
    """An error as a solver makes it: most often a miscalculation, else a wrong number or sign, carried through."""
    kind = rng.choices(("result", "number", "sign"), (80, 12, 8))[0]
    if kind == "result":
        return replace(eq, result=near_miss(rng, eq.result))
    if kind == "number":
        place = rng.randrange(len(eq.numbers))
        wrong = near_miss(rng, eq.numbers[place])
        eq = replace(eq, numbers=(*eq.numbers[:place], wrong, *eq.numbers[place + 1 :]))
    else:
        place = rng.randrange(len(eq.ops))
        sign = {"+": "-", "-": "+", "*": "+", "/": "*"}[eq.ops[place]]
        eq = replace(eq, ops=(*eq.ops[:place], sign, *eq.ops[place + 1 :]))
    # A solver that misread a number still calculates right with it; without a whole result ``_work`` tries again.
    return replace(eq, result=whole(value(eq.numbers, eq.ops)) or 0)


def _work(rng: random.Random, lines: tuple[Line, ...], rate: float) -> list[Equation] | None:
    """One try at writing the calculations down with errors; None where one can no longer be carried out."""
    results: list[int] = []
    equations = []
    for line in lines:
        numbers = resolve(line, results)
        result = whole(value(numbers, line.ops))
        if result is None:
            return None
        eq = Equation(numbers, line.ops, result)
        if rng.random() < rate:
            eq = chance_error(rng, eq)
        if eq.result < 1:
            return None
        results.append(eq.result)
        equations.append(eq)
    return equations


def flawed_bodies(rng: random.Random, story: Story, rate: float = ERROR_RATE) -> list[str]:
    """Step bodies in which about ``rate`` of the calculations carry an error that later steps carry on."""
    equations = _work(rng, story.lines, rate)
    while equations is None:  # a wrong value that does not divide evenly: try again
        equations = _work(rng, story.lines, rate)
    bodies = [f"{line.before}{eq}{line.after}" for line, eq in zip(story.lines, equations, strict=True)]
    return [*bodies, answer_body(equations[-1].result)]


def numbered_steps(bodies: list[str]) -> tuple[str, tuple[Step, ...]]:
    """The solution written from these bodies, and its steps as offsets."""
    text = write_solution(bodies)
    steps = []
    start = text.index("Step 1: ")
    for index, body in enumerate(bodies):
        body_start = start + len(f"Step {index + 1}: ")
        end = min(body_start + len(body) + 1, len(text))
        steps.append(Step(index, start, end, body_start, is_answer=index == len(bodies) - 1))
        start = end
    return text, tuple(steps)


def solve_lesson(rng: random.Random, question: str, story: Story) -> Lesson:
    """A solution, with errors at ERROR_RATE, as the reply to the solving prompt."""
    prompt = solve_prompt(question)
    text = write_solution(flawed_bodies(rng, story))
    return Lesson(prompt, text.removeprefix(prompt.assistant_prefix), question)


def edit_lesson(rng: random.Random, question: str, story: Story, results: list[int]) -> Lesson:
    """One false edit of one step of the right solution, as the reply to an editing prompt."""
    bodies = true_bodies(story, results)
    text, steps = numbered_steps(bodies)
    if rng.random() < ANSWER_EDITS:
        index, kind = len(story.lines), "calculation"
        edited = answer_body(near_miss(rng, results[-1]))
        unit, edited_unit = whole_unit(text, steps[index]), edited
    else:
        index, kind, equation = _draw(rng, story, results)
        edited = f"{story.lines[index].before}{equation}{story.lines[index].after}"
        unit, edited_unit = equation_unit(text, steps[index]), str(equation)
    layout = rng.choices(list(_LAYOUTS), list(_LAYOUTS.values()))[0]
    prompt = edit_prompt(question, text, steps, index, kind, layout=layout, unit=unit)
    label = text[steps[index].start : steps[index].body_start] if layout == "scripts" else ""
    # Layout ``errata`` asks for the equation alone: the program splices it in and carries its value on.
    return Lesson(prompt, f"{edited_unit if layout == 'errata' else label + edited}\n```", question)


def equation_unit(text: str, step: Step) -> Unit:
    """The unit of a story's step: its one equation."""
    return units_of(text, step, sentences=1)[0]


def _draw(rng: random.Random, story: Story, results: list[int]) -> tuple[int, str, Equation]:
    """A step, a kind that has a false edit there, and the edit."""
    while True:
        index, kind = rng.randrange(len(story.lines)), rng.choice(KINDS)
        line = story.lines[index]
        edited = draw_edit(rng, Equation(resolve(line, results), line.ops, results[index]), kind)
        if edited is not None:
            return index, kind, edited


def drills(seed: int) -> Iterator[str]:
    """Endless sheets of true equations, one a line, as they occur in the stories of the training split."""
    sheet: list[str] = []
    for _, story, results in stories(seed, "train"):
        for line, result in zip(story.lines, results, strict=True):
            sheet.append(str(Equation(resolve(line, results), line.ops, result)))
        if len(sheet) >= DRILL_LINES:
            yield "\n".join(sheet[:DRILL_LINES])
            sheet = []


def lessons(seed: int) -> Iterator[Lesson]:
    """The endless stream of lessons; the same seed, the same stream."""
    rng = random.Random(f"lessons/{seed}")
    for question, story, results in stories(seed, "train"):
        if rng.random() < EDIT_SHARE:
            yield edit_lesson(rng, question, story, results)
        else:
            yield solve_lesson(rng, question, story)
