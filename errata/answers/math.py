"""Verifier ``math``: answers in one spelling, read into typed values, compared by type.

Fails closed: what cannot be shown equal is not correct, and what cannot be read is unparsable, never incorrect. Two
answers joined by "and" are both needed, a set has exactly its members, and a number is no expression that merely rounds
to it.
Comparing has three outcomes: True, False, and None where it cannot be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache

from errata.answers.criteria import Criteria, read_criteria
from errata.answers.evaluation import common_factor
from errata.answers.expressions import Tree, parse
from errata.answers.extraction import READING, ReadingOptions, extract_answer, read_answer
from errata.answers.fractional import Undefined, variables
from errata.answers.judgement import MAX_ANSWER, Judgement, UnreadableReason, too_complex, unparsable, unreadable
from errata.answers.leaves import is_text, same_leaf
from errata.answers.notation import clean, normalise
from errata.answers.regions import read_region, same_region
from errata.answers.structure import Answer, read
from errata.answers.tokens import Token, Unparsable
from errata.types import Domain, Problem, Verdict

NAME = "math"
VERSION = "2"
PLAIN = Criteria()
_PLAIN_NUMBER = re.compile(r"-?\d{1,200}(?:\.\d{1,200})?", re.ASCII)
_REGIONS = ("union", "intersection", "difference", "relation", "builder")
_FLIPPED = {"<": ">", ">": "<", "le": "ge", "ge": "le"}


def same_answer(gold: str, answer: str, rules: Criteria = PLAIN) -> bool | None:
    """Whether two final answers are the same, both bounded in length and nesting; None where that cannot be told.

    Never raises. ``rules`` may allow a tolerance, and tuples in any order.
    """
    if _PLAIN_NUMBER.fullmatch(gold) and _PLAIN_NUMBER.fullmatch(answer):
        same_number = Fraction(gold) == Fraction(answer)  # most answers there are
        if same_number or not (rules.absolute or rules.relative):
            return same_number
    gold_text, answer_text = normalise(gold), normalise(answer)
    if gold_text == answer_text:
        return True
    try:
        gold_read = read(gold_text)
    except Unparsable:
        return None
    outcome: bool | None = False
    for group in (True, False):
        # "1,234" is one number or two: what the answer may mean is tried, what gold means is fixed.
        if not group and "," not in answer_text:
            break
        try:
            outcome = same(gold_read, read(answer_text, group, prose=True), rules)
        except (ValueError, ArithmeticError, RecursionError):  # Unparsable, Undefined, and what bounds may have missed
            outcome = None
        if outcome:
            return True
        if group:
            first = outcome
    return first


def verify(problem: Problem, text: str, options: ReadingOptions = READING) -> Judgement:
    """Compare the answer stated in ``text`` with the problem's gold answers. Never raises for any text."""
    verifier = f"{NAME}/{VERSION}"
    try:
        rules = read_criteria(problem.meta)
    except ValueError as error:
        return unparsable(verifier, None, str(error), UnreadableReason.BAD_PROBLEM)
    found = read_answer(text, Domain.MATH, options, rules.pattern)
    if found.answer is None:
        return unreadable(verifier, found.why)
    shown = found.answer[:MAX_ANSWER]
    golds = [gold for given in (problem.gold_answer, *rules.golds) if (gold := gold_of(given)) is not None]
    if not golds:
        return unparsable(verifier, shown, "the gold answer is empty", UnreadableReason.BAD_PROBLEM)
    if too_complex(found.answer):
        return unparsable(verifier, shown, "too long or too deeply nested")
    outcomes = [None if too_complex(gold) else same_answer(gold, found.answer, rules) for gold in golds]
    if True in outcomes:
        return Judgement(Verdict.CORRECT, shown, verifier)
    if None in outcomes:
        return unparsable(verifier, shown, "not readable, or not comparable with gold")
    return Judgement(Verdict.INCORRECT, shown, verifier)


@lru_cache(maxsize=1024)
def gold_of(given: str) -> str | None:
    """A gold answer as a problem set holds it: the answer alone, or a text that states it ("#### 18", a box)."""
    return extract_answer(given, Domain.MATH) or clean(given)


def all_of(outcomes: Iterable[bool | None]) -> bool | None:
    """True if all are, False if one is, else None."""
    seen = list(outcomes)
    return False if False in seen else None if None in seen else True


