"""docs/reliability.md names a test for every promise, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROWS = {
    row: tests
    for row, _, tests in re.findall(r"^\| ([^|]+?) \| ([^|]+?) \| ([^|]+?) \|$", TEXT, flags=re.M)
    if row != "row"
}
PROMISED = [
    "kill storm",
    "kill at each point",
    "zombie",
    "Redis wiped, down at submit, restarted ten times",
    "Postgres restarted ten times",
    "ambiguous commit",
    "half-open connection",
    "duplicate hints",
    "three sweepers",
    "poison shard",
    "clock skew",
    "idempotent submit",
    "cancel race",
    "graceful stop",
    "lease state machine",
    "conformance",
    "SQLite contention",
    "embedded crash",
    "training killed at 20 random steps",
    "kill during save",
    "NaN batch",
    "hang inside a step",
    "workspace matrix",
    "schemathesis",
    "hostile JSON, bombs",
    "answer denial of service",
    "paths and pickles",
    "upgrade",
]


def functions(path: Path) -> dict[str, str]:
    """Top-level functions of a file, each with the source of its decorators."""
    text = path.read_text(encoding="utf-8")
    module = ast.parse(text)
    marks = " ".join(ast.unparse(node) for node in module.body if "pytestmark" in ast.unparse(node))
    return {
        node.name: marks + " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
        for node in module.body
        if isinstance(node, ast.FunctionDef)
    }


def test_every_promise_has_its_row() -> None:
    assert set(PROMISED) <= set(ROWS)


def test_every_test_that_is_named_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`( \(chaos\))?", TEXT)
    assert len(named) > len(ROWS)
    for row, tests in ROWS.items():
        assert "::" in tests, f"{row}: names no test"
    for file, name, chaos in named:
        found = functions(ROOT / file)
        assert name in found, f"{file} has no {name}"
        assert ("mark.chaos" in found[name]) == bool(chaos), f"{file}::{name}: its mark and the table's differ"
