"""The stories behind the word problems: what is told, and the calculations that answer it.

Knows neither languages models nor splits. A story is a list of sentences and a list of calculation steps whose
operands are given numbers or results of earlier steps, so that a wrong result can be carried on (demo.lessons).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

MAX_VALUE = 150
"""Largest result a calculation may have: what a model of a million parameters learns to calculate in minutes."""


@dataclass(frozen=True, slots=True)
class Ref:
    """An operand that is the result of step ``index`` (from 0)."""

    index: int


@dataclass(frozen=True, slots=True)
class Line:
    """One calculation step: ``before`` + equation + ``after`` is its body, without the label."""

    before: str
    operands: tuple[int | Ref, ...]
    ops: tuple[str, ...]
    after: str


@dataclass(frozen=True, slots=True)
class Equation:
    """``numbers[0] ops[0] numbers[1] ... = result``, as written; need not be true."""

    numbers: tuple[int, ...]
    ops: tuple[str, ...]
    result: int

    def __str__(self) -> str:
        left = str(self.numbers[0]) + "".join(f" {op} {n}" for op, n in zip(self.ops, self.numbers[1:], strict=True))
        return f"{left} = {self.result}"

    @property
    def true(self) -> bool:
        """Whether the left side has exactly the stated value."""
        return value(self.numbers, self.ops) == self.result


@dataclass(frozen=True, slots=True)
class Story:
    """A problem before it is written down: ``told`` are its sentences, the last one asks."""

    family: str
    told: tuple[str, ...]
    lines: tuple[Line, ...]


def value(numbers: tuple[int, ...], ops: tuple[str, ...]) -> Fraction | None:
    """The exact value of the left side, ``*`` and ``/`` first; None for a division by zero."""
    terms = [Fraction(numbers[0])]
    for op, number in zip(ops, numbers[1:], strict=True):
        if op == "*":
            terms[-1] *= number
        elif op == "/":
            if number == 0:
                return None
            terms[-1] /= number
        else:
            terms.append(Fraction(number if op == "+" else -number))
    return sum(terms, Fraction(0))


def resolve(line: Line, results: list[int]) -> tuple[int, ...]:
    """The line's operands as numbers, given the results of the steps before it."""
    return tuple(results[o.index] if isinstance(o, Ref) else o for o in line.operands)


def whole(number: Fraction | None) -> int | None:
    """``number`` if it is an integer between 1 and MAX_VALUE, the only values a story may have."""
    if number is None or number.denominator != 1 or not 1 <= number <= MAX_VALUE:
        return None
    return int(number)


def solve(story: Story) -> list[int] | None:
    """The results of all steps; None where one is not a whole number in range."""
    results: list[int] = []
    for line in story.lines:
        result = whole(value(resolve(line, results), line.ops))
        if result is None:
            return None
        results.append(result)
    return results


_SHE = ("Anna", "Mia", "Lily", "Emma", "Sara", "Nora", "Zoe", "Ruth", "Ella", "Ivy")
_HE = ("Tom", "Ben", "Sam", "Leo", "Max", "Jack", "Noah", "Paul", "Omar", "Finn")
_THINGS = (
    *("apples", "marbles", "stickers", "cards", "shells", "coins", "pencils", "books", "stamps", "beads"),
    *("cookies", "balloons", "toys", "stones", "plums", "ribbons"),
)


@dataclass(frozen=True, slots=True)
class _Cast:
    """The names, pronouns and things of one story."""

    names: tuple[str, str, str, str]
    he: str
    him: str
    things: tuple[str, str]


def _cast(rng: random.Random) -> _Cast:
    names = rng.sample(_SHE + _HE, 4)
    she = names[0] in _SHE
    things = rng.sample(_THINGS, 2)
    return _Cast(
        (names[0], names[1], names[2], names[3]),
        "She" if she else "He",
        "her" if she else "him",
        (things[0], things[1]),
    )


def _add(rng: random.Random, c: _Cast, at: int | Ref) -> tuple[str, Line]:
    k, (name, friend, *_), thing = rng.randint(2, 30), c.names, c.things[0]
    told = rng.choice((f"{c.he} buys {k} more.", f"{friend} gives {c.him} {k} more.", f"{c.he} finds {k} more."))
    before = rng.choice((f"{name} then has ", f"With the new {thing} {name} has ", "That makes "))
    return told, Line(before, (at, k), ("+",), f" {thing}.")


def _add_two(rng: random.Random, c: _Cast, at: int | Ref) -> tuple[str, Line]:
    j, k, name, thing = rng.randint(2, 15), rng.randint(2, 15), c.names[0], c.things[0]
    told = rng.choice(
        (
            f"{c.he} gets {j} more on Monday and {k} more on Tuesday.",
            f"{c.names[1]} brings {j} more and {c.names[2]} brings {k} more.",
        )
    )
    return told, Line(rng.choice((f"{name} then has ", "In total that makes ")), (at, j, k), ("+", "+"), f" {thing}.")