def same(gold: Answer, answer: Answer, rules: Criteria = PLAIN) -> bool | None:
    """Whether two parsed answers are the same; None where that cannot be told. Raises Unparsable, Undefined."""
    if gold.text == answer.text and gold.shape == answer.shape:
        return True
    if gold.shape == answer.shape == "leaf":
        return same_leaf(gold, answer, rules)
    if _may_be_region(gold) or _may_be_region(answer):
        regions = read_region(gold), read_region(answer)
        if regions[0] is not None and regions[1] is not None:
            return same_region(regions[0], regions[1])
    if gold.shape == "relation" or answer.shape == "relation":
        return _same_relation(gold, answer, rules)
    if {gold.shape, answer.shape} == {"list", "leaf"} and same_leaf(gold, answer, rules):
        return True  # "2 hours and 30 minutes" is one amount
    if {gold.shape, answer.shape} <= {"list", "set"}:
        return _same_collection(gold, answer, rules)
    if gold.shape != answer.shape:
        return _other_shape(gold, answer, rules)
    if gold.shape == "matrix" and gold.marks != answer.marks:
        return False
    if gold.shape == "tuple":
        if gold.marks != answer.marks or len(gold.parts) != len(answer.parts):
            return False
        return _matched(gold.parts, answer.parts, rules) if rules.unordered else _in_order(gold, answer, rules)
    if len(gold.parts) != len(answer.parts):
        return None
    outcome = _in_order(gold, answer, rules)
    return outcome if gold.shape in ("matrix",) or outcome else None


def _may_be_region(answer: Answer) -> bool:
    """Whether an answer is a set of numbers beyond doubt: a tuple may be an interval or a point."""
    if answer.shape == "list":
        return any(part.shape == "relation" and set(part.marks) != {"="} for part in answer.parts)
    return answer.shape in _REGIONS or answer.text in ("emptyset", "set R")


def _in_order(gold: Answer, answer: Answer, rules: Criteria) -> bool | None:
    if len(gold.parts) != len(answer.parts):
        return False
    return all_of(same(g, a, rules) for g, a in zip(gold.parts, answer.parts, strict=True))


def _matched(gold: Sequence[Answer], answer: Sequence[Answer], rules: Criteria) -> bool | None:
    """Every part of one is a part of the other."""
    table = [[_same_or_none(g, a, rules) for a in answer] for g in gold]
    rows = [True if True in row else None if None in row else False for row in table]
    columns = [True if True in column else None if None in column else False for column in zip(*table, strict=True)]
    return all_of([*rows, *columns])


def _same_or_none(gold: Answer, answer: Answer, rules: Criteria) -> bool | None:
    try:
        return same(gold, answer, rules)
    except (Unparsable, Undefined):
        return None


def _same_collection(gold: Answer, answer: Answer, rules: Criteria) -> bool | None:
    if gold.shape == answer.shape == "list" and len(gold.parts) != len(answer.parts):
        return None if _has_prose(answer) else False
    if not gold.parts or not answer.parts:
        return not gold.parts and not answer.parts
    named = [_names(side) for side in (gold, answer)]
    if len(named[0]) > 1 and len(named[1]) > 1 and named[0] != named[1]:
        return False
    if (len(named[0]) > 1) != (len(named[1]) > 1):
        # "a=2, b=3" and "2, 3": without names the order says which is which.
        return _in_order(gold, answer, rules)
    return _matched(gold.parts, answer.parts, rules)


def _has_prose(answer: Answer) -> bool:
    """Whether a part of a list is no value, as prose behind a value is."""
    return any(part.shape == "leaf" and is_text(part) for part in answer.parts)


def _names(answer: Answer) -> frozenset[str]:
    return frozenset(part.parts[0].text for part in answer.parts if part.shape == "relation" and part.marks == ("=",))


def _other_shape(gold: Answer, answer: Answer, rules: Criteria) -> bool | None:
    """Answers of different shapes are not the same; with the same contents it cannot be told what was meant."""
    if answer.shape == "leaf" and is_text(answer):
        return None
    if answer.shape == "list" and _has_prose(answer):
        return None
    if {gold.shape, answer.shape} == {"list", "tuple"} and (named := _names(gold) or _names(answer)):
        # (x, y) = (1, 2) and "x = 1, y = 2": in the order of the alphabet, a tuple's parts have these names.
        listed, bare = (gold, answer) if gold.shape == "list" else (answer, gold)
        values = sorted(listed.parts, key=lambda part: part.parts[0].text if part.parts else "")
        if len(named) == len(listed.parts) == len(bare.parts) and bare.marks == ("(", ")"):
            return all_of(same(v.parts[-1], b, rules) for v, b in zip(values, bare.parts, strict=True))
    if gold.shape == "leaf" and "or" in answer.marks and all(_same_or_none(gold, p, rules) for p in answer.parts):
        return True  # "1/2, or 0.5": one value in several spellings
    if any(part.shape == "relation" and part.marks == ("in",) for part in (*gold.parts, *answer.parts)):
        return None  # a value with a condition, such as "k in Z"
    gold_parts = gold.parts if gold.shape != "leaf" else (gold,)
    answer_parts = answer.parts if answer.shape != "leaf" else (answer,)
    if len(gold_parts) != len(answer_parts) or not gold_parts:
        return False
    return None if _matched(gold_parts, answer_parts, rules) is not False else False


