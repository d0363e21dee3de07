"""A plugin of pytest (``-p tests.rows``): at its end, each row of docs/reliability.md whose tests ran, by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_TABLE = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"
_ROW = re.compile(r"^\| ([^|]+?) \| ([^|]+?) \| ([^|]+?) \|$", flags=re.M)
_TEST = re.compile(r"`(tests/[\w/]+\.py::\w+)`")


def rows_of(text: str) -> dict[str, list[str]]:
    """The rows of the table, each with the tests that it names."""
    return {row: _TEST.findall(tests) for row, _, tests in _ROW.findall(text) if _TEST.search(tests)}


def lines_of(rows: dict[str, list[str]], outcomes: dict[str, list[str]]) -> Iterator[str]:
    """A line for each row of which a test ran: how many passed, and which did not."""
    for row, tests in rows.items():
        ran = {test: outcomes[test] for test in tests if test in outcomes}
        if not ran:
            continue
        passed = sum(each.count("passed") for each in ran.values())
        others = [f"{test} {outcome}" for test, each in ran.items() for outcome in each if outcome != "passed"]
        yield f"{row}: {passed} passed" + "".join(f"; {other}" for other in others)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the rows behind the results."""
    outcomes: dict[str, list[str]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.getreports(outcome):
            name = str(getattr(report, "nodeid", "")).partition("[")[0]
            outcomes.setdefault(name, []).append(outcome)
    lines = list(lines_of(rows_of(_TABLE.read_text(encoding="utf-8")), outcomes))
    if lines:
        terminalreporter.section("rows of docs/reliability.md")
        for line in lines:
            terminalreporter.line(line)
