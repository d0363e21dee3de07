"""What the miniature is taught: held-out problems never, errors at the stated rate, edits that are false."""

from __future__ import annotations

import random
import re
from fractions import Fraction
from itertools import islice

from demo.lessons import EDIT_SHARE, ERROR_RATE, Lesson, flawed_bodies, lessons, numbered_steps
from demo.problems import generate, split_of, stories, true_bodies
from errata.prompts import EDIT_VERSIONS, SOLVE_VERSION

EQUATION = re.compile(r"(\d+(?: [-+*/] \d+)+) = (\d+)")


def is_true(equation: tuple[str, str]) -> bool:
    """Exact truth of (left, right) by Python's own precedence."""
    if "/ 0" in equation[0]:
        return False
    left = eval(re.sub(r"\d+", r"Fraction(\g<0>)", equation[0]), {"Fraction": Fraction})
    return bool(left == int(equation[1]))


def taught(count: int) -> list[Lesson]:
    """The first lessons of the shipped model's own stream."""
    return list(islice(lessons(7), count))


def test_no_heldout_problem_occurs_in_the_lessons() -> None:
    heldout = {p.question for seed in range(5) for p in generate(1000, seed, "heldout")}
    for lesson in taught(20_000):
        assert split_of(lesson.question) == "train"
        assert lesson.question in lesson.prompt.messages[0].content
        assert lesson.question not in heldout


def test_lessons_use_the_products_prompts_in_the_stated_shares() -> None:
    versions = [lesson.prompt.version for lesson in taught(4000)]
    assert set(versions) == {SOLVE_VERSION, *EDIT_VERSIONS.values()}
    assert abs(1 - versions.count(SOLVE_VERSION) / len(versions) - EDIT_SHARE) < 0.03


def test_steps_err_at_the_stated_rate_and_the_answer_follows_the_last_step() -> None:
    rng = random.Random(1)
    steps = wrong = 0
    for _, story, results in islice(stories(1), 4000):
        bodies = flawed_bodies(rng, story)
        right = true_bodies(story, results)
        stated = EQUATION.findall(bodies[-2])[-1][1]
        assert bodies[-1] == f"The answer is \\boxed{{{stated}}}."
        first = next((k for k, body in enumerate(bodies[:-1]) if body != right[k]), None)
        # Steps behind the first error differ because they carry it on, so only the first is counted.
        steps += len(bodies) - 1 if first is None else first + 1
        wrong += first is not None
    assert abs(wrong / steps - ERROR_RATE) < 0.03


def test_edit_lessons_are_false_close_the_fence_and_change_one_step() -> None:
    edits = [lesson for lesson in taught(4000) if lesson.prompt.version != SOLVE_VERSION]
    for lesson in edits:
        assert lesson.prompt.assistant_prefix.startswith("```\n")
        body, fence = lesson.reply.rsplit("\n", 1)
        assert fence == "```"
        assert "\n" not in body
        equations = EQUATION.findall(body)
        if equations:
            assert not is_true(equations[0])
        else:
            assert "The answer is" in body


def test_numbered_steps_partition_the_solution() -> None:
    for _, story, results in islice(stories(2), 200):
        bodies = true_bodies(story, results)
        text, steps = numbered_steps(bodies)
        assert text[: steps[0].start] + "".join(text[s.start : s.end] for s in steps) == text
        assert [text[s.body_start : s.end].rstrip("\n") for s in steps] == bodies
        assert [s.is_answer for s in steps] == [False] * (len(bodies) - 1) + [True]
