"""``errata problems`` over HTTP: what is said of rows that were not taken, and columns of other names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from tests.cli.served import serving

Errata = Callable[..., Result]


@pytest.fixture
def errata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Errata]:
    """Runs a command in this process against a service of its own."""
    monkeypatch.setenv("ERRATA_CONFIG", str(tmp_path / "profiles.json"))
    with serving(tmp_path) as (url, _):
        monkeypatch.setenv("ERRATA_URL", url)
        yield lambda *arguments: CliRunner().invoke(app, list(arguments))


def _file(folder: Path, *rows: dict[str, str]) -> str:
    path = folder / "asked.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def test_rows_that_were_not_taken_are_counted_and_not_their_reasons(errata: Errata, tmp_path: Path) -> None:
    right, empty = {"question": "1 + 1?", "gold_answer": "2"}, {"question": "", "gold_answer": "2"}
    posted = errata("problems", "upload", _file(tmp_path, right, empty, empty, empty, {"question": "What?"}))
    assert "line 2 and 2 more: 'question' is empty\n" in posted.stderr
    assert "line 5: 'gold_answer' is missing\n" in posted.stderr
    shown = errata("problems", "show", posted.stdout.strip()).stdout
    assert [line.split() for line in shown.splitlines() if "refused" in line] == [["refused", "rows", "4"]]


def test_columns_of_other_names_are_mapped(errata: Errata, tmp_path: Path) -> None:
    file = _file(tmp_path, {"q": "1 + 1?", "final": "2", "other": "x"})
    posted = errata("problems", "upload", file, "--map", "question=q", "--map", "gold_answer=final")
    assert (posted.exit_code, "1 problems as asked" in posted.stderr) == (0, True), posted.output
    assert "1 + 1?" in errata("problems", "show", posted.stdout.strip()).stdout
