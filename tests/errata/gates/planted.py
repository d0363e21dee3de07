"""Copies of real questions as somebody would make them, without any code of the gates."""

from __future__ import annotations

import random
import re

GIVEN = frozenset(
    re.findall(
        r"\w+",
        "Aaron Adam Adrian Al Alan Alex Alice Allen Amy Andrew Andy Angela Ann Anna Anne Annie Anthony Arnold "
        "Barbara Ben Betty Bill Billy Bob Bobby Brad Brian Bruce Carl Carla Carlos Catherine Charles Charlie Chris "
        "Cindy Claire Claudia Dan Daniel Danny Dave David Debbie Dennis Diana Diane Donna Doug Ed Eddie Edward "
        "Elaine Elizabeth Ellen Emily Emma Eric Erica Ethan Eva Evan Frank Fred Gary George Georgia Gina Greg "
        "Hannah Harry Helen Henry Jack Jackie Jacob Jake James Jamie Jane Janet Jason Jean Jeff Jen Jenna Jennifer "
        "Jenny Jeremy Jerry Jessica Jill Jim Jimmy Joan Joe Joey John Johnny Jonathan Jordan Jose Joseph Josh "
        "Joshua Joyce Juan Judy Julia Julie Justin Karen Kate Katie Keith Kelly Ken Kenny Kevin Kim Kyle Larry "
        "Laura Lauren Leo Linda Lisa Lucy Luke Maria Marie Mark Martha Martin Mary Matt Matthew Megan Melissa "
        "Michael Michelle Mike Molly Nancy Natalie Nick Nicole Nina Olivia Pam Pat Patrick Paul Paula Penny Pete "
        "Peter Phil Rachel Ralph Randy Rebecca Richard Rick Rita Rob Robert Roger Ron Rosa Rose Roy Ruth Ryan "
        "Sally Sam Samantha Sandra Sandy Sara Sarah Scott Sean Sharon Sheila Sophia Stacy Stephanie Steve Steven "
        "Sue Susan Tammy Tanya Ted Teresa Terry Tim Tina Todd Tom Tommy Tony Tracy Travis Trevor Vanessa Victor "
        "Victoria Walter Wendy William Zach Natalia Weng Mikka Alexis Tina Tobias Jasmine Ali Ralph James Albert ",
    )
)
NEW = (
    *("Zoë", "Björn", "Oluwaseun", "Nguyễn", "Łukasz", "Chidi", "Priya", "María José", "Jean-Pierre", "O'Brien"),
    *("Sofía", "Mehmet", "Ольга", "Дмитрий", "Ελένη", "Hiroko", "Ximena", "Siobhán", "Tariq", "Anneliese"),
)
_NUMBER = re.compile(r"(?<![\w.,\\{^])\d+(?![\w.,}])")
_POINTS = re.compile(r"(?<![A-Za-z\\])[A-Z]{2,4}(?![A-Za-z])")


def names_in(question: str) -> list[str]:
    """The given names of a question, each once."""
    return sorted({word for word in re.findall(r"[A-Z][a-z]+", question) if word in GIVEN})


def renamed(question: str, rng: random.Random) -> str:
    """Every name is another, throughout."""
    old = names_in(question)
    for name, new in zip(old, rng.sample(NEW, len(old)), strict=True):
        question = re.sub(rf"\b{name}\b", new, question)
    return question


def respaced(question: str, rng: random.Random) -> str:
    """Other white space, other LaTeX spacing and delimiters, other capitals or punctuation."""
    text = re.sub(r"(?<!\$)\$(?!\$)([^$]+)\$(?!\$)", r"\\(\1\\)", question) if rng.random() < 0.5 else question
    text = (
        re.sub(r"\s*([=+<])\s*", rng.choice([r" \1 ", r"\1", r"\\,\1\\,", r"\\!\1\\;"]), text) if "$" in text else text
    )
    text = re.sub(r"(?<=\w) (?=\w)", lambda _: rng.choice([" ", "  ", "\n", "\t", "\u00a0"]), text)
    text = text.replace("\\frac", rng.choice(["\\dfrac", "\\frac", "\\tfrac"]))
    text = (
        re.sub(r"(?<=\d)(?=\d{3}(?!\d))", rng.choice(["", "", ","]), text)
        if re.search(r"(?<!\d)\d{4,6}(?!\d)", text)
        else text
    )
    return rng.choice([f"  {text}\n", f"{text} ", text.rstrip(".") + " ."])


def sentences(question: str) -> list[str]:
    """The sentences, as a reader sees them."""
    return re.split(r"(?<=[.?!])\s+(?=[A-Z])", question.strip())


def reordered(question: str, rng: random.Random) -> str:
    """The sentences in another order."""
    found = sentences(question)
    order = list(range(len(found)))
    while order == list(range(len(found))):
        rng.shuffle(order)
    return " ".join(found[at] for at in order)


def numbers_in(question: str) -> list[re.Match[str]]:
    """Whole numbers that stand alone."""
    return list(_NUMBER.finditer(question))


def renumbered(question: str, rng: random.Random) -> str:
    """One number is another."""
    found = rng.choice(numbers_in(question))
    return question[: found.start()] + str(int(found.group()) + rng.randint(1, 9)) + question[found.end() :]