def _take(rng: random.Random, c: _Cast, at: int | Ref) -> tuple[str, Line]:
    k, (name, friend, *_), thing = rng.randint(2, 30), c.names, c.things[0]
    told = rng.choice((f"{c.he} gives {k} to {friend}.", f"{c.he} loses {k} of them.", f"{c.he} sells {k} of them."))
    before = rng.choice((f"After that {name} has ", f"{name} keeps ", "That leaves "))
    return told, Line(before, (at, k), ("-",), f" {thing}.")


def _take_two(rng: random.Random, c: _Cast, at: int | Ref) -> tuple[str, Line]:
    j, k, name, thing = rng.randint(2, 15), rng.randint(2, 15), c.names[0], c.things[0]
    told = f"{c.he} gives {j} to {c.names[1]} and {k} to {c.names[2]}."
    return told, Line(rng.choice((f"{name} keeps ", "That leaves ")), (at, j, k), ("-", "-"), f" {thing}.")


def _times(rng: random.Random, c: _Cast, at: int | Ref) -> tuple[str, Line]:
    k, name, thing = rng.randint(2, 5), c.names[0], c.things[0]
    told = rng.choice((f"A game makes them {k} times as many.", f"Soon {c.he.lower()} has {k} times as many."))
    return told, Line(rng.choice((f"{name} then has ", "That makes ")), (at, k), ("*",), f" {thing}.")


def _split(rng: random.Random, c: _Cast, at: int | Ref) -> tuple[str, Line]:
    k, name, thing = rng.randint(2, 6), c.names[0], c.things[0]
    told = rng.choice(
        (
            f"{c.he} splits them into {k} equal groups and keeps one group.",
            f"{c.he} shares them equally among {k} boxes and takes one box.",
        )
    )
    return told, Line(rng.choice((f"{name} then has ", "One part has ")), (at, k), ("/",), f" {thing}.")


_EVENTS: tuple[Callable[[random.Random, _Cast, int | Ref], tuple[str, Line]], ...]
_EVENTS = (_add, _add_two, _take, _take_two, _times, _split)


def _changes(rng: random.Random, steps: int) -> Story:
    c = _cast(rng)
    name, thing, start = c.names[0], c.things[0], rng.randint(3, 60)
    told, lines = [f"{name} has {start} {thing}."], []
    at: int | Ref = start
    for index in range(steps):
        sentence, line = rng.choices(_EVENTS, (3, 2, 3, 2, 2, 3))[0](rng, c, at)
        told.append(sentence)
        lines.append(line)
        at = Ref(index)
    told.append(f"How many {thing} does {name} have now?")
    return Story("changes", tuple(told), tuple(lines))


def _relation(rng: random.Random, who: str, other: str, at: int | Ref, thing: str) -> tuple[str, Line]:
    op = rng.choice("+-*/")
    k = rng.randint(2, 5) if op in "*/" else rng.randint(2, 25)
    told = {
        "+": f"{who} has {k} more than {other}.",
        "-": f"{who} has {k} fewer than {other}.",
        "*": f"{who} has {k} times as many as {other}.",
        "/": f"{other} has {k} times as many as {who}.",
    }[op]
    return told, Line(f"{who} has ", (at, k), (op,), f" {thing}.")


def _comparison(rng: random.Random, steps: int) -> Story:
    c = _cast(rng)
    thing, start = c.things[0], rng.randint(3, 40)
    told, lines = [f"{c.names[0]} has {start} {thing}."], []
    holdings: list[int | Ref] = [start]
    last = rng.choice(("total", "difference")) if steps < 4 else "difference"
    for index in range(steps - 1):
        sentence, line = _relation(rng, c.names[index + 1], c.names[index], holdings[-1], thing)
        told.append(sentence)
        lines.append(line)
        holdings.append(Ref(index))
    if last == "total":
        told.append(f"How many {thing} do they have together?")
        lines.append(Line("Together they have ", tuple(holdings), ("+",) * (steps - 1), f" {thing}."))
    else:
        who, other = c.names[steps - 1], c.names[0]
        told.append(f"How many more {thing} does {who} have than {other}?")
        lines.append(Line(f"{who} has ", (holdings[-1], holdings[0]), ("-",), f" more {thing}."))
    return Story("comparison", tuple(told), tuple(lines))


def _shop(rng: random.Random, steps: int) -> Story:
    c = _cast(rng)
    n, p, m, q = (rng.randint(2, 9) for _ in range(4))
    (one, two), name = c.things, c.names[0]
    first = Line(f"The {one} cost ", (n, p), ("*",), " dollars.")
    if steps == 2:
        bag = rng.randint(2, 25)
        told = [f"{name} buys {n} {one} for {p} dollars each and a bag for {bag} dollars."]
        lines = [first, Line("In total that is ", (Ref(0), bag), ("+",), " dollars.")]
    else:
        told = [f"{name} buys {n} {one} for {p} dollars each and {m} {two} for {q} dollars each."]
        lines = [
            first,
            Line(f"The {two} cost ", (m, q), ("*",), " dollars."),
            Line("In total that is ", (Ref(0), Ref(1)), ("+",), " dollars."),
        ]
    if steps < 4:
        return Story("shop", (*told, f"How much does {c.he.lower()} pay?"), tuple(lines))
    paid = rng.choice((50, 100, 120, 150))
    told += [f"{c.he} pays with {paid} dollars.", f"How much change does {c.he.lower()} get?"]
    return Story("shop", tuple(told), (*lines, Line("The change is ", (paid, Ref(2)), ("-",), " dollars.")))


