"""Evidence ``identity``: what it proves, and above all what it must not."""

from __future__ import annotations

import random
import re
import time
from fractions import Fraction

import pytest

from errata.algebra import find_chains
from errata.algebra.polynomials import MAX_TERMS, TooLarge, multiply, power, solve_linear, variable
from errata.identity import Context, identities, prove_identity
from errata.kinds import Site, kinds_of
from errata.proof import Outcome, prove_contradiction, prove_edit
from errata.steps import split_steps
from errata.types import Domain, EvidenceKind, Problem


def _prove(original: str, edited: str, question: str = "", before: str = "", behind: str = "") -> bool:
    context = Context(question, before + original + behind, len(before))
    evidence = prove_identity(original, edited, context)
    assert evidence is None or evidence.kind is EvidenceKind.IDENTITY
    return evidence is not None


@pytest.mark.parametrize(
    ("original", "edited"),
    [
        ("So $2(x+1) = 2x+2$.", "So $2(x+1) = 2x+3$."),
        ("So $2(x+1) = 2x+2$.", "So $2(x+1) = 3x+2$."),
        ("So $(a+b)^2 = a^2+2ab+b^2$.", "So $(a+b)^2 = a^2+ab+b^2$."),
        ("Thus \\[y = 3(x-2) = 3x - 6.\\]", "Thus \\[y = 3(x-2) = 3x + 6.\\]"),
        ("\\begin{align*}\n(x+2)(x-2) &= x^2-2x+2x-4 \\\\\n&= x^2-4\n\\end{align*}",
         "\\begin{align*}\n(x+2)(x-2) &= x^2-2x+2x-4 \\\\\n&= x^2+4\n\\end{align*}"),
        ("We get $\\frac{6x+9}{3} = 2x+3$.", "We get $\\frac{6x+9}{3} = 2x+9$."),
        ("We get $\\dfrac12 (4n) = 2n$.", "We get $\\dfrac12 (4n) = 3n$."),
        ("Expand: 3(x + 4) = 3x + 12", "Expand: 3(x + 4) = 3x + 4"),
        ("We get $\\left(\\frac{a}{b}\\right)^2 = \\frac{a^2}{b^2}$.",
         "We get $\\left(\\frac{a}{b}\\right)^2 = \\frac{a^2}{b^3}$."),
        ("Hence $x^{-2} \\cdot x^{3} = \\boxed{x}$.", "Hence $x^{-2} \\cdot x^{4} = \\boxed{x}$."),
        ("It is $(n+1) - (n-1) = 2$.", "It is $(n+1) - (n-1) = 0$."),
    ],
)  # fmt: skip
def test_a_broken_identity_is_proven(original: str, edited: str) -> None:
    assert _prove(original, edited)
    assert not _prove(original, original)
    assert not _prove(edited, original), "the original was no identity"


@pytest.mark.parametrize(
    ("right", "edited"),
    [
        # the question or the solution states a value or a relation under which the edited link is true
        ("2x+2", "3x"),  # x = 2
        ("2x+2", "x^2+2"),  # x = 2, or x = 0
        ("2x+2", "y+3"),  # y = 3
        ("2x+2", "2y"),  # y = x + 1
        ("2x+2", "6"),
    ],
)
@pytest.mark.parametrize(
    "stated",
    [
        "Let $x = 2$ and $y = 3$.", "We know that x = 2, y = 3.", "Here $x$ is 2 and $y$ is 3.",
        "x equals two and y is three.",
        "$x + y = 5$, $y - x = 1$", "There are $x=2$ apples and $y=3$ pears.", "Solve $|x| = 2$ and $\\sqrt{y+6} = 3$.",
        "Find $x$ and $y$ with $x^2 + x = 6$, $y^3 = 27$.", "$x \\in \\{2\\}$, $y \\in \\{3\\}$", "$(x, y) = (2, 3)$",
        "The integers $x$ and $y$ satisfy $1 < x < 3$ and $2 < y < 4$.", "x = 2 apples and y = 3 pears",
        "$\\begin{cases} x + y = 5 \\\\ x - y = -1 \\end{cases}$",
    ],
)  # fmt: skip
def test_what_the_context_makes_true_is_not_proven(right: str, edited: str, stated: str) -> None:
    step = "So $2(x+1) = {}$."
    assert not _prove(step.format(right), step.format(edited), question=stated)
    assert not _prove(step.format(right), step.format(edited), before=f"{stated}\n\n")
    assert not _prove(step.format(right), step.format(edited), behind=f"\n\n{stated}")


