"""One run from start to end: load, check, reference, train, write the finished model."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers

from models.folders import write_folder
from workers.training.protocol import MessageSink, RunSpec, progress
from workers.training.run import loading, scoring
from workers.training.run import reference as references
from workers.training.run.agreement import agreed_resume_point, if_all_have, require_one_store
from workers.training.run.checkpoints import require_same_run, run_metadata
from workers.training.run.data import Pair, data_file, encode, read_rows, thought_markers, verify_file
from workers.training.run.preflight import Report, check_pairs, held_out_pairs, require_room_for_run, room_for
from workers.training.run.sharding import weights_read_once
from workers.training.run.trainer import RiseTrainer

_OBJECTIVES = {
    "dpo": "preference learning on step and full pairs (RISE, arXiv 2410.06638)",
    "sft": "fine-tuning on its own correct solutions (the control)",
    "step-nll": "fine-tuning on the chosen steps of its pairs alone (the control without a negative)",
}


def train(spec: RunSpec, sink: MessageSink) -> None:
    """The whole run, from the newest good checkpoint where there is one. Raises CannotTrain and DatasetError.

    In a distributed run every process calls this; the first one writes.
    """
    sink.send("progress", phase="loading", done=0, total=1)
    loading.require_packages(spec.config)
    require_one_store(spec)
    resume = agreed_resume_point(spec, sink)
    folder = loading.local_folder(spec.model_path, spec.model_revision)
    tokenizer = loading.load_tokenizer(folder, spec.template)
    pairs, report, data_sha = _load_pairs(spec, tokenizer, sink)
    sink.send("progress", phase="loading", done=0, total=1)
    torch.manual_seed(spec.config.seed)
    with weights_read_once():
        model = loading.load_model(folder, spec.config)
    generation = model.generation_config.to_dict()  # TRL changes it
    # A tokenizer of the trainer's own: TRL may give it a padding token, which the finished model must not have.
    own, adapter = loading.load_tokenizer(folder, spec.template), loading.peft_config(spec.config)
    trainer = RiseTrainer(model, own, pairs, spec.config, spec.checkpoints, sink, adapter)
    trainer.args.run_name = spec.run_id
    trainer.metadata = run_metadata(spec, data_sha)
    note = _choose_packing(trainer)
    require_same_run(trainer.metadata, resume, spec.begins_with_run)
    require_room_for_run(spec.checkpoints, spec.config, trainer.checkpoint_bytes, trainer.result_bytes)
    held_out = held_out_pairs(spec.dataset_folder, tokenizer, spec.config)
    last = trainer.plan.total_steps if spec.ends_at is None else spec.ends_at
    sink.send("ready", total_steps=last, report=asdict(report), packing=trainer.packing, note=note)
    step = resume[1]["step"] if resume else 0
    if spec.ends_at is None:
        _set_references(spec, trainer, held_out, folder)
    began = time.monotonic()
    if resume is None or step < last:
        sink.send("progress", phase="training", done=step, total=trainer.plan.total_steps)
        trainer.train(resume_from_checkpoint=str(resume[0]) if resume else None)
    else:
        trainer.restore(resume[0], step)  # all was trained; the end was not written, or nobody heard of it
    if trainer.stopped:
        sink.send("stopped", step=trainer.state.global_step)
        return
    summary = _summary(trainer, report, time.monotonic() - began)
    weights = trainer.gathered_weights()
    if trainer.accelerator.is_main_process:
        _write_result(spec, trainer, tokenizer, generation, summary, weights)
    trainer.accelerator.wait_for_everyone()  # a launcher may take the first to leave for one that failed


def _load_pairs(spec: RunSpec, tokenizer: Any, sink: MessageSink) -> tuple[list[Pair], Report, str]:
    path = data_file(spec.dataset_folder, spec.config.objective)
    data_sha = verify_file(spec.dataset_folder, path)
    sink.send("progress", phase="encoding", done=0, total=1)
    markers = thought_markers(spec.dataset_folder)
    pairs, report = check_pairs(encode(list(read_rows(path)), tokenizer, spec.config, markers), spec.config)
    return pairs, report, data_sha


def _choose_packing(trainer: RiseTrainer) -> str | None:
    """Fall back to plain pairs where the model's attention takes no mask. Returns why, or None."""
    scoring.require_own_logps(trainer.model)
    if trainer.packing == "tree" and (why := scoring.supports_trees(trainer.model)):
        trainer.packing = "pairs"
        return f"plain pairs instead of trees: {why}"
    return None


