"""The supervised process: ``python -m workers.training.run --spec FILE`` (or under ``accelerate launch -m``).

Reads a spec and frozen files, trains, writes checkpoints and the finished model, and speaks to the daemon in JSON lines
(workers.training.protocol). Never touches the database. Exit status 0: finished or stopped as asked.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import gc
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PrinterCallback

from workers.training import checkpoints
from workers.training.card import render_card
from workers.training.data import DatasetError, Pair, data_file, encode, read_rows, verify_file
from workers.training.disk import named_when_full, require_room, require_room_for_run
from workers.training.evaluation import HeldOut
from workers.training.extras import require_packages
from workers.training.loading import (
    load_model,
    load_tokenizer,
    local_folder,
    merge_adapter,
    model_fingerprint,
    peft_config,
)
from workers.training.preflight import check, held_out_pairs
from workers.training.process_group import join_on_cpu
from workers.training.protocol import Line, Refused, Voice, saving
from workers.training.reference import compute_reference, load_reference, reference_fingerprint, store_reference
from workers.training.reporting import RememberRun, name_run
from workers.training.resuming import about_run, resume_point, same_run
from workers.training.scoring import base_of, require_own_logps, supports_trees
from workers.training.sharding import read_once
from workers.training.spec import RunSpec
from workers.training.trainer import RiseTrainer

LOCK_MARGIN_SECONDS = 10.0
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", type=Path, required=True)
    spec = RunSpec.model_validate_json(parser.parse_args().spec.read_text(encoding="utf-8"))
    name_run(spec)
    rank = int(os.environ.get("RANK", "0"))
    if "LOCAL_RANK" in os.environ:
        _die_with_parent()
    line = Line(talks=rank == 0)
    if rank == 0:
        line.listen(spec.lease_seconds)
    try:
        with _alone(spec, line) if rank == 0 else contextlib.nullcontext():
            join_on_cpu()
            train(spec, line)
        if torch.distributed.is_initialized():
            gc.collect()  # what is left of the trainer may hold on to the group
            torch.distributed.destroy_process_group()
    except (Refused, DatasetError) as error:
        traceback.print_exc()
        line.send("error", message=str(error), fatal=True)
        return 1
    except Exception as error:
        traceback.print_exc()
        line.send("error", message=f"{type(error).__name__}: {error}", fatal=False)
        return 1
    return 0


def _die_with_parent() -> None:
    """A launcher starts its processes in sessions of their own: whoever kills it by its group would not reach them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


@contextlib.contextmanager
def _alone(spec: RunSpec, line: Line) -> Iterator[None]:
    """Hold the run's folder: a process whose daemon just died or stalled may take as long as its lease to end."""
    folder = spec.checkpoints
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as handle:
        deadline = time.monotonic() + spec.lease_seconds + LOCK_MARGIN_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"another process still trains in {folder}") from None
                line.send("progress", phase="loading", done=0, total=1)
                time.sleep(0.2)
        yield


def train(spec: RunSpec, line: Voice) -> None:
    """The whole run, from the newest good checkpoint where there is one. Raises Refused and DatasetError."""
    line.send("progress", phase="loading", done=0, total=1)
    require_packages(spec.config)
    resume = resume_point(spec, line)
    folder = local_folder(spec.model_path, spec.model_revision)
    tokenizer = load_tokenizer(folder)
    pairs, report, data_sha = _pairs(spec, tokenizer, line)
    line.send("progress", phase="loading", done=0, total=1)
    torch.manual_seed(spec.config.seed)
    with read_once():
        model = load_model(folder, spec.config)
    generation = model.generation_config.to_dict()
    trainer = RiseTrainer(
        model, load_tokenizer(folder), pairs, spec.config, spec.checkpoints, line, peft_config(spec.config)
    )
    trainer.remove_callback(PrinterCallback)
    trainer.args.run_name = spec.run_id
    trainer.add_callback(RememberRun(spec.checkpoints))
    trainer.about = about_run(spec, data_sha)
    note = _choose_packing(trainer)
    same_run(trainer.about, resume)
    require_room_for_run(spec.checkpoints, spec.config, trainer.checkpoint_bytes, trainer.result_bytes)
    held_out = held_out_pairs(spec.dataset_folder, tokenizer, spec.config)
    line.send("ready", total_steps=trainer.plan.total_steps, report=report, packing=trainer.packing, note=note)
    if spec.config.objective == "dpo":
        trainer.reference = _reference(spec, trainer, trainer.pairs, model_fingerprint(folder), line)
    if held_out:
        dpo = spec.config.objective == "dpo"
        reference = _reference(spec, trainer, held_out, model_fingerprint(folder), line) if dpo else None
        trainer.held_out = HeldOut(held_out, reference)
    began = time.monotonic()
    if resume is None or resume[1]["step"] < trainer.plan.total_steps:
        line.send("progress", phase="training", done=resume[1]["step"] if resume else 0, total=trainer.plan.total_steps)
        trainer.train(resume_from_checkpoint=str(resume[0]) if resume else None)
    else:
        trainer._load_from_checkpoint(str(resume[0]))
        trainer.state.global_step = resume[1]["step"]
    if trainer.stopped:
        line.send("stopped", step=trainer.state.global_step)
        return
    summary = _summary(trainer, report, time.monotonic() - began)
    weights = trainer.whole_weights()
    if trainer.accelerator.is_main_process:
        _finish(spec, trainer, tokenizer, generation, summary, line, weights)
    trainer.accelerator.wait_for_everyone()  # a launcher may take the first to leave for one that failed


