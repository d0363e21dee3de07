"""One line of a program, as its syntax tree sees it, with offsets in characters."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Literal, TypeVar

from errata.kinds.registry import TextEdit

Node = TypeVar("Node", bound=ast.AST)
Shape = Literal["number", "container"]
_CONTAINERS = (ast.List, ast.Dict, ast.Set, ast.Tuple, ast.ListComp, ast.DictComp, ast.SetComp, ast.JoinedStr)
_TAKE_CONTAINERS = {"len", "sorted", "enumerate", "zip", "sum", "reversed", "any", "all", "set", "list", "iter"}
_GIVE_NUMBERS = {"len", "sum", "int", "float", "abs", "round", "ord", "count", "index"}
_GIVE_CONTAINERS = {"list", "dict", "set", "sorted", "tuple", "str", "split", "join", "range", "zip", "enumerate"}
_ARITHMETIC = (ast.Sub, ast.Div, ast.FloorDiv, ast.Pow)
_PLAIN = (ast.Name, ast.Constant, ast.Call, ast.Attribute, ast.Subscript)


class CodeLine:
    """Line ``number`` (from 1) of the program ``tree``; ``text`` without its line break. Knows no edit kinds."""

    def __init__(self, tree: ast.Module, number: int, text: str) -> None:
        self._tree = tree
        self._number = number
        self._bytes = text.encode()
        self.text = text

    def holds(self, node: ast.AST) -> bool:
        """Whether a node begins and ends on this line."""
        return getattr(node, "lineno", 0) == self._number == getattr(node, "end_lineno", 0)

    def nodes(self, *types: type[Node]) -> Iterator[Node]:
        """Nodes of these types that lie wholly on this line, outermost first."""
        for node in ast.walk(self._tree):
            if isinstance(node, types) and self.holds(node):
                yield node

    def generators(self) -> Iterator[ast.comprehension]:
        """The ``for ... in ... if ...`` of comprehensions whose iterable lies on this line."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.comprehension) and self.holds(node.iter):
                yield node

    def span(self, node: ast.AST) -> tuple[int, int]:
        """A node's offsets in the line, brackets around it not included."""
        start, end = getattr(node, "col_offset", 0), getattr(node, "end_col_offset", 0)
        # ast counts UTF-8 bytes, texts are spliced by characters.
        return len(self._bytes[:start].decode()), len(self._bytes[:end].decode())

    def source(self, node: ast.AST) -> str:
        """A node's text."""
        start, end = self.span(node)
        return self.text[start:end]

    def replace_sign(self, left: ast.AST, right: ast.AST, written: str, others: tuple[str, ...]) -> Iterator[TextEdit]:
        """The sign between two neighbors replaced by each of ``others``."""
        start, end = self.span(left)[1], self.span(right)[0]
        pattern = r"\s+".join(re.escape(word) for word in written.split())
        found = re.search(pattern, self.text[start:end])
        if found is not None:
            for other in others:
                yield TextEdit(start + found.start(), start + found.end(), other)

    def shift(self, node: ast.expr) -> Iterator[TextEdit]:
        """A whole number one up and one down; ``+ 1`` and ``- 1`` behind another plain expression."""
        start, end = self.span(node)
        if isinstance(node, ast.Constant):
            if isinstance(node.value, int) and not isinstance(node.value, bool):
                yield TextEdit(start, end, str(node.value + 1))
                if node.value > 0:
                    yield TextEdit(start, end, str(node.value - 1))
        elif isinstance(node, _PLAIN):
            yield TextEdit(end, end, " + 1")
            yield TextEdit(end, end, " - 1")

    def counts(self, node: ast.expr) -> bool:
        """Whether an index is a number as far as can be seen: a constant, or a variable that runs over a range."""
        if isinstance(node, ast.Constant):
            return isinstance(node.value, int)
        return isinstance(node, ast.Name) and node.id in self._counters()

    def _counters(self) -> set[str]:
        found: set[str] = set()
        for loop in ast.walk(self.scope()):
            if isinstance(loop, ast.For | ast.comprehension) and isinstance(loop.iter, ast.Call):
                name = getattr(loop.iter.func, "id", "")
                target = loop.target.elts[0] if isinstance(loop.target, ast.Tuple) else loop.target
                if name in ("range", "enumerate") and isinstance(target, ast.Name):
                    found.add(target.id)
        return found

    def variables(self) -> list[str]:
        """Arguments and variables of the function around this line that have a value before it, in order.

        Not those of comprehensions, which are gone behind them.
        """
        scope = self.scope()
        names: dict[str, None] = {}
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
            every = [*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs]
            names |= dict.fromkeys(argument.arg for argument in every)
        # Python drops a comprehension's variables behind it: to use one would raise NameError, no subtle error.
        inner = {id(name) for node in ast.walk(scope) if isinstance(node, ast.comprehension) for name in ast.walk(node)}
        for node in ast.walk(scope):
            stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.lineno < self._number
            if isinstance(node, ast.Name) and stored and id(node) not in inner:
                names[node.id] = None
        names.pop("_", None)
        return list(names)

    def scope(self) -> ast.AST:
        """The innermost function around this line, or the whole program."""
        inside = [
            node
            for node in ast.walk(self._tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.lineno < self._number <= (node.end_lineno or 0)
        ]
        return max(inside, key=lambda node: node.lineno, default=self._tree)


def shapes(scope: ast.AST) -> dict[str, Shape]:
    """Names whose every telling use agrees; the others are left out."""
    seen: dict[str, set[Shape]] = defaultdict(set)
    for node in ast.walk(scope):
        for name, shape in _uses(node):
            if isinstance(name, ast.Name):
                seen[name.id].add(shape)
    return {name: next(iter(found)) for name, found in seen.items() if len(found) == 1}


def _uses(node: ast.AST) -> list[tuple[ast.AST, Shape]]:
    match node:
        case ast.Subscript() | ast.Attribute():
            return [(node.value, "container")]
        case ast.For() | ast.comprehension():
            if isinstance(node.iter, ast.Call):
                return [(node.target, "number")] if getattr(node.iter.func, "id", "") == "range" else []
            return [(node.iter, "container")]
        case ast.Call() if getattr(node.func, "id", "") in _TAKE_CONTAINERS and len(node.args) == 1:
            return [(node.args[0], "container")]
        case ast.Call() if getattr(node.func, "id", "") == "range":
            return [(argument, "number") for argument in node.args]
        case ast.Assign():
            shape = _given(node.value)
            return [(target, shape) for target in node.targets] if shape else []
        case ast.BinOp() if isinstance(node.op, _ARITHMETIC):
            return [(node.left, "number"), (node.right, "number")]
        case ast.Compare() if isinstance(node.ops[0], ast.In | ast.NotIn):
            return [(node.comparators[0], "container")]
        case _:
            return []


def _given(value: ast.expr) -> Shape | None:
    """The shape of an expression's value, where it shows."""
    if isinstance(value, _CONTAINERS):
        return "container"
    if isinstance(value, ast.Constant):
        if isinstance(value.value, str):
            return "container"
        return "number" if isinstance(value.value, int | float) and not isinstance(value.value, bool) else None
    if isinstance(value, ast.BinOp) and isinstance(value.op, _ARITHMETIC):
        return "number"
    if isinstance(value, ast.Call):
        called = getattr(value.func, "id", "") or getattr(value.func, "attr", "")
        if called in _GIVE_NUMBERS:
            return "number"
        return "container" if called in _GIVE_CONTAINERS else None
    return None
