"""Names that must be unique among a million rows, and what they stand for: on disk, because they would fill memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from types import TracebackType


class Names:
    """Texts, each with the number it was first given; removed when it is closed. Belongs to one thread."""

    def __init__(self) -> None:
        # The empty name is a file of SQLite's own, which goes with the connection.
        self._db = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-8000", "locking_mode=EXCLUSIVE"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE names (name TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID")
        self._db.execute("BEGIN")  # one for all: nothing here outlives the process

    def add(self, names: Sequence[tuple[str, int]]) -> dict[int, int]:
        """Add names with their numbers, all different. Of those that were there, the first number by the new one."""
        before = self._db.total_changes
        self._db.executemany("INSERT OR IGNORE INTO names VALUES (?, ?)", names)
        if self._db.total_changes - before == len(names):
            return {}
        found = ((number, self.number(name)) for name, number in names)
        return {number: first for number, first in found if first is not None and first != number}

    def number(self, name: str) -> int | None:
        """The number of a name; None where it is unknown."""
        row = self._db.execute("SELECT number FROM names WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def __enter__(self) -> Names:
        return self

    def __exit__(self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self._db.close()
