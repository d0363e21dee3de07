"""Between the store and a training process: what a run needs as local folders, and what its result is registered as.

A result of full weights (a merged adapter is full weights) is loaded on demand: by vLLM where the base is, whose engine
child swaps them for what it had loaded, else by transformers. An adapter goes where its base runs: into the vLLM of the
engine child or into the running vLLM server, beside the base; else transformers loads both.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models.base import new_id
from models.files import FileStore
from models.folders import fingerprint
from models.jobs import InjectionJob
from models.outputs import Checkpoint, Dataset, DatasetSource, TrainingRun
from models.settings import StoreSettings
from models.states import JobState
from models.workspaces import LanguageModel
from workers.engines import registry
from workers.training.config import TrainingConfig
from workers.training.protocol import CannotTrain, RunSpec


def files_root(store: StoreSettings) -> Path:
    """The local folder that runs read and write: the file store itself, or where it is remote a cache in the home.

    :mod:`workers.training.supervise.exchange` moves files between the cache and a remote store.
    """
    root = FileStore(store.files)
    return root.local_root if root.local_root is not None else store.cache


def run_folder(store: StoreSettings, run_id: str) -> Path:
    """Where a run's checkpoints, spec and log live."""
    return files_root(store) / "training" / run_id


def checkpoint_folder(store: StoreSettings, run_id: str, step: int) -> tuple[str, str]:
    """Where a checkpoint lies: the root of a local file store, and the folder in it."""
    return str(files_root(store)), f"training/{run_id}/checkpoints/step-{step:09d}"


def mark_checkpoints_deleted(session: Session, run_id: str, steps: Sequence[int] | None = None) -> None:
    """Mark the rows of a run's checkpoints, all or of ``steps``. Before files go: no row may point at nothing."""
    query = update(Checkpoint).where(Checkpoint.run_id == run_id).values(state="deleted")
    session.execute(query if steps is None else query.where(Checkpoint.step.in_(steps)))


def remove_checkpoints(store: StoreSettings, run_id: str) -> None:
    """Delete the files of all checkpoints of a run."""
    shutil.rmtree(run_folder(store, run_id) / "checkpoints", ignore_errors=True)


def make_spec(session: Session, store: StoreSettings, run_id: str, lease_seconds: float) -> RunSpec:
    """Everything the run's process needs. Raises CannotTrain when the run can never start."""
    run = session.get_one(TrainingRun, run_id)
    try:
        config = TrainingConfig.model_validate(run.config)
    except ValidationError as error:
        raise CannotTrain(f"the run's configuration is not valid: {error}") from error
    if run.hosts > 1 and not FileStore(store.files).is_local:
        raise CannotTrain(
            "a run over several hosts needs a file store that is one folder for all of them, for its checkpoints:"
            " mount one, and set ERRATA_FILES_URL to it, or train on one host"
        )
    spec = preview_spec(session, store, run.dataset_id, run.base_model_id, config)
    last = select(func.coalesce(func.max(Checkpoint.step), 0)).where(Checkpoint.run_id == run_id)
    return spec.model_copy(
        update={
            "run_id": run_id,
            "checkpoints": run_folder(store, run_id) / "checkpoints",
            "output": files_root(store) / "models" / run_id,
            "hosts": run.hosts,
            "lease_seconds": lease_seconds,
            "last_step": session.scalar(last) or 0,
            "lineage": _lineage(session, run),
            **_beginning(session, store, run),
        }
    )


def _beginning(session: Session, store: StoreSettings, run: TrainingRun) -> dict[str, Any]:
    """What a run that begins with another one's checkpoint needs of it. Raises CannotTrain where that is gone."""
    if run.from_run_id is None or run.from_step is None:
        return {}
    query = select(Checkpoint.state).where(Checkpoint.run_id == run.from_run_id, Checkpoint.step == run.from_step)
    if session.scalar(query) != "ready":
        raise CannotTrain(f"the checkpoint of step {run.from_step} of {run.from_run_id} was deleted: start a new run")
    root, folder = checkpoint_folder(store, run.from_run_id, run.from_step)
    return {"begins_with": Path(root) / folder, "begins_with_run": run.from_run_id, "ends_at": run.last_step}


