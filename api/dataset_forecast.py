"""What a dataset would hold, counted before it is frozen: rows by shape, the default, and what to know of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from errata.output_config import DatasetConfig, ShapeName
from errata.rests import LeftOut
from errata.shapes import EXAMPLE_PAIR, SHAPES, Shape, default_shape, shapes_of
from errata.shapes.notes import whole_notes
from models.dataset_forecast import Forecast, forecast
from models.jobs import InjectionJob
from models.outputs import Dataset
from workers.dispatch import trained_with_template


class DatasetForecast(BaseModel):
    """What a dataset would hold at most: counted by its filters, before draws, splits and gates."""

    object: Literal["dataset_forecast"] = "dataset_forecast"
    pairs: dict[str, int] = Field(description="Pairs that pass the filters, by type.")
    whole: dict[str, int] = Field(description="Of these, pairs whose sides both go on to an answer, by type.")
    left_out: dict[LeftOut, int] = Field(description="Why the other pairs have no whole form.")
    unknown: int = Field(description="Pairs of which only the freeze finds out whether they have one.")
    rows: dict[ShapeName, int] = Field(description="Rows of each shape that would be written.")
    default_shape: ShapeName | None = Field(description="What `load_dataset` gives without a name; null: nothing.")
    exact: bool = Field(description="Whether these are the dataset's counts; else it holds so many at most.")
    notes: list[str] = Field(description="What to know before it is trained on, with what helps.")


def forecast_dataset(session: Session, config: DatasetConfig) -> DatasetForecast:
    """The forecast of a dataset with this configuration, whose jobs and datasets are there."""
    found = forecast(session, config.jobs, config) if config.jobs else Forecast()
    mixed = [session.get(Dataset, each.id) for each in config.datasets]
    for dataset in mixed:
        _add_files(found, (dataset.manifest if dataset else None) or {})
    jobs = session.scalars(select(InjectionJob).where(InjectionJob.id.in_(config.jobs))).all()
    chat_template = trained_with_template(session, jobs) or bool(mixed)
    shapes = shapes_of(config.shapes, chat_template=chat_template)
    rows = {name: _rows(SHAPES[name], found) for name in shapes}
    default = default_shape([name for name, count in rows.items() if count], chat_template=chat_template)
    # Pairs that nobody looked at yet may all be whole.
    notes = [] if found.unknown else whole_notes(found.whole.total(), found.left_out, shapes, default)
    return DatasetForecast(
        pairs=dict(found.pairs),
        whole=dict(found.whole),
        left_out=dict(found.left_out),
        unknown=found.unknown,
        rows=rows,
        default_shape=default,
        exact=not (config.draws or mixed or found.unknown),
        notes=notes,
    )


def _add_files(found: Forecast, manifest: dict[str, Any]) -> None:
    """Count what a dataset that is mixed in holds, as its manifest tells."""
    counts = manifest.get("counts") or {}
    types = dict(counts.get("type") or {})
    found.pairs.update(types)
    told = manifest.get("whole") or {}
    known = sum((told.get("pairs") or {}).values()) + sum((told.get("left_out") or {}).values())
    if known:
        found.whole.update({"step": sum(told["pairs"].values())})
        found.left_out.update({LeftOut(why): count for why, count in told["left_out"].items()})
    else:
        found.unknown += sum(types.values())
    found.samples += sum(((manifest.get("rows") or {}).get("sft") or {}).values())


def _rows(shape: Shape, found: Forecast) -> int:
    """How many rows a shape makes of the pairs and samples."""
    if shape.samples is not None:
        return found.samples
    pairs = found.whole if shape.ends == "answer" else found.pairs
    made = {type_: len(shape.rows(replace(EXAMPLE_PAIR, type=type_))) for type_ in ("step", "full")}
    return sum(made[type_] * count for type_, count in pairs.items())
