"""Error kinds of code (ours), one line at a time: mutations of its syntax tree that still parse.

Each candidate changes what the program means as far as its syntax tells; whether a test notices is the verifier's
business, and an edit that passes every test is a false negative, rejected and counted.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial

from errata.kinds.code_line import CodeLine, shapes
from errata.kinds.registry import Kind, Site, TextEdit, usable_edits
from errata.types import Domain, EvidenceKind

Propose = Callable[[CodeLine], Iterator[TextEdit]]
_COMPARE: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">")),
    ast.LtE: ("<=", ("<", ">=")),
    ast.Gt: (">", (">=", "<")),
    ast.GtE: (">=", (">", "<=")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: ("is not", ("is",)),
}
_BINARY: dict[type[ast.operator], tuple[str, tuple[str, ...]]] = {
    ast.Add: ("+", ("-", "*")),
    ast.Sub: ("-", ("+",)),
    ast.Mult: ("*", ("+", "//")),
    ast.Div: ("/", ("*", "//")),
    ast.FloorDiv: ("//", ("/", "%")),
    ast.Mod: ("%", ("//", "*")),
    ast.Pow: ("**", ("*",)),
}


def _twin(propose: Propose, site: Site, most: int, rng: random.Random | None) -> list[str]:
    """Edits of the line by ``propose``: each gives another program that parses."""
    first, last = site.steps[0], site.steps[-1]
    if site.step is last:  # the closing fence and what follows it
        return []
    code = site.solution[first.start : last.start]
    tree = _parsed(code)
    if tree is None:
        return []
    start = site.step.start - first.start
    line = CodeLine(tree, code.count("\n", 0, start) + 1, site.text.split("\n")[0])
    before = ast.dump(tree)

    # The tree, not the text, decides: "x+1" and "x + 1" are one program, and an edit that does not parse is none.
    def is_other_program(edited: str) -> bool:
        other = _parsed(code[:start] + edited + code[start + len(site.text) :])
        return other is not None and ast.dump(other) != before

    def apply(change: TextEdit) -> str:
        return change.apply(line.text) + site.text[len(line.text) :]

    return usable_edits(propose(line), apply, is_other_program, most, rng)


@lru_cache(maxsize=256)
def _parsed(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _comparison(line: CodeLine) -> Iterator[TextEdit]:
    for node in line.nodes(ast.Compare):
        sides = [node.left, *node.comparators]
        for left, sign, right in zip(sides, node.ops, sides[1:], strict=False):
            written, others = _COMPARE[type(sign)]
            yield from line.replace_sign(left, right, written, others)


def _operator(line: CodeLine) -> Iterator[TextEdit]:
    for binary in line.nodes(ast.BinOp):
        if type(binary.op) in _BINARY:
            yield from line.replace_sign(binary.left, binary.right, *_BINARY[type(binary.op)])
    for augmented in line.nodes(ast.AugAssign):
        if type(augmented.op) in _BINARY:
            written, others = _BINARY[type(augmented.op)]
            signs = tuple(f"{other}=" for other in others)
            yield from line.replace_sign(augmented.target, augmented.value, f"{written}=", signs)
    for joined in line.nodes(ast.BoolOp):
        written, other = ("and", "or") if isinstance(joined.op, ast.And) else ("or", "and")
        for left, right in zip(joined.values, joined.values[1:], strict=False):
            yield from line.replace_sign(left, right, written, (other,))


def _off_by_one(line: CodeLine) -> Iterator[TextEdit]:
    """A bound or an index moved by one: arguments of ``range``, subscripts, slices, limits in comparisons and sums."""
    for call in line.nodes(ast.Call):
        if isinstance(call.func, ast.Name) and call.func.id == "range" and call.args:
            yield from line.shift(call.args[-1])
            if len(call.args) == 1:
                start, _ = line.span(call.args[0])
                yield TextEdit(start, start, "1, ")
    for subscript in line.nodes(ast.Subscript):
        index = subscript.slice
        if isinstance(index, ast.Slice):
            for bound in (index.lower, index.upper):
                yield from line.shift(bound) if bound is not None else ()
        elif line.counts(index):
            yield from line.shift(index)
    for compared in line.nodes(ast.Compare):
        for side in (compared.left, *compared.comparators):
            if isinstance(side, ast.Constant):
                yield from line.shift(side)
    for summed in line.nodes(ast.BinOp):
        if isinstance(summed.op, ast.Add | ast.Sub) and isinstance(summed.right, ast.Constant):
            yield from line.shift(summed.right)


def _wrong_variable(line: CodeLine) -> Iterator[TextEdit]:
    """Another variable that has a value here and does not obviously hold something else than the right one."""
    known = line.variables()
    held = shapes(line.scope())
    for node in line.nodes(ast.Name):
        if isinstance(node.ctx, ast.Load) and node.id in known:
            start, end = line.span(node)
            for other in known:
                same = held.get(node.id) == held.get(other) or node.id not in held or other not in held
                if other != node.id and same:
                    yield TextEdit(start, end, other)


def _dropped_guard(line: CodeLine) -> Iterator[TextEdit]:
    """A condition, a filter, a clamp or a default left out."""
    for joined in line.nodes(ast.BoolOp):
        for dropped in range(len(joined.values)):
            kept = [value for at, value in enumerate(joined.values) if at != dropped]
            word = " and " if isinstance(joined.op, ast.And) else " or "
            yield TextEdit(*line.span(joined), word.join(line.source(value) for value in kept))
    for negated in line.nodes(ast.UnaryOp):
        if isinstance(negated.op, ast.Not):
            yield TextEdit(*line.span(negated), line.source(negated.operand))
    for chosen in line.nodes(ast.IfExp):
        yield TextEdit(*line.span(chosen), line.source(chosen.body))
    for generator in line.generators():
        if generator.ifs and line.holds(generator.ifs[-1]):
            yield TextEdit(line.span(generator.iter)[1], line.span(generator.ifs[-1])[1], "")
    for call in line.nodes(ast.Call):
        yield from _unclamped(line, call)


def _unclamped(line: CodeLine, node: ast.Call) -> Iterator[TextEdit]:
    if isinstance(node.func, ast.Name) and node.func.id in ("max", "min") and len(node.args) == 2:
        for limit, other in (node.args, node.args[::-1]):
            if isinstance(limit, ast.Constant):
                plain = line.source(other)
                yield TextEdit(*line.span(node), f"({plain})" if isinstance(other, ast.BinOp) else plain)
    if isinstance(node.func, ast.Attribute) and node.func.attr == "get" and len(node.args) == 2:
        yield TextEdit(*line.span(node), f"{line.source(node.func.value)}[{line.source(node.args[0])}]")


def _kind(name: str, instruction: str, sign: str, propose: Propose) -> Kind:
    """The entry of a code kind; ``sign`` is the pattern of what a line must hold for the kind to apply."""
    twin = partial(_twin, propose)
    return Kind(name, (Domain.CODE,), instruction, re.compile(sign), twin, EvidenceKind.VERIFIER)


KINDS = (
    _kind("off_by_one", "Change one bound or index in this step by one.", r"\d|\[|\brange\(", _off_by_one),
    _kind("comparison", "Change one comparison operator in this step.", r"[<>]|[!=]=|\bin\b|\bis\b", _comparison),
    _kind("wrong_variable", "Use one wrong variable in this step.", r"\b[a-zA-Z_]\w*\b", _wrong_variable),
    _kind(
        "dropped_guard",
        "Remove one guard or condition from this step.",
        r"\b(?:if|while|and|or|not|max|min|get)\b",
        _dropped_guard,
    ),
    _kind("operator", "Change one arithmetic or logical operator in this step.", r"[-+*/%]|\b(?:and|or)\b", _operator),
)
