"""What a variable seems to hold, from how a function uses it: enough not to confuse a list with a number.

Swapping a list for a number fails at once with a TypeError; a subtle error swaps two of a kind.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from typing import Literal

Shape = Literal["number", "container"]
_CONTAINERS = (ast.List, ast.Dict, ast.Set, ast.Tuple, ast.ListComp, ast.DictComp, ast.SetComp, ast.JoinedStr)
_TAKE_CONTAINERS = {"len", "sorted", "enumerate", "zip", "sum", "reversed", "any", "all", "set", "list", "iter"}
_GIVE_NUMBERS = {"len", "sum", "int", "float", "abs", "round", "ord", "count", "index"}
_GIVE_CONTAINERS = {"list", "dict", "set", "sorted", "tuple", "str", "split", "join", "range", "zip", "enumerate"}
_ARITHMETIC = (ast.Sub, ast.Div, ast.FloorDiv, ast.Pow)


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
        case ast.Subscript():
            return [(node.value, "container")]
        case ast.Attribute():
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
