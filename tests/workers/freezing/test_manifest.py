"""The manifest says of what code, schema and problems a dataset is; the card says whose the problems are."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import update

from errata.shapes import SHAPES
from models.files import FileStore
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import ProblemSet
from tests.workers.freezing.conftest import Freeze
from workers.stages import dataset_files, dataset_rows
from workers.stages.code_version import code_version


def test_schema_and_code_are_in_the_manifest(frozen: Freeze, store: StoreSettings) -> None:
    dataset = frozen(shapes=["trl_conversational", "sft"])
    manifest = dataset.manifest or {}
    assert set(manifest["schema"]) == {"steps_and_full", "trl_conversational", "sft"}
    for shape, fields in manifest["schema"].items():
        assert fields == SHAPES[shape].fields
    assert manifest["code"] == code_version()
    assert manifest["code"]["commit"] is None or len(manifest["code"]["commit"]) == 40


def test_a_commit_that_is_told_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERRATA_COMMIT", "abc")
    assert code_version.__wrapped__()["commit"] == "abc"


def test_licence_and_source_of_the_problems_are_on_the_card(
    frozen: Freeze, store: StoreSettings, database: Database
) -> None:
    card = FileStore(store.files).read_bytes(f"{frozen().folder}/README.md").decode()
    assert "| sums | not told | not told |" in card
    origin = {"license": "MIT | and <more>", "source_url": "https://example.org/sums"}
    with database.begin() as session:
        session.execute(update(ProblemSet).values(**origin))
    dataset = frozen()
    assert (dataset.manifest or {})["lineage"][0].items() >= origin.items()
    card = FileStore(store.files).read_bytes(f"{dataset.folder}/README.md").decode()
    assert "| sums | MIT \\| and \\<more\\> | <https://example.org/sums> |" in card


def test_row_groups_do_not_depend_on_how_rows_came(
    frozen: Freeze, store: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups end by count and by bytes, in both ways of writing, and the same rows give the same bytes."""
    monkeypatch.setattr(dataset_files, "_ROW_GROUP", 25)
    monkeypatch.setattr(dataset_files, "_GROUP_BYTES", 9_000)
    found = []
    for rows in (5, 4_000):
        monkeypatch.setattr(dataset_rows, "_ROWS", rows)
        found.append(frozen(shapes=["sft", "trl"], split={"test": 0.2}))
    assert found[0].sha256 == found[1].sha256
    folder = FileStore(store.files).local_path(str(found[0].folder))
    for shape in ("steps_and_full", "trl", "sft"):
        metadata = pq.read_metadata(Path(folder) / shape / "train.parquet")
        sizes = [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)]
        assert len(sizes) > 2
        assert max(sizes) <= 25
