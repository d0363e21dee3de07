"""One dataset: its files, what they hold and how to load them, what was audited, and what it came from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.pages.format import flat, number, visible
from api.pages.jobs import Part, parts_of
from api.pages.preferences import left_out
from api.pages.shapes import whole_figures, written_shapes
from models.jobs import InjectionJob
from models.outputs import Dataset, DatasetSource, TrainingRun

CARD = "README.md"
_MAX_LINKS = 20
_MAX_CARD = 400_000  # characters of a card that are rendered
_IMPORTED = ("file", "file_sha256", "format", "license", "source_url", "rejected_count", "duplicates")
_MEASURES = (
    ("step", "Wrong step"),
    ("distance", "Edit distance"),
    ("chosen_characters", "Length of the chosen side, in characters"),
    ("rejected_characters", "Length of the rejected side, in characters"),
)
_TRL_SCRIPT = re.compile(r"/trl/[a-z]+\.sh$")
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Snippet:
    """A few lines that load or fetch the dataset."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class KindAudit:
    """The shortcut audit of one error kind and form: ``auc`` with its interval over ``pairs``."""

    kind: str
    form: str
    pairs: int
    auc: float
    low: float
    high: float
    shortcut: bool


def dataset_context(session: Session, row: Dataset) -> dict[str, Any]:
    """What the page of a dataset shows."""
    jobs = (
        select(InjectionJob)
        .join(DatasetSource, DatasetSource.job_id == InjectionJob.id)
        .where(DatasetSource.dataset_id == row.id)
        .order_by(InjectionJob.created_at)
    )
    runs = select(TrainingRun).where(TrainingRun.dataset_id == row.id).order_by(TrainingRun.created_at.desc())
    manifest = row.manifest or {}
    source = {name: value for name, value in (manifest.get("imported") or {}).items() if name in _IMPORTED and value}
    files = manifest.get("files") or []
    return {
        "files": files,
        "card": any(file["path"] == CARD for file in files),
        "figures": [
            *flat({name: manifest[name] for name in ("counts", "rows") if manifest.get(name)}),
            *flat(whole_figures(manifest), "whole."),
            *flat({"imported": source} if source else {}),
        ],
        "notes": manifest.get("notes") or [],
        "findings": [report["sentence"] for report in (manifest.get("audit") or {}).values()],
        "audits": [_audited(group) for group in manifest.get("audit_by_kind") or ()],
        "gates": manifest.get("gates") or {},
        "snippets": snippets(row.id, manifest) if files else [],
        "shapes": written_shapes(manifest),
        "distributions": distributions(manifest),
        "left_out": left_out(row.config.get("import") or {}),
        "jobs": session.scalars(jobs.limit(_MAX_LINKS)).all(),
        "runs": session.scalars(runs.limit(_MAX_LINKS)).all(),
    }


def distributions(manifest: Mapping[str, Any]) -> list[tuple[str, tuple[Part, ...]]]:
    """What a manifest tells of how its pairs are distributed, by title; empty for older ones."""
    told = manifest.get("distributions") or {}
    found = [(title, tuple(_bins(told.get(name) or ()))) for name, title in _MEASURES]
    kinds = ("Error kind", parts_of((manifest.get("counts") or {}).get("error_kind") or {}))
    return [each for each in (kinds, *found) if each[1]]


def _bins(bins: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
    whole = sum(each["pairs"] for each in bins) or 1
    for each in bins:
        low, high = each["low"], each["high"]
        label = number(low) if low == high else f"{number(low)} to {number(high)}" if high else f"from {number(low)}"
        yield Part(label, each["pairs"], each["pairs"] / whole)


def _audited(group: Mapping[str, Any]) -> KindAudit:
    return KindAudit(**{name: group[name] for name in KindAudit.__slots__})


def snippets(dataset_id: str, manifest: Mapping[str, Any]) -> list[Snippet]:
    """Ways to fetch the dataset and to load the configuration that is its default, or else its first one."""
    shape = manifest.get("default_shape") or next(iter(manifest.get("rows") or {}), None)
    found = [
        Snippet("Command line", f"errata datasets download {dataset_id}"),
        Snippet(
            "curl",
            f'curl -o {dataset_id}.zip "$ERRATA_URL/v1/datasets/{dataset_id}/archive.zip" \\\n'
            '  -H "Authorization: Bearer $ERRATA_API_KEY"',
        ),
    ]
    if shape is not None:
        load = f'from datasets import load_dataset\n\nrows = load_dataset("./{dataset_id}", "{shape}", split="train")'
        found.append(Snippet("Python", load))
    for path in (file["path"] for file in manifest["files"]):
        if _TRL_SCRIPT.search(path):
            found.append(Snippet(f"TRL, {path.rpartition('/')[2]}", f"MODEL=FOLDER-OR-HUB-ID sh {dataset_id}/{path}"))
    return found


def card_html(text: str) -> Markup:
    """A dataset's card as HTML. Raw HTML in it stays text, and links with a scheme that could run something are none.

    Names and questions come from users: they are escaped by the card's writer, and here once more.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    body = _FRONT_MATTER.sub("", text[:_MAX_CARD], count=1)
    return Markup(markdown.render(visible(body, _MAX_CARD)))  # html is off: every "<" is escaped