def _set_references(spec: RunSpec, trainer: RiseTrainer, held_out: Sequence[Pair], folder: Path) -> None:
    """Give the trainer reference log-probabilities and held-out pairs, before the first step changes a weight."""
    is_dpo = spec.config.objective == "dpo"
    fingerprint = loading.model_fingerprint(folder) if is_dpo else ""
    if is_dpo:
        trainer.reference = _reference(spec, trainer, trainer.pairs, fingerprint)
    if held_out:
        reference = _reference(spec, trainer, held_out, fingerprint) if is_dpo else None
        trainer.held_out = references.HeldOut(held_out, reference)


def _reference(spec: RunSpec, trainer: RiseTrainer, pairs: Sequence[Pair], fingerprint: str) -> torch.Tensor:
    config = trainer.config_in_use()
    folder = spec.reference / references.reference_fingerprint(fingerprint, pairs, config)
    stored = if_all_have(references.load_reference(folder), spec)
    if stored is not None:
        return stored
    model: Any = trainer.model
    with model.disable_adapter() if spec.config.lora else contextlib.nullcontext():
        logps = references.compute_reference(model, pairs, config, progress(trainer.sink, "reference"))
    if trainer.accelerator.is_main_process:
        references.store_reference(folder, logps)
    return logps


def _summary(trainer: RiseTrainer, report: Report, seconds: float) -> dict[str, Any]:
    last = {name: value for name, value in trainer.last_values.items() if isinstance(value, int | float)}
    return {
        "steps": trainer.state.global_step,
        "pairs": report.trained,
        "seconds": round(seconds, 2),
        "packing": trainer.packing,
        **{f"last_{name}": last[name] for name in ("loss", "accuracy", "margin") if name in last},
    }


def _write_result(
    spec: RunSpec,
    trainer: RiseTrainer,
    tokenizer: Any,
    generation: dict[str, Any],
    summary: dict[str, Any],
    weights: dict[str, torch.Tensor] | None,
) -> None:
    """Write the finished model: weights (merged unless asked otherwise), tokenizer, card; then report it."""
    trainer.sink.send("progress", phase="saving", done=0, total=1)
    model = trainer.accelerator.unwrap_model(trainer.model)
    base = loading.local_folder(spec.model_path, spec.model_revision)
    merged = loading.merge_adapter(model, base, spec.config, weights)
    scoring.unwrapped(merged).generation_config = transformers.GenerationConfig.from_dict(generation)
    about = {"lineage": spec.lineage, "config": spec.config.model_dump(mode="json"), "summary": summary}

    def fill(folder: Path) -> None:
        merged.save_pretrained(folder, state_dict=weights if merged is model else None)
        tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(_render_card(**about), encoding="utf-8")
        (folder / "training.json").write_text(json.dumps(about), encoding="utf-8")

    with room_for(spec.output, trainer.result_bytes, "the finished model"):
        manifest = write_folder(spec.output, fill, {"run_id": spec.run_id}, progress(trainer.sink, "saving"))
    trainer.sink.send(
        "finished", step=trainer.state.global_step, path=str(spec.output), manifest=manifest, summary=summary
    )


def _render_card(lineage: Mapping[str, Any], config: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """The model card: YAML front matter, and what the model came from and how."""
    front = {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["errata", config["objective"]]}
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---", ""]
    lines += [f"# {lineage.get('name', 'A model trained by Errata')}", ""]
    lines += [f"Made from **{lineage.get('base_model', 'its base model')}** by {_OBJECTIVES[config['objective']]}.", ""]
    lines += ["## Lineage", "", "| | |", "|---|---|", *_table_rows(lineage)]
    lines += ["", "## Training", "", "| figure | value |", "|---|---|", *_table_rows(summary)]
    lines += ["", "## Settings", "", "```json", json.dumps(config, indent=1, sort_keys=True), "```", ""]
    return "\n".join(lines)


def _table_rows(values: Mapping[str, Any]) -> list[str]:
    return [f"| {key.replace('_', ' ')} | {_cell(value)} |" for key, value in values.items()]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("|", "\\|").replace("\n", " ")
