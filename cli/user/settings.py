"""Configurations on the command line: a JSON file, single settings as ``section.name=value``, and columns of files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import CliError

ConfigFile = Annotated[
    Path | None, typer.Option("--config", exists=True, dir_okay=False, help="JSON file with settings.")
]
Columns = Annotated[
    list[str] | None, typer.Option("--map", help="A column that holds a field, as field=column. Repeatable.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="One setting, as section.name=value; the value is JSON or plain text. Repeatable."),
]


def configuration(file: Path | None, settings: Sequence[str] | None) -> dict[str, Any]:
    """The file's settings, with those of ``--set`` laid over them. Raises CliError for what cannot be read."""
    found: dict[str, Any] = {}
    if file is not None:
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CliError(f"--config {file}: {error}") from None
        if not isinstance(found, dict):
            raise CliError(f"--config {file}: give one JSON object")
    for setting in settings or []:
        name, equals, text = setting.partition("=")
        if not equals or not all(name.split(".")):
            raise CliError(f"--set {setting}: give section.name=value, such as sampling.samples=8")
        _place(found, name, _value(text))
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _place(config: dict[str, Any], name: str, value: Any) -> None:
    *sections, last = name.split(".")
    at = config
    for section in sections:
        below = at.setdefault(section, {})
        if not isinstance(below, dict):
            raise CliError(f"--set {name}: '{section}' is no section in --config")
        at = below
    at[last] = value


def column_mapping(given: Sequence[str] | None) -> dict[str, str]:
    """The columns that ``--map`` names, by field; each was given as ``field=column``. Raises CliError."""
    found = {}
    for each in given or ():
        field, mark, column = each.partition("=")
        if not (mark and field and column):
            raise CliError(f"--map {each}: give a field and its column, such as question=prompt")
        found[field] = column
    return found