def _boxes(rng: random.Random, steps: int) -> Story:
    c = _cast(rng)
    n, m, k, size = rng.randint(2, 9), rng.randint(2, 12), rng.randint(2, 25), rng.randint(2, 6)
    thing = c.things[0]
    told, lines = (
        [f"There are {n} boxes with {m} {thing} each."],
        [Line("The boxes hold ", (n, m), ("*",), f" {thing}.")],
    )
    if rng.random() < 0.5:
        told.append(f"{k} {thing} are taken away.")
        lines.append(Line("That leaves ", (Ref(0), k), ("-",), f" {thing}."))
    else:
        told = [f"There are {n} boxes with {m} {thing} each and {k} more {thing} on a table."]
        lines = [Line("In all there are ", (n, m, k), ("*", "+"), f" {thing}.")]
    if len(lines) < steps:
        told.append(f"They are put into bags of {size}.")
        lines.append(Line("They fill ", (Ref(len(lines) - 1), size), ("/",), " bags."))
        if len(lines) < steps:
            sold = rng.randint(2, 20)
            told.append(f"{c.names[0]} sells {sold} bags.")
            lines.append(Line("That leaves ", (Ref(len(lines) - 1), sold), ("-",), " bags."))
        return Story("boxes", (*told, "How many bags are there at the end?"), tuple(lines))
    return Story("boxes", (*told, f"How many {thing} are there at the end?"), tuple(lines))


def _wages(rng: random.Random, steps: int) -> Story:
    c = _cast(rng)
    rate, name = rng.randint(2, 9), c.names[0]
    hours = [rng.randint(2, 8) for _ in range(rng.choice((2, 3)))]
    days = [f"{h} hours on {d}" for h, d in zip(hours, ("Monday", "Tuesday", "Friday"), strict=False)]
    told = [f"{name} earns {rate} dollars an hour and works {', '.join(days[:-1])} and {days[-1]}."]
    lines = [
        Line(f"{name} works ", tuple(hours), ("+",) * (len(hours) - 1), " hours."),
        Line(f"{name} earns ", (Ref(0), rate), ("*",), " dollars."),
    ]
    if steps > 2:
        spent = rng.randint(3, 40)
        told.append(f"{c.he} spends {spent} dollars.")
        lines.append(Line("That leaves ", (Ref(1), spent), ("-",), " dollars."))
    if steps > 3:
        parts = rng.randint(2, 6)
        told.append(f"{c.he} saves the rest in {parts} equal parts.")
        lines.append(Line("One part is ", (Ref(2), parts), ("/",), " dollars."))
        return Story("wages", (*told, "How many dollars are in one part?"), tuple(lines))
    return Story("wages", (*told, f"How many dollars does {c.he.lower()} have then?"), tuple(lines))


def _reading(rng: random.Random, steps: int) -> Story:
    c = _cast(rng)
    name, read = c.names[0], (rng.randint(3, 20), rng.randint(3, 20), rng.randint(3, 20))
    pages, pace = rng.randint(30, 120), rng.randint(2, 6)
    told = [
        f"A book has {pages} pages.",
        f"{name} reads {read[0]} pages on Monday, {read[1]} on Tuesday and {read[2]} on Friday.",
    ]
    lines = [
        Line(f"{name} has read ", read, ("+", "+"), " pages."),
        Line("That leaves ", (pages, Ref(0)), ("-",), " pages."),
    ]
    if steps == 2:
        return Story("reading", (*told, "How many pages are left?"), tuple(lines))
    told.append(f"{c.he} reads the rest at {pace} pages a day.")
    lines.append(Line("The rest takes ", (Ref(1), pace), ("/",), " days."))
    if steps == 3:
        return Story("reading", (*told, "How many days does the rest take?"), tuple(lines))
    more = rng.randint(2, 30)
    told.append(f"A second book takes {more} days.")
    lines.append(Line("Both take ", (Ref(2), more), ("+",), " days."))
    return Story("reading", (*told, "How many days do the rest and the second book take?"), tuple(lines))


_FAMILIES: tuple[Callable[[random.Random, int], Story], ...]
_FAMILIES = (_changes, _comparison, _shop, _boxes, _wages, _reading)
_SHARES = (8, 5, 3, 3, 3, 2)


def tell(rng: random.Random) -> tuple[Story, list[int]]:
    """Draw a story of 2 to 4 steps, and its results; all of them whole numbers from 1 to MAX_VALUE."""
    steps = rng.choices((2, 3, 4), (30, 40, 30))[0]
    family = rng.choices(_FAMILIES, _SHARES)[0]
    while True:  # most draws of some families have a division with a remainder
        story = family(rng, steps)
        results = solve(story)
        if results is not None:
            return story, results
