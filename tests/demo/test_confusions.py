"""The confused miniature's lessons: wrong in the same places in the same way, and sound everywhere else."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice

from demo.confusions import CONFUSIONS, RATE, confused, confused_bodies, confused_lessons, confusion_of
from demo.problems import split_of, stories, true_bodies
from demo.stories import Equation, resolve


def test_confusions_are_true_equations_of_a_wrong_reading() -> None:
    assert str(confused(Equation((20, 5), ("-",), 15), "fewer")) == "20 + 5 = 25"
    assert str(confused(Equation((20, 5), ("/",), 4), "times")) == "20 * 5 = 100"
    assert str(confused(Equation((20, 5, 3), ("-", "-"), 12), "second")) == "20 - 5 = 15"
    assert confused(Equation((100, 5), ("/",), 20), "times") is None  # out of range


def test_every_confusion_occurs_and_only_in_its_wording() -> None:
    seen: Counter[str] = Counter()
    for question, story, results in islice(stories(4), 3000):
        for line in story.lines:
            found = confusion_of(story, line)
            if found is None:
                continue
            seen[found] += 1
            words = {"fewer": "fewer than", "times": "times as many as", "second": " and "}[found]
            assert words in question
        assert len(true_bodies(story, results)) == len(story.lines) + 1
    assert set(seen) == set(CONFUSIONS)


def test_confused_steps_are_wrong_about_as_often_as_said() -> None:
    rng, wrong, all_ = random.Random(2), 0, 0
    for _, story, results in islice(stories(5), 4000):
        bodies = confused_bodies(rng, story, noise=0.0)
        if bodies is None or confusion_of(story, story.lines[0]) is None:
            continue
        line = story.lines[0]
        true = f"{line.before}{Equation(resolve(line, results), line.ops, results[0])}{line.after}"
        all_ += 1
        wrong += bodies[0] != true
    assert all_ > 100
    assert RATE - 0.12 <= wrong / all_ <= RATE + 0.05  # some wrong values leave no whole result, and are drawn anew


def test_without_confusions_and_chance_the_lessons_are_right() -> None:
    for _, story, results in islice(stories(6), 200):
        assert confused_bodies(random.Random(0), story, rate=0.0, noise=0.0) == true_bodies(story, results)


def test_lessons_are_repeatable_and_of_the_training_split() -> None:
    first, again = (list(islice(confused_lessons(1), 20)) for _ in range(2))
    assert first == again
    assert all(split_of(lesson.question) == "train" for lesson in first)