def test_a_constant_gap_needs_no_context_but_a_congruence_closes_it() -> None:
    original, edited = "So $2(x+5) = 2x+10$.", "So $2(x+5) = 2x+20$."
    assert _prove(original, edited, question="Let $\\sqrt{x} = 3$.")
    assert not _prove(original, edited, question="What is it modulo 10?")
    assert not _prove(original, edited, question="Find $n \\equiv 2 \\pmod{10}$.")
    assert not _prove(original, edited, question="An operation is defined by $a * b = ab$.")


def test_a_stated_relation_that_leaves_the_edit_false_does_not_protect_it() -> None:
    original, edited = "So $2x + 3x = 5x = 20$.", "So $2x + 3x = 6x = 20$."
    assert _prove(original, edited)
    assert _prove("So $(x-1)(x-3) = x^2-4x+3 = 0$.", "So $(x-1)(x-3) = x^2-4x+4 = 0$.")
    assert not _prove("So $x^2-4x+3 = (x-1)(x-3) = 0$.", "So $x^2-4x+3 = (x-1)(x-4) = 0$.")


@pytest.mark.parametrize(
    "sentence",
    [
        "Let {}.", "If {}, we are done.", "Suppose {}.", "Given {}, find x.", "Solve {}.", "Solve the following:\n\n{}",
        "We look for x where {}.", "Consider the equation {}.", "Assume that {}.", "It is not true that {}.",
        "Is {}?", "{} only when x is large.", "Then {} if x = 1.", "Here {} is impossible.", "Check whether {}.",
        "For which x is {} true?", "{} has no solution.",
    ],
)  # fmt: skip
def test_a_condition_a_task_or_a_denial_claims_nothing(sentence: str) -> None:
    original, edited = (sentence.format(link) for link in ("$2(x+1) = 2x+2$", "$2(x+1) = 2x+3$"))
    assert not _prove(original, edited)
    assert _prove("So $2(x+1) = 2x+2$.", "So $2(x+1) = 2x+3$.")
    assert not _prove("So $2(x+1) = 2x+2$.", edited), "the edit must claim it too"
    opening = sentence.split("{}")[0]
    if opening not in ("", "Is ", "Then ", "Here "):
        assert not _prove("$2(x+1) = 2x+2$.", "$2(x+1) = 2x+3$.", before=opening)


@pytest.mark.parametrize(
    "side",
    [
        "\\sqrt{x^2}", "|x|", "\\sin^2 x", "x_1 + x_1", "i^2", "e^x", "AB + BC", "f(x) + 1", "f^{-1}(x)", "x^n", "2^x",
        "x!",
        "3\\text{ m}", "x \\bmod 3", "\\pm x", "x'", "\\lfloor x \\rfloor", "[x]", "\\log x", "x^12", "1/2x", "x2",
        "2 3x",
        "2\\frac{1}{3} + x", "(x, 2)", "\\{x\\}", "1,000x", "cm", "dx", "\\overline{ab}", "12\\%x", "p(x)", "a(2)",
        "x^{x}",
        "\\alpha + 1", "x^2^3", "A^{-1}", "x°", "x : 2", "\\int x", "\\frac{dy}{dx}", "x\\star 2", "x^{99}",
        "(x+1",
    ],
)  # fmt: skip
def test_what_is_not_plain_algebra_poisons_its_side(side: str) -> None:
    text = f"So ${side} = {side}$ and $x + {side} = {side} + x$."
    assert not any(identities(chain) for chain in find_chains(text))


