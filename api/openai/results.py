"""The results of a fine-tuning job as a CSV file: one line per optimizer step, from the run's metrics."""

from __future__ import annotations

import csv
import io

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.outputs import Metric, TrainingRun
from models.states import TrainingState
from models.uploads import FineTuningJob

RESULT_PREFIX = "file-result-"
_RUN_PREFIX = "train_"
#: What OpenAI's file has, before the other metrics by their own names.
_FIRST = ("step", "train_loss", "valid_loss")


def result_id(run: TrainingRun) -> str:
    """The id of the results of a run."""
    return RESULT_PREFIX + run.id.removeprefix(_RUN_PREFIX)


def result_run(session: Session, public: str, workspace_id: str) -> TrainingRun | None:
    """The run whose results have this id; None where there is none, or where it has not succeeded."""
    rest = public.removeprefix(RESULT_PREFIX)
    if rest == public or not (rest.isascii() and rest.isalnum()):
        return None
    run = session.get(TrainingRun, _RUN_PREFIX + rest)
    if run is None or run.workspace_id != workspace_id or run.state != TrainingState.SUCCEEDED:
        return None
    return run if session.get(FineTuningJob, run.id) is not None else None


def result_csv(session: Session, run: TrainingRun) -> str:
    """Every step with its losses, then every other metric of training by name, in a fixed order."""
    rows = session.scalars(select(Metric).where(Metric.run_id == run.id).order_by(Metric.step)).all()
    lines: dict[int, dict[str, object]] = {}
    for row in rows:
        line = lines.setdefault(row.step, {"step": row.step})
        if row.phase == "train":
            line |= {name: value for name, value in row.values.items() if name != "loss"}
            line["train_loss"] = row.values.get("loss")
        elif row.phase == "eval":
            line["valid_loss"] = row.values.get("loss")
    others = sorted({name for line in lines.values() for name in line} - set(_FIRST))
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, [*_FIRST, *others], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines[step] for step in sorted(lines))
    return out.getvalue()