def _pairs(spec: RunSpec, tokenizer: Any, line: Voice) -> tuple[list[Pair], dict[str, Any], str]:
    path = data_file(spec.dataset_folder, spec.config.objective)
    data_sha = verify_file(spec.dataset_folder, path)
    line.send("progress", phase="encoding", done=0, total=1)
    pairs, report = check(encode(list(read_rows(path)), tokenizer, spec.config), spec.config)
    return pairs, report.as_dict(), data_sha


def _choose_packing(trainer: RiseTrainer) -> str | None:
    """Fall back to plain pairs where the model's attention takes no mask; the answer says why."""
    require_own_logps(trainer.model)
    if trainer.packing == "tree" and (why := supports_trees(trainer.model)):
        trainer.packing = "pairs"
        return f"plain pairs instead of trees: {why}"
    return None


def _reference(
    spec: RunSpec, trainer: RiseTrainer, pairs: Sequence[Pair], fingerprint: str, line: Voice
) -> torch.Tensor:
    config = spec.config.model_copy(update={"packing": trainer.packing})
    name = reference_fingerprint(fingerprint, pairs, config)
    stored = load_reference(spec.reference / name)
    if stored is not None:
        return stored
    model: Any = trainer.model
    adapter_off = model.disable_adapter() if spec.config.lora else contextlib.nullcontext()
    with adapter_off:
        logps = compute_reference(
            model,
            pairs,
            config,
            trainer.computing,
            lambda done, total: line.send("progress", phase="reference", done=done, total=total),
        )
    if trainer.accelerator.is_main_process:
        store_reference(spec.reference / name, logps)
    return logps


def _summary(trainer: RiseTrainer, report: dict[str, Any], seconds: float) -> dict[str, Any]:
    last = {name: value for name, value in trainer.last_values.items() if isinstance(value, int | float)}
    return {
        "steps": trainer.state.global_step,
        "pairs": report["trained"],
        "seconds": round(seconds, 2),
        "packing": trainer.packing,
        **{f"last_{name}": last[name] for name in ("loss", "accuracy", "margin") if name in last},
    }


def _finish(
    spec: RunSpec,
    trainer: RiseTrainer,
    tokenizer: Any,
    generation: dict[str, Any],
    summary: dict[str, Any],
    line: Voice,
    weights: dict[str, torch.Tensor] | None,
) -> None:
    """Write the finished model: weights (merged unless asked otherwise), tokenizer, card; then tell the daemon."""
    line.send("progress", phase="saving", done=0, total=1)
    model = trainer.accelerator.unwrap_model(trainer.model)
    merged = merge_adapter(model, local_folder(spec.model_path, spec.model_revision), spec.config, weights)
    base_of(merged).generation_config = transformers.GenerationConfig.from_dict(generation)
    card = render_card(spec.lineage, spec.config.model_dump(mode="json"), summary)

    def fill(folder: Path) -> None:
        merged.save_pretrained(folder, state_dict=weights if merged is model else None)
        tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(card, encoding="utf-8")
        (folder / "training.json").write_text(
            json.dumps({"lineage": spec.lineage, "config": spec.config.model_dump(mode="json"), "summary": summary}),
            encoding="utf-8",
        )

    what = "the finished model"
    require_room(spec.output, trainer.result_bytes, what)
    with named_when_full(trainer.result_bytes, what):
        manifest = checkpoints.write_folder(spec.output, fill, {"run_id": spec.run_id}, saving(line))
    line.send("finished", step=trainer.state.global_step, path=str(spec.output), manifest=manifest, summary=summary)


if __name__ == "__main__":
    sys.exit(main())