def test_texts_of_any_shape_raise_nothing_and_take_time_in_proportion() -> None:
    for unit in (
        "$",
        "\\[",
        "$x=x$ ",
        "(",
        "x^",
        "\\frac{",
        "1,",
        "x = ",
        "$x$ is ",
        "\\begin{align}",
        "x" * 9 + " = ",
    ):
        seconds = []
        for size in (2_000, 16_000):
            text = unit * (size // len(unit))
            started = time.process_time()
            assert prove_identity(text, text + "1 = 1", Context(text, text, 0)) is None
            find_chains(text + " ")
            seconds.append(time.process_time() - started)
        assert seconds[1] < 40 * max(seconds[0], 0.02), unit


def test_expansions_are_capped() -> None:
    total = {**variable("a"), **variable("b"), **variable("c"), **variable("d")}
    with pytest.raises(TooLarge):
        multiply(power(total, 12), power(total, 12))
    assert len(power(total, 4)) < MAX_TERMS
    assert not any(identities(c) for c in find_chains("$((x+y+z)^12+1)^12 = ((x+y+z)^{12}+1)^{12}$"))
    x, y = variable("x"), variable("y")
    assert solve_linear([{**x, (): Fraction(1)}, {**x, (): Fraction(2)}]) is None
    assert set(solve_linear([{**x, **y}]) or {}) == {"x"}


SOLUTIONS = (
    (
        "Factor $12x+18$.",
        "We take out 6: $12x+18 = 6(2x+3)$.\n\nThe answer is $\\boxed{6(2x+3)}$.",
    ),
    (
        "Expand $(k-7)(k+3)$.",
        "The product is $(k-7)(k+3) = k^2+3k-7k-21 = k^2-4k-21$.\n\nThe answer is $\\boxed{k^2-4k-21}$.",
    ),
    (
        "Simplify $5m-2(m-4)+1$.",
        "We have\n\\begin{align*}\n5m-2(m-4)+1 &= 5m-2m+8+1 \\\\\n&= \\boxed{3m+9}.\n\\end{align*}",
    ),
    (
        "Complete the square in $z^2+10z-4$.",
        "Half of 10 is 5. Then $z^2+10z-4 = (z+5)^2-29$.\n\nSo $\\boxed{(z+5)^2-29}$.",
    ),
    (
        "Add $\\frac{a}{2}+\\frac{a}{3}$.",
        "The sum is $\\frac{a}{2}+\\frac{a}{3} = \\frac{3a+2a}{6} = \\frac{5a}{6}$.\n\nDone.",
    ),
    (
        "Simplify $(2y)^3 \\cdot y^2$.",
        "Powers add up: $(2y)^3 \\cdot y^2 = 8y^3 \\cdot y^2 = 8y^5$.\n\nIt is $\\boxed{8y^5}$.",
    ),
    (
        "Two numbers add up to $10$, with product $21$.",
        "Their squares: $(u+v)^2 = u^2+2uv+v^2$, with $u+v=10$.\n\nDone.",
    ),
)  # fmt: skip


_SEVENTHS = [Fraction(number, 7) for number in random.Random(0).sample(range(2, 999), 20)]


def _values(equation: str, point: dict[str, Fraction]) -> list[Fraction]:
    """Both sides' values by Python's own reading of the formula: a check that shares no code with the proof."""
    plain = re.sub(r"\\boxed\{(.*)\}", r"\1", equation).replace("&", "").replace("\\\\", "").rstrip(". \n")
    plain = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", plain).replace("\\cdot", "*")
    plain = re.sub(r"(?<=[\da-z)])\s*(?=[a-z(])", "*", plain).replace("^", "**")
    plain = re.sub(r"(?<!\*\*)\b(\d+)", r"Fraction(\1)", plain)
    return [eval(side.strip(), {"Fraction": Fraction, **point}) for side in plain.split("=")]


@pytest.mark.parametrize(("question", "solution"), SOLUTIONS)
def test_rules_edit_identities_and_no_proven_edit_is_true(question: str, solution: str) -> None:
    problem, steps = Problem(question, ""), split_steps(solution)
    at = next(step.index for step in steps if "=" in solution[step.start : step.end])
    made = 0
    for kind in ("calculation", "substitution", "omission", "operator"):
        for seed in range(3):
            twin = kinds_of(Domain.MATH)[kind].twin
            for edited in twin(Site(solution, steps, at, problem), 6, random.Random(seed)):
                original = solution[steps[at].start : steps[at].end]
                proof = prove_edit(original, edited, context=Context(question, solution, steps[at].start))
                assert proof.outcome is Outcome.PROVEN
                if proof.evidence.kind is not EvidenceKind.IDENTITY:
                    assert prove_contradiction(original, edited)
                    continue
                made += 1
                detail = proof.evidence.detail
                points = [
                    {n: Fraction(rng.randint(2, 999), 7) for n in "akmuvyzx"} for rng in map(random.Random, range(9))
                ]
                assert all(one == other for one, other in (_values(detail["original"], point) for point in points))
                assert any(one != other for one, other in (_values(detail["equation"], point) for point in points))
                told = {name: Fraction(value) for name, value in detail["at"].items()}
                assert _values(detail["equation"], told) == [Fraction(detail["left"]), Fraction(detail["right"])]
                assert not re.search(r"(?<![\d.])[01](?=[a-z])", proof.evidence.detail["equation"]), "nobody writes 1x"
    assert made >= 5


def test_arithmetic_is_edited_before_identities() -> None:
    solution = "Here $2(x+1) = 2x+2$, and $3 + 4 + 1 = 8$.\n\nSo it is."
    problem, steps = Problem("", ""), split_steps(solution)
    for kind in ("calculation", "substitution", "omission", "operator"):
        [edited] = kinds_of(Domain.MATH)[kind].twin(Site(solution, steps, 0, problem), 1, random.Random(0))
        assert "$2(x+1) = 2x+2$" in edited
