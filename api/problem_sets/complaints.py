"""What is told about rows, bounded whatever the file: equal reasons are one line with a count and the first rows."""

from __future__ import annotations

from typing import Any

FIRST_ROWS = 10  # lines that one entry names


class Complaints:
    """Reasons in the order in which they first came, each with how many rows have it and the lines of the first."""

    def __init__(self, limit: int, name: str = "reason") -> None:
        """``limit``: most entries listed; further reasons are only counted. ``name``: what an entry calls its text."""
        self._limit, self._name = limit, name
        self._entries: dict[str, dict[str, Any]] = {}
        self.count = 0

    def add(self, line: int, text: str, like: str = "") -> None:
        """Count a row. ``like``: what reasons of the same kind share, where their texts differ in details."""
        self.count += 1
        entry = self._entries.get(like or text)
        if entry is None:
            if len(self._entries) < self._limit:
                self._entries[like or text] = {"line": line, self._name: text, "count": 1, "lines": [line]}
            return
        entry["count"] += 1
        if len(entry["lines"]) < FIRST_ROWS:
            entry["lines"].append(line)

    def listed(self) -> list[dict[str, Any]]:
        """The entries as JSON-friendly data."""
        return list(self._entries.values())
