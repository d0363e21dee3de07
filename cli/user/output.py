"""What commands print: tables and single records for people, JSON for programs.

Texts of a service may hold anything. Control characters, with them every terminal escape, are shown and never sent.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # rich is loaded by what prints: help and completion do without
    from rich.console import Console

PIPED_WIDTH = 200  # a wrapped line in a pipe could not be read by a script
_KEPT = "\n\t"


def console(*, stderr: bool = False) -> Console:
    """A console that colours on terminals alone and does not wrap in pipes."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False, soft_wrap=False, markup=False, emoji=False)
    return made if made.is_terminal else Console(
        stderr=stderr, width=PIPED_WIDTH, highlight=False, markup=False, emoji=False
    )  # fmt: skip


def clean(text: Any, lines: bool = False) -> str:
    """Text with every control character written out, such as ``\\\\x1b``; line ends stay where ``lines`` says so.

    Marks that turn the direction of text around are controls here too: they would let a text hide what it says.
    """
    kept = _KEPT if lines else ""
    return "".join(c if c in kept or not _hidden(c) else _spelled(c) for c in str(text))


def _hidden(char: str) -> bool:
    code = ord(char)
    controls = code < 0x20 or 0x7F <= code <= 0x9F
    turns = 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069 or code in (0x200E, 0x200F, 0x2028, 0x2029)
    return controls or turns or 0xD800 <= code <= 0xDFFF


def _spelled(char: str) -> str:
    return {"\n": "⏎", "\t": " "}.get(char, f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}")


def print_json(value: Any) -> None:
    """One line of JSON. ASCII, so that no terminal and no encoding comes between."""
    sys.stdout.write(json.dumps(_plain(value)) + "\n")
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def print_rows(rows: Iterable[Any], columns: Mapping[str, Any], *, as_json: bool, empty: str) -> None:
    """A list: ``columns`` maps titles to functions of a row. ``empty`` is said where there is no row."""
    if as_json:
        for row in rows:
            print_json(row)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(clean(cell(row)), overflow="ellipsis", no_wrap=True) for cell in columns.values()))
    if table.row_count:
        console().print(table)
    else:
        console(stderr=True).print(empty)


def print_record(title: str, fields: Mapping[str, Any], record: Any, *, as_json: bool) -> None:
    """One record: its title, and the fields that have a value."""
    if as_json:
        print_json(record)
        return
    from rich.table import Table
    from rich.text import Text

    out = console()
    out.print(Text(clean(title), style="bold"))
    table = Table.grid(padding=(0, 2))
    for name, value in fields.items():
        if value not in (None, "", [], {}):
            table.add_row(Text(name, style="dim"), Text(clean(value, lines=True)))
    out.print(table)


def print_path(path: Path, *, as_json: bool) -> None:
    """Where a command put something: a path alone on its line, or as ``{"path": ...}``."""
    if as_json:
        print_json({"path": str(path)})
    else:
        sys.stdout.write(f"{clean(path)}\n")


def say(text: str) -> None:
    """A line about what happened, to standard error: standard output is for results."""
    from rich.text import Text

    console(stderr=True).print(Text(clean(text)))


def ago(moment: datetime | None) -> str:
    """How long ago, in the largest fitting unit."""
    if moment is None:
        return ""
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def duration(seconds: float | None) -> str:
    """Seconds as people read them; empty where unknown."""
    if seconds is None:
        return ""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def listed(values: Sequence[Any]) -> str:
    """Values with commas between."""
    return ", ".join(map(str, values))
