"""Freezing pairs to files: what is in them, where it lands, that it is the same each time, and that it loads."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
import yaml

from errata.seeds import split_of
from errata.shapes import SHAPES
from models.files import FileStore
from models.settings import StoreSettings
from models.states import JobState
from tests.workers.freezing.conftest import KINDS, PROBLEMS, Freeze, both, rows

ALL_SHAPES = list(SHAPES)


def test_every_pair_arrives_with_its_history(frozen: Freeze, store: StoreSettings) -> None:
    dataset = frozen(split={"test": 0.25})
    assert dataset.state == JobState.SUCCEEDED
    assert dataset.error is None
    found = both(store, dataset, "steps_and_full")
    assert len(found) == 3 * PROBLEMS
    assert len({row["pair_id"] for row in found}) == 3 * PROBLEMS
    assert list(found[0]) == list(SHAPES["steps_and_full"].fields)
    for row in found:
        if row["type"] == "step":
            assert row["start"] == len(row["prefix"])
            assert row["end"] == row["start"] + len(row["chosen"])
            assert row["error_kind"] in KINDS
            assert json.loads(row["evidence_detail"])
        else:
            assert (row["prefix"], row["step_index"], row["evidence"], row["evidence_detail"]) == ("", None, None, None)
        assert row["chosen"] != row["rejected"]
        assert (row["source"], row["job_id"], row["domain"]) == ("tiny", "inj_1", "math")


def test_sft_holds_every_correct_sample(frozen: Freeze, store: StoreSettings) -> None:
    found = both(store, frozen(), "sft")
    assert len(found) == 2 * PROBLEMS
    assert all("boxed{-1}" not in row["completion"] for row in found)
    assert set(found[0]) == set(SHAPES["sft"].fields)
    assert all(row["question"] in row["prompt"] for row in found)


def test_a_question_lands_on_one_side_in_every_shape(frozen: Freeze, store: StoreSettings) -> None:
    dataset = frozen(split={"test": 0.3}, shapes=ALL_SHAPES)
    sides: dict[str, set[str]] = {}
    for split in ("train", "test"):
        for shape in ("steps_and_full", "sft", "critique"):
            for row in rows(store, dataset, shape, split):
                sides.setdefault(row["question"], set()).add(split)
    assert len(sides) == PROBLEMS
    assert all(len(found) == 1 for found in sides.values())
    test = [question for question, found in sides.items() if found == {"test"}]
    assert 0.1 * PROBLEMS < len(test) < 0.5 * PROBLEMS
    assert all(split_of(question, 0.3, 0) == "test" for question in test)


def test_rows_keep_the_order_of_the_problems(frozen: Freeze, store: StoreSettings) -> None:
    """Ids are random; the order of the rows decides a training run and must not be."""
    found = rows(store, frozen(split={"test": 0.0}), "steps_and_full", "train")
    numbers = [(int(row["question"].split()[2]), row["type"] == "full", row["step_index"] or 0) for row in found]
    assert numbers == sorted(numbers)


def test_the_manifest_names_every_file(frozen: Freeze, store: StoreSettings) -> None:
    dataset = frozen(split={"test": 0.2}, shapes=ALL_SHAPES)
    files = FileStore(store.files)
    data = files.read_bytes(f"{dataset.folder}/manifest.json")
    assert hashlib.sha256(data).hexdigest() == dataset.sha256
    manifest = json.loads(data)
    assert manifest == dataset.manifest
    assert [entry["path"] for entry in manifest["files"]] + ["manifest.json"] == sorted(
        files.names(str(dataset.folder)), key=lambda name: (name == "manifest.json", name)
    )
    for entry in manifest["files"]:
        content = files.read_bytes(f"{dataset.folder}/{entry['path']}")
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])
        if entry["path"].endswith(".jsonl"):
            assert content.count(b"\n") == entry["rows"]
    steps = 2 * PROBLEMS
    assert manifest["counts"]["pairs"] == 3 * PROBLEMS
    assert manifest["counts"]["problems"] == PROBLEMS
    assert manifest["counts"]["type"] == {"step": steps, "full": PROBLEMS}
    assert sum(manifest["counts"]["error_kind"].values()) == steps
    assert sum(manifest["counts"]["split"].values()) == 3 * PROBLEMS
    assert manifest["lineage"][0] | {"problem_set_id": ""} == {
        "job_id": "inj_1",
        "problem_set_id": "",
        "problem_set": "sums",
        "problem_set_sha256": "0",
        "license": None,
        "source_url": None,
        "language_model": None,
        "language_model_fingerprint": None,
        "editor_model": None,
        "editors": {},
        "preset": "rules",
        "prompt_versions": {},
        "config": {"preset": "rules"},
        "partial": False,
        "pairs": 3 * PROBLEMS,
    }


def test_freezing_twice_gives_the_same_bytes(frozen: Freeze) -> None:
    one, other = frozen(shapes=ALL_SHAPES), frozen(shapes=ALL_SHAPES)
    assert one.sha256 == other.sha256
    assert one.folder != other.folder
    assert frozen(shapes=ALL_SHAPES, seed=1).sha256 != one.sha256


def test_parquet_equals_json_lines_under_its_schema(frozen: Freeze, store: StoreSettings) -> None:
    dataset = frozen(shapes=ALL_SHAPES, split={"test": 0.2})
    files = FileStore(store.files)
    assert dataset.manifest is not None
    assert set(dataset.manifest["rows"]) == set(ALL_SHAPES)
    for shape, splits in dataset.manifest["rows"].items():
        for split, count in splits.items():
            table = pq.read_table(files.local_path(f"{dataset.folder}/{shape}/{split}.parquet"))
            assert table.num_rows == count
            assert table.column_names == list(SHAPES[shape].fields)
            assert table.to_pylist() == rows(store, dataset, shape, split)


def test_load_dataset_just_works(
    frozen: Freeze, store: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = frozen(shapes=ALL_SHAPES, split={"test": 0.2}, name='odd: "name" | <b>*\n# x')
    folder = str(FileStore(store.files).local_path(str(dataset.folder)))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    assert set(datasets.get_dataset_config_names(folder)) == set(ALL_SHAPES)
    for shape in ALL_SHAPES:
        loaded = datasets.load_dataset(folder, shape, cache_dir=str(tmp_path / "cache"))
        assert {split: loaded[split].num_rows for split in loaded} == (dataset.manifest or {})["rows"][shape]
        assert loaded["train"].to_list() == rows(store, dataset, shape, "train")


def test_the_card_says_what_the_manifest_holds(frozen: Freeze, store: StoreSettings) -> None:
    dataset = frozen(name="A | name\n# with `marks`")
    card = FileStore(store.files).read_bytes(f"{dataset.folder}/README.md").decode()
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["pretty_name"] == "A | name\n# with `marks`"
    names = ["steps_and_full", "whole_conversational", "sft", "sft_conversational"]
    assert [config["config_name"] for config in head["configs"]] == names
    assert [config["config_name"] for config in head["configs"] if config.get("default")] == ["whole_conversational"]
    assert "# A \\| name \\# with \\`marks\\`\n" in card
    assert f"{3 * PROBLEMS:,} preference pairs from {PROBLEMS:,} problems" in card
    assert f"| step | {2 * PROBLEMS:,} |" in card
    assert "`inj_1`" in card


def test_the_audit_of_each_pair_type_is_in_manifest_and_card(frozen: Freeze, store: StoreSettings) -> None:
    """The fixture's rejected steps read "= 9...": a shortcut, which the dataset has to own up to."""
    dataset = frozen()
    report = (dataset.manifest or {})["audit"]
    assert set(report) == {"step", "full"}
    assert (report["step"]["pairs"], report["step"]["problems"]) == (2 * PROBLEMS, PROBLEMS)
    assert report["step"]["auc"] > report["step"]["threshold"]
    assert report["step"]["warning"] == report["step"]["sentence"]
    card = FileStore(store.files).read_bytes(f"{dataset.folder}/README.md").decode()
    assert "## Shortcut audit" in card
    assert "**Warning.** A classifier that never sees the question tells the sides of step pairs apart" in card
    only = (frozen(types=["full"]).manifest or {})["audit"]
    assert only == {"full": report["full"]}


def test_the_audit_of_each_kind_is_in_manifest_and_card(
    frozen: Freeze, store: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("errata.audit.KIND_PAIRS", 30)
    dataset = frozen()
    groups = (dataset.manifest or {})["audit_by_kind"]
    assert {(group["kind"], group["form"]) for group in groups} == {(kind, "stands") for kind in KINDS}
    assert sum(group["pairs"] for group in groups) == 2 * PROBLEMS
    assert all(group["shortcut"] for group in groups), "the fixture's rejected steps read alike"
    card = FileStore(store.files).read_bytes(f"{dataset.folder}/README.md").decode()
    assert "| error kind | form | pairs | AUC | finding |" in card
    assert "| operator | stands |" in card
