"""Scopes of API keys: ``write`` and ``train`` each include ``read``, and ``admin`` includes all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

Scope = Literal["read", "write", "train", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


def includes(scopes: Iterable[str], scope: str) -> bool:
    """Whether one who has ``scopes`` may do what needs ``scope``."""
    held = frozenset(scopes)
    return scope in held or "admin" in held or (scope == "read" and bool(held))