def preview_spec(
    session: Session, store: StoreSettings, dataset_id: str, base_model_id: str, config: TrainingConfig
) -> RunSpec:
    """A spec without a run: enough to look at what would be trained. Raises CannotTrain when it could never start."""
    dataset, base = session.get_one(Dataset, dataset_id), session.get_one(LanguageModel, base_model_id)
    if dataset.state != JobState.SUCCEEDED or not dataset.folder:
        raise CannotTrain(f"dataset {dataset.id} is {dataset.state}: it has no files to train on")
    if not base.config.get("path"):
        raise CannotTrain(
            f"language model {base.name!r} has no weights here (engine {base.engine}): it cannot be trained"
        )
    if base.config.get("adapter") or (Path(base.config["path"]) / "adapter_config.json").is_file():
        raise CannotTrain(
            f"language model {base.name!r} is an adapter: merge it (lora.merge) to train on, or start from its base"
        )
    root = files_root(store)
    return RunSpec(
        run_id="preview",
        config=config,
        model_path=base.config["path"],
        model_revision=base.config.get("revision"),
        template={name: base.config[name] for name in ("template_kwargs", "date") if base.config.get(name)},
        dataset_folder=root / dataset.folder,  # an absolute folder stays what it is
        checkpoints=root / "training" / "preview",
        output=root / "models" / "preview",
        reference=root / "reference",
    )


def _lineage(session: Session, run: TrainingRun) -> dict[str, Any]:
    dataset, base = session.get_one(Dataset, run.dataset_id), session.get_one(LanguageModel, run.base_model_id)
    jobs = session.execute(
        select(InjectionJob.id, InjectionJob.problem_set_id)
        .join(DatasetSource, DatasetSource.job_id == InjectionJob.id)
        .where(DatasetSource.dataset_id == dataset.id)
        .order_by(InjectionJob.id)
    ).all()
    return {
        "name": run.output_name,
        "base_model": base.name,
        "base_model_id": base.id,
        "training_run": run.id,
        "dataset": dataset.id,
        "dataset_name": dataset.name,
        "dataset_sha256": dataset.sha256,
        "injection_jobs": [job.id for job in jobs],
        "problem_sets": sorted({job.problem_set_id for job in jobs}),
        **_imported(dataset),
        **({"checkpoint": f"step {run.from_step} of {run.from_run_id}"} if run.from_run_id else {}),
    }


def _imported(dataset: Dataset) -> dict[str, Any]:
    """The file that an imported dataset was made of."""
    source = dataset.config.get("import") or {}
    told = {"imported_file": source.get("file"), "imported_file_sha256": source.get("file_sha256")}
    return {name: value for name, value in told.items() if value}


def register(session: Session, run: TrainingRun, path: str, manifest: dict[str, Any]) -> LanguageModel:
    """Add the finished model to the registry under the run's output name (numbered when the name is taken)."""
    base = session.get_one(LanguageModel, run.base_model_id)
    lora = TrainingConfig.model_validate(run.config).lora
    engine, config = served_as(base, run.id, path, lora.r if lora and not lora.merge else None)
    model = LanguageModel(
        id=new_id("model"),
        workspace_id=run.workspace_id,
        name=_free_name(session, run.workspace_id, run.output_name),
        engine=engine,
        config=config,
        base_model_id=base.id,
        training_run_id=run.id,
        fingerprint=fingerprint(manifest),
    )
    session.add(model)
    session.flush()
    return model


def _free_name(session: Session, workspace_id: str, wanted: str) -> str:
    taken = set(
        session.scalars(
            select(LanguageModel.name).where(
                LanguageModel.workspace_id == workspace_id, LanguageModel.name.startswith(wanted, autoescape=True)
            )
        )
    )
    names = (wanted, *(f"{wanted}-{n}" for n in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)


def served_as(base: LanguageModel, run_id: str, path: str, adapter_rank: int | None) -> tuple[str, dict[str, Any]]:
    """Engine and configuration of the result at ``path``; ``adapter_rank`` is None for full weights."""
    return registry.served_as(base.engine, base.config, registry.Trained(run_id, path, adapter_rank))
