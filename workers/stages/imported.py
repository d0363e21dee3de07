"""Stage ``freeze`` of an imported dataset: the checked rows of its file become tables, card and manifest.

What the API left in the file store (models.imports) is read line by line, so memory does not grow with the file. The
folder is published as every dataset's is.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy.orm import Session

from errata.distributions import Distributions
from errata.imports.card import render_card
from errata.imports.config import ImportConfig
from errata.imports.exports import Export, exports
from errata.seeds import SPLITS, Split, split_of
from errata.types import Domain
from models.files import FileStore
from models.folders import list_files
from models.imports import staged_rows, sweep_staged
from models.outputs import Dataset
from models.session import update_by_key
from workers.engines.base import Cancelled
from workers.stages.base import Finish, StageContext
from workers.stages.dataset_files import Auditor, TableWriter
from workers.stages.dataset_manifest import FORMAT
from workers.stages.dataset_selection import SelectionImpossible
from workers.stages.freeze import fail_dataset, freeze, publish_dataset
from workers.stages.gates import DatasetGates, GatesRefuse
from workers.stages.imported_checks import ImportedRowsToCheck

_COUNTED = ("type", "error_kind", "form", "editor", "evidence", "source")
_GATED = ("pair_id", "question", "prefix", "chosen", "rejected")
_CHECK_EVERY = 1000  # rows between two looks at whether to stop


def freeze_or_import(context: StageContext) -> Finish:
    """The stage ``freeze``: of jobs, or of an imported file."""
    with context.db.read() as session:
        dataset = session.get_one(Dataset, context.lease.owner_id)
    return write_import(context, dataset) if dataset.config.get("import") else freeze(context)


@dataclass
class Counts:
    """What was written, for the manifest."""

    pairs: int
    samples: int
    problems: set[bytes]
    by: dict[str, Counter[str]]

    def add(self, row: dict[str, Any], split: Split) -> None:
        """Count one stored row."""
        self.problems.add(hashlib.sha256(row["question"].encode()).digest()[:8])
        if "chosen" not in row:
            self.samples += 1
            return
        self.pairs += 1
        for name, value in (*((name, row.get(name)) for name in _COUNTED), ("split", split)):
            if value is not None:
                self.by.setdefault(name, Counter())[value] += 1

    def as_dict(self) -> dict[str, Any]:
        """Counts by what rows say of themselves, most frequent first."""
        by = {name: dict(sorted(c.items(), key=lambda item: (-item[1], item[0]))) for name, c in self.by.items()}
        return {"pairs": self.pairs, "samples": self.samples, "problems": len(self.problems), **by}


class Tables:
    """The tables of an imported dataset. One is opened when its first row comes, so that none is empty."""

    def __init__(self, folder: Path, shapes: list[Export]) -> None:
        self.written: dict[tuple[str, Split], TableWriter] = {}
        self.left_out: Counter[str] = Counter()
        self._folder, self._shapes, self._stack = folder, shapes, ExitStack()
        self._samples: set[bytes] = set()

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add(self, row: dict[str, Any], split: Split) -> None:
        """Write a stored row in every shape that can say it."""
        for shape in self._shapes:
            if shape.name != "sft" and "chosen" not in row:
                continue
            rows = shape.rows(row)
            if not rows:
                self.left_out[shape.name] += 1
            for each in rows:
                # A solution that is preferred to several others is one sample.
                if shape.name != "sft" or self._is_new(each):
                    self._table(shape, split).add(each)

    def _is_new(self, sample: dict[str, Any]) -> bool:
        digest = hashlib.sha256(json.dumps(sample, sort_keys=True).encode()).digest()[:16]
        new = digest not in self._samples
        self._samples.add(digest)
        return new

    def _table(self, shape: Export, split: Split) -> TableWriter:
        key = (shape.name, split)
        if key not in self.written:
            self.written[key] = TableWriter(self._folder / shape.name, split, shape.fields)
            self._stack.callback(self.written[key].close)
        return self.written[key]

    def rows(self) -> dict[str, dict[str, int]]:
        """Rows by shape and split, of the tables that have any."""
        found: dict[str, dict[str, int]] = {}
        for shape in self._shapes:
            by_split: dict[str, int] = {
                split: self.written[shape.name, split].rows for split in SPLITS if (shape.name, split) in self.written
            }
            if by_split:
                found[shape.name] = by_split
        return found


def write_import(context: StageContext, dataset: Dataset) -> Finish:
    """Write the folder of an imported dataset, then its row. What its gates refuse fails the dataset at once."""
    files = FileStore(context.store.files)
    with context.db.read() as session:
        sweep_staged(session, files)
    try:
        with files.scratch() as folder:
            manifest = _build(context, files, dataset, folder)
            values = publish_dataset(files, dataset.id, folder, manifest)
    except SelectionImpossible as error:
        return fail_dataset(dataset.id, str(error))
    except GatesRefuse as error:
        return fail_dataset(dataset.id, str(error), error.reports)

    def write(session: Session) -> None:
        update_by_key(session, Dataset, [{"id": dataset.id, **values}])

    return Finish(None, write)


def _build(context: StageContext, files: FileStore, dataset: Dataset, folder: Path) -> dict[str, Any]:
    told = dataset.config["import"]
    config = ImportConfig.model_validate({k: v for k, v in dataset.config.items() if k in ImportConfig.model_fields})
    shapes = exports(config.shapes, conversational=told["conversational"], has_pairs=told["pairs"] > 0)
    counts, auditor, measured = Counts(0, 0, set(), {}), Auditor(), Distributions()
    with DatasetGates(config.gates, folder.parent, context.cancelled) as gates:
        gates.take_questions(_questions(_rows(files, dataset.id)))
        with Tables(folder, shapes) as tables:
            for at, row in enumerate(_rows(files, dataset.id)):
                if at % _CHECK_EVERY == 0 and context.cancelled():
                    raise Cancelled
                # Near-duplicates fall on one side, unless the files themselves say which rows are held out.
                drawn = split_of(gates.side_of(row["question"]), config.split.test, config.seed)
                split = row.get("split") or drawn
                counts.add(row, split)
                if "chosen" in row:
                    _measure(measured, row)
                    auditor.add(SimpleNamespace(**row))
                    gates.add_pair(*(row[name] for name in _GATED))
                tables.add(row, split)
        _require_train_rows(tables)
        audit = auditor.report()
        with context.db.read() as session:
            checked = ImportedRowsToCheck(
                session, dataset.workspace_id, lambda: _rows(files, dataset.id), Domain(config.domain)
            )
            found = gates.reports(context, session, [], audit, checked)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "name": dataset.name,
        "config": {name: value for name, value in dataset.config.items() if name != "import"},
        "imported": told,
        "rows": tables.rows(),
        "shapes": {shape.name: shape.about for shape in shapes},
        "left_out": dict(tables.left_out),
        "counts": counts.as_dict(),
        "distributions": measured.as_dict(),
        "lineage": [],
        "gates": found,
        "audit": audit,
    }
    (folder / "README.md").write_text(render_card(manifest), encoding="utf-8", newline="\n")
    rows = {
        path.relative_to(folder).as_posix(): table.rows for table in tables.written.values() for path in table.paths
    }
    manifest["files"] = list_files(folder, extra={name: {"rows": count} for name, count in rows.items()})
    return manifest


def _measure(into: Distributions, row: dict[str, Any]) -> None:
    """Count a pair: imported rows need not say which step is wrong, nor how far the sides differ."""
    step, distance = row.get("step_index"), row.get("distance")
    into.add("step", [] if step is None else [step + 1])
    into.add("distance", [] if distance is None else [distance])
    for side in ("chosen", "rejected"):
        into.add(f"{side}_characters", [len(row[side])])


def _require_train_rows(tables: Tables) -> None:
    if not any(split == "train" for _, split in tables.written):
        raise SelectionImpossible("every row fell into the test split: lower 'split.test' or change 'seed'")


def _questions(rows: Iterator[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Id and question of every problem of a file, once."""
    seen: set[bytes] = set()
    for row in rows:
        key = hashlib.sha256(row["problem_id"].encode()).digest()[:12]
        if key not in seen:
            seen.add(key)
            yield row["problem_id"], row["question"]


def _rows(files: FileStore, dataset_id: str) -> Iterator[dict[str, Any]]:
    with files.open(staged_rows(dataset_id)) as lines:
        for line in lines:
            yield json.loads(line)