def _same_relation(gold: Answer, answer: Answer, rules: Criteria) -> bool | None:
    if gold.shape == "relation" and answer.shape == "relation":
        return _both_relations(gold, answer, rules)
    relation, other = (gold, answer) if gold.shape == "relation" else (answer, gold)
    if relation.marks == ("=",) and (pairs := _paired(relation)) and other.shape == "list":
        return same(pairs, other, rules) if relation is gold else same(other, pairs, rules)
    if "approx" in relation.marks and set(relation.marks) <= {"=", "approx"}:
        values = [
            _same_or_none(*((part, other) if relation is gold else (other, part)), rules) for part in relation.parts
        ]
        return True if True in values else None if None in values else False
    if set(relation.marks) != {"="}:
        # "x > 3" or "x in S" is no single value; "to" and the like are prose in signs.
        return None if set(relation.marks) & {"to", "equiv", "in"} else False
    value = relation.parts[-1]
    if _is_simple_name(value) and not _is_simple_name(relation.parts[0]):
        value = relation.parts[0]  # 25 = x
    outcome = same(value, other, rules) if relation is gold else same(other, value, rules)
    return outcome if _says_value(relation) else None  # 2x = 10 does not answer 10, nor does it deny 5


def _paired(relation: Answer) -> Answer | None:
    """``(x, y) = (1, 2)`` as the list ``x = 1, y = 2``."""
    left, right = relation.parts
    if left.shape != "tuple" or right.shape != "tuple" or len(left.parts) != len(right.parts):
        return None
    equals = Token("rel", "=")
    parts = tuple(
        Answer("relation", (*one.tokens, equals, *other.tokens), (one, other), ("=",))
        for one, other in zip(left.parts, right.parts, strict=True)
    )
    return Answer("list", relation.tokens, parts, (",",) * (len(parts) - 1))


def _says_value(relation: Answer) -> bool:
    """Whether a chain of equals ends in the value of what it begins with: a name, words, or mere numbers."""
    first = relation.parts[0]
    if first.shape != "leaf" or _is_name(first):
        return True
    try:
        names = variables(parse(list(first.tokens))[0])
    except (Unparsable, Undefined):
        return True
    return len(names) != 1 or len(relation.parts) > 2


def _is_name(answer: Answer) -> bool:
    """``x``, ``x_1``, ``f(2)``, ``\\angle ABC``, ``|AB|``, "Area": what has a value, and nothing done to it."""
    first = answer.tokens[0]
    if (
        first.kind == "word"
        or first.text in ("angle", "overline", "triangle", "|", "vec", "(", "[")
        or len(answer.tokens) == 1
    ):
        return first.kind != "num"
    return first.kind == "var" and answer.tokens[1].text in ("(", "_", "'")


def _is_simple_name(answer: Answer) -> bool:
    return answer.shape == "leaf" and bool(answer.tokens) and answer.tokens[0].kind == "var" and (
        len(answer.tokens) == 1 or answer.tokens[1].text == "_"
    )  # fmt: skip


def _both_relations(gold: Answer, answer: Answer, rules: Criteria) -> bool | None:
    if set(gold.marks) == set(answer.marks) == {"="}:
        names = gold.parts[0], answer.parts[0]
        if len(gold.marks) == len(answer.marks) == 1 and _same_equation(gold, answer):
            return True
        values = _same_or_none(gold.parts[-1], answer.parts[-1], rules)
        if names[0].text == names[1].text:
            return values
        if _is_simple_name(names[0]) and _is_simple_name(names[1]):
            return False
        simple = all(len(side.marks) == 1 and not _is_name(side.parts[0]) for side in (gold, answer))
        return None if values is not False and not simple else False
    if len(gold.marks) == len(answer.marks) == 1:
        same_way = _same_equation(gold, answer)
        return same_way if same_way is not None else False
    return False


def _same_equation(gold: Answer, answer: Answer) -> bool | None:
    """Whether two equations or inequalities differ by a constant factor; None where they cannot be read."""
    marks = gold.marks[0], answer.marks[0]
    try:
        sides = [_difference(gold), _difference(answer)]
        factor = common_factor(sides[0], sides[1])
    except (Unparsable, Undefined):
        return None
    if factor is None:
        return False
    if marks[0] in ("=", "ne"):
        return marks[0] == marks[1]
    return marks[1] == (marks[0] if factor > 0 else _FLIPPED.get(marks[0]))


def _difference(relation: Answer) -> Tree:
    trees = [parse(list(part.tokens)) for part in relation.parts]
    if any(ambiguous for _, ambiguous in trees):
        raise Unparsable("ambiguous")
    return ("-", trees[0][0], trees[1][0])
