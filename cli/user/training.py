"""``errata train`` and ``errata runs``: training, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.user.connection import AsJson, Url, connected
from cli.user.datasets import DatasetId
from cli.user.jobs import Watch, change, finish
from cli.user.output import ago, duration, print_json, print_path, print_record, print_rows
from cli.user.settings import ConfigFile, Settings, configuration
from cli.user.watch import watch

runs = typer.Typer(help="Training runs.", no_args_is_help=True)
RunId = Annotated[str, typer.Argument(help="Its id: train_...")]
Step = Annotated[int, typer.Option(min=0, help="Of the checkpoint; `errata runs show` lists them.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(train)
    app.add_typer(runs, name="runs")


def train(
    dataset: DatasetId,
    base: Annotated[str, typer.Option(help="The model to start from, by its name.")],
    output: Annotated[str, typer.Option(help="The name of the model to come.")],
    preset: Annotated[str, typer.Option(help="errata, paper, scripts or sft.")] = "errata",
    config: ConfigFile = None,
    settings: Settings = None,
    hosts: Annotated[int, typer.Option(min=1, help="Trainers that train it together.")] = 1,
    preview: Annotated[bool, typer.Option(help="Only say what it would train on.")] = False,
    watching: Watch = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on a dataset."""
    given = configuration(config, settings)
    with connected(url) as errata:
        if preview:
            seen = errata.training_jobs.preview(dataset, base_model=base, preset=preset, config=given)
            print_record(dataset, _previewed(seen), seen, as_json=as_json)
            return
        run = errata.training_jobs.create(
            dataset, base_model=base, output_name=output, preset=preset, config=given, hosts=hosts
        )
        finish(errata, run, watching=watching, as_json=as_json)


#: What the estimated times of a preview are for.
_PACES = {"per_cpu_core": "one processor core", "per_gpu": "one large GPU"}


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"


def _previewed(seen: Any) -> dict[str, Any]:
    report = seen.report or {}
    return {
        "refused": seen.refused,
        "pairs trained on": report.get("trained"),
        "without a gradient": (report.get("identical", 0) + report.get("lost", 0)) or None,
        "cut at max_length": report.get("cut"),
        "steps": seen.steps,
        "memory": seen.memory_bytes and _size(seen.memory_bytes),
        "disk": seen.disk_bytes and _size(seen.disk_bytes),
        "time": seen.seconds
        and "; ".join(f"{duration(each)} on {_PACES.get(name, name)}" for name, each in seen.seconds.items()),
    }


@runs.command("list")
def list_runs(
    state: Annotated[str | None, typer.Option(help="queued, running, paused, succeeded, ...")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List training runs, newest first."""
    columns: dict[str, Any] = {
        "id": lambda row: row.id,
        "state": lambda row: row.state,
        "step": lambda row: f"{row.step} of {row.total_steps or '?'}",
        "base": lambda row: row.base_model,
        "output": lambda row: row.output_name,
        "made": lambda row: ago(row.created_at),
    }
    with connected(url) as errata:
        print_rows(errata.training_jobs.list(state=state), columns, as_json=as_json, empty="There are no runs.")


@runs.command("show")
def show(run: RunId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a run: its state, its last metrics, its checkpoints."""
    with connected(url) as errata:
        found = errata.training_jobs.get(run)
        last = list(errata.training_jobs.metrics(run))[-1:]
        kept = [
            f"step {each.step}, {each.size_bytes / 2**20:,.0f} MiB, {each.state}"
            for each in errata.training_jobs.checkpoints(run)
        ]
        fields = {
            "state": found.state,
            "error": found.error,
            "step": f"{found.step} of {found.total_steps or '?'}",
            "left": duration(found.eta_seconds),
            "metrics": "\n".join(f"{name} {value}" for each in last for name, value in each.values.items()),
            "checkpoints": "\n".join(kept),
            "begins with": found.from_run and f"step {found.from_step} of {found.from_run}",
            "model": found.language_model,
        }
        print_record(found.id, fields, found, as_json=as_json)


@runs.command("watch")
def watch_run(run: RunId, url: Url = None, as_json: AsJson = False) -> None:
    """Follow a run to its end. Ctrl-C stops watching; the run goes on."""
    with connected(url) as errata:
        done = watch(errata.training_jobs, run, f"errata runs watch {run}")
        if as_json:
            print_json(done)


@runs.command("pause")
def pause(run: RunId, url: Url = None, as_json: AsJson = False) -> None:
    """Write a checkpoint and stop, until resumed."""
    change(run, "pause", url, as_json)


@runs.command("resume")
def resume(run: RunId, url: Url = None, as_json: AsJson = False) -> None:
    """Go on from the last checkpoint."""
    change(run, "resume", url, as_json)


@runs.command("cancel")
def cancel(run: RunId, url: Url = None, as_json: AsJson = False) -> None:
    """Stop a run for good."""
    change(run, "cancel", url, as_json)


@runs.command("resume-from")
def resume_from(
    run: RunId,
    step: Step,
    output: Annotated[
        str | None, typer.Option(help="The name of the model to come; by default the ended run's.")
    ] = None,
    watching: Watch = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Go on from a checkpoint of an ended run, in a new run to the same end."""
    with connected(url) as errata:
        again = errata.training_jobs.resume_checkpoint(run, step, output_name=output)
        finish(errata, again, watching=watching, as_json=as_json)


@runs.command("make-model")
def make_model(
    run: RunId,
    step: Step,
    name: Annotated[str, typer.Option(help="The name of the model.")],
    watching: Watch = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a language model of a checkpoint of an ended run, without further training."""
    with connected(url) as errata:
        finish(errata, errata.training_jobs.make_model(run, step, name), watching=watching, as_json=as_json)


@runs.command("download")
def download(
    run: RunId,
    step: Step,
    to: Annotated[Path, typer.Option(help="The ZIP archive to write.")] = Path("checkpoint.zip"),
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Download a checkpoint as one ZIP archive, verified; a cut download is resumed."""
    with connected(url) as errata:
        print_path(errata.training_jobs.download_checkpoint(run, step, to), as_json=as_json)
