"""Deleting takes two steps and shows first what goes with a row; tags are added and taken away."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from cli import CliError
from cli.user.datasets import _weights
from cli.user.life import remove, retag
from cli.user.settings import column_mapping


class Rows:
    """A resource that keeps one row, ``ds_1``, and tells what it was asked to do."""

    def __init__(self, dependents: Sequence[str] = (), tags: Sequence[str] = ("a", "b")) -> None:
        self.done: list[Any] = []
        self._dependents = [SimpleNamespace(kind="model", id=name, name="mine\x1b[2J") for name in dependents]
        self._tags = list(tags)

    def dependents(self, row_id: str) -> list[Any]:
        return self._dependents

    def delete(self, row_id: str, *, cascade: bool = False) -> Any:
        self.done.append((row_id, cascade))
        row = SimpleNamespace(kind="dataset", id=row_id, name="d")
        return SimpleNamespace(deleted=[row, *self._dependents], purged=False)

    def get(self, row_id: str) -> Any:
        return SimpleNamespace(tags=self._tags)

    def update(self, row_id: str, *, tags: list[str]) -> Any:
        self.done.append((row_id, tags))
        return SimpleNamespace(tags=tags)


def run(rows: Any, *, yes: bool, cascade: bool) -> None:
    remove(rows, "ds_1", "dataset", yes=yes, cascade=cascade, as_json=False)


@pytest.mark.parametrize(
    ("dependents", "yes", "cascade", "told"),
    [
        ([], False, False, "nothing depends on it. Add --yes"),
        ([], False, True, "nothing depends on it. Add --yes"),
        (["model_1"], False, False, "and the 1 listed. Add --cascade --yes"),
        (["model_1"], True, False, "1 depend on dataset ds_1. Add --cascade"),
    ],
)
def test_nothing_is_deleted_before_the_second_step(
    capsys: pytest.CaptureFixture[str], dependents: list[str], yes: bool, cascade: bool, told: str
) -> None:
    rows = Rows(dependents)
    with pytest.raises(CliError, match="nothing was deleted") as refused:
        run(rows, yes=yes, cascade=cascade)
    assert told in str(refused.value)
    assert rows.done == []
    listed = capsys.readouterr().err
    assert listed.count("depends on it: model model_1 (mine\\x1b[2J)") == len(dependents)


def test_what_was_deleted_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    rows = Rows(["model_1"])
    run(rows, yes=True, cascade=True)
    assert rows.done == [("ds_1", True)]
    told = capsys.readouterr()
    assert told.out == "ds_1\n"
    assert "deleted dataset ds_1\ndeleted model model_1\n" in told.err
    assert "their files follow" in told.err


def test_tags_are_added_and_taken_away() -> None:
    rows: Any = Rows()
    assert retag(rows, "ds_1", ["c", "a"], ["b"]) == ["a", "c"]
    assert retag(rows, "ds_1", [], []) == ["a", "b"]
    assert rows.done == [("ds_1", ["a", "c"])], "to list them changes nothing"
    with pytest.raises(CliError, match="has no tag 'x'; it has: a, b"):
        retag(rows, "ds_1", [], ["x"])


def test_mappings_and_weights_are_read() -> None:
    assert column_mapping(["prompt=task.text", "chosen=a=b"]) == {"prompt": "task.text", "chosen": "a=b"}
    assert _weights(["ds_1", "ds_2=0.5"]) == {"ds_1": None, "ds_2": 0.5}
    for wrong in ("prompt", "=x", "prompt="):
        with pytest.raises(CliError, match="--map"):
            column_mapping([wrong])
    with pytest.raises(CliError, match="no number"):
        _weights(["ds_1=much"])
