"""The ``errata`` command: the composition root. What a command needs is imported when it runs, so `--help` is instant.

Settings come from the environment: ``DATABASE_URL``, ``BROKER_URL``, ``ERRATA_HOME`` and the ``ERRATA_*`` variables
that docs/operations.md lists. Without any, everything is local and embedded.
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeGuard

import typer

from cli import CliError, configure_logging, operator, read_secrets
from cli.sections import Sections
from cli.user import account, evaluations, jobs, keys, studies, training
from cli.user.connection import Url, connected
from cli.user.datasets import datasets
from cli.user.models import models
from cli.user.output import clean
from cli.user.pairs import pairs
from cli.user.problems import problems
from cli.user.webhooks import webhooks

if TYPE_CHECKING:
    from pydantic import ValidationError

    from models.settings import StoreSettings

app = typer.Typer(
    name="errata",
    cls=Sections,
    help="Preference data from injected errors, and the training that learns from it.",
    no_args_is_help=True,
    context_settings={"max_content_width": 110},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
keys.register(app)
app.add_typer(models, name="models")
app.add_typer(problems, name="problems")
jobs.register(app)
app.add_typer(pairs, name="pairs")
app.add_typer(datasets, name="datasets")
app.add_typer(webhooks, name="webhooks")
training.register(app)
evaluations.register(app)
studies.register(app)
account.register(app)
operator.register(app)

ROOMS = ("api", "cli", "client", "demo", "errata", "models", "workers")
Host = Annotated[str | None, typer.Option(help="Address to listen on; beyond this machine only with an API key.")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="0: any free port.")]


class Queue(StrEnum):
    """What a worker takes: calls to language models, or everything else."""

    GENERATION = "generation"
    GRADING = "grading"


class WorkerPool(StrEnum):
    """Threads, or one shard at a time (an engine in this process)."""

    THREADS = "threads"
    SOLO = "solo"


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    trainer: Annotated[bool, typer.Option(help="Train here as well.")] = True,
    with_parent: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Start everything on this machine: API, dashboard, worker, sweeper and trainer in one process tree."""
    if sys.stderr.isatty():
        # Its imports alone take seconds, and a minute on a busy machine: silence looks like a fault.
        print("Errata starts ...", file=sys.stderr, flush=True)
    from cli.serve import serve as run

    run(_store(), host, port, trainer=trainer, with_parent=with_parent)


@app.command()
def api(host: Host = None, port: Port = None) -> None:
    """Start the API alone; workers, sweeper and trainer run elsewhere."""
    from cli.serve import api as run

    run(_store(), host, port)


@app.command()
def worker(
    queues: Annotated[str, typer.Option(help="What to take: generation, grading, or both.")] = "generation,grading",
    pool: Annotated[WorkerPool, typer.Option(help="solo: one shard at a time.")] = WorkerPool.THREADS,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=256, help="Shards in flight; default: the settings' of these queues.")
    ] = None,
) -> None:
    """Run the stages of injection jobs, datasets and evaluations."""
    from cli.processes import worker as run

    try:
        wanted = [Queue(name.strip()).value for name in queues.split(",")]
    except ValueError:
        raise typer.BadParameter("give generation, grading, or generation,grading", param_hint="--queues") from None
    run(_store(), wanted, pool.value, concurrency)


@app.command()
def sweeper() -> None:
    """Requeue what dead workers left behind and send lost hints again."""
    from cli.processes import sweeper as run

    run(_store())


@app.command()
def trainer(with_parent: Annotated[bool, typer.Option(hidden=True)] = False) -> None:
    """Start and watch training runs."""
    from cli.processes import trainer as run

    run(_store(), with_parent=with_parent)


@app.command()
def migrate(check: Annotated[bool, typer.Option("--check", help="Change nothing; fail when behind.")] = False) -> None:
    """Bring the database to this version's schema."""
    from cli.admin import migrate as run

    run(_store(), check=check)


@app.command()
def health(
    url: Annotated[
        str | None, typer.Option(help="An API to ask as well, such as http://127.0.0.1:8000/readyz.")
    ] = None,
    strict: Annotated[bool, typer.Option(help="Fail too where something waits: no worker, an engine away.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print every part with its state and remedy.")] = False,
) -> None:
    """Name what is missing, and fail where nothing works without it: for people and health checks of containers."""
    from cli.health import health as run

    run(_store(), url, as_json=as_json, strict=strict)


@app.command()
def mcp(
    url: Url = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Offer no tool that starts or stores things.")] = False,
) -> None:
    """Serve agents over MCP on standard input and output, with the key's scopes."""
    from cli.agents import serve as run

    with connected(url) as errata:
        run(errata, read_only=read_only)


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="One preset, as the complete configuration it stands for.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every preset as its configuration, as JSON.")] = False,
) -> None:
    """List the presets of injection jobs, or print one of them in full."""
    from errata.config import PRESETS, resolve
    from errata.preset_sentences import INJECTION

    if name is not None and name not in PRESETS:
        raise CliError(f"there is no preset '{name}'; there are {', '.join(PRESETS)}")
    if name is None and not as_json:
        print("\n".join(f"{preset:14}{sentence}" for preset, sentence in INJECTION.items()))
        return
    found = {preset: resolve(preset).model_dump(mode="json") for preset in ([name] if name else PRESETS)}
    print(json.dumps(found[name] if name else found, indent=2))


@app.command()
def demo(
    gsm8k: Annotated[Path | None, typer.Option(help="Bring real solutions from this file; no model needed.")] = None,
    server: Annotated[str | None, typer.Option(help="Use this running service; default: start one.")] = None,
    plan: Annotated[str, typer.Option(help="How big: full, or small for a first look.")] = "full",
    random_model: Annotated[bool, typer.Option(help="Use an untrained model of the same shape.")] = False,
    keep_serving: Annotated[bool, typer.Option(help="Keep the dashboard open at the end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on the last line.")] = False,
) -> None:
    """Watch Errata do its main job from start to end, over HTTP, with the miniature or with real solutions."""
    from demo.run import Options, run

    raise typer.Exit(run(Options(gsm8k, server, plan, random_model, keep_serving, as_json)))


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"errata {version('errata')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Preference data from injected errors, and the training that learns from it."""


def _store() -> StoreSettings:
    from models.settings import StoreSettings

    store = StoreSettings()
    store.register_kinds()
    return store


def main() -> None:
    """Run the command; what stands in its way is one line on standard error and exit status 1."""
    try:
        read_secrets()
        configure_logging()
        app(prog_name="errata")  # under `python -m` too: completion is set up by this name
    except CliError as error:
        _refuse(error, error.status)
    except ModuleNotFoundError as error:
        # One of our own modules that is missing is a bug and keeps its traceback.
        if not (error.name or "").startswith(ROOMS):
            extra = "mcp" if (error.name or "").startswith("mcp") else "server"
            print(f"errata: '{error.name}' is not installed; this needs errata[{extra}]", file=sys.stderr)
            sys.exit(1)
        raise
    except ValueError as error:
        if not _of_pydantic(error):
            raise
        _refuse(error, 1)


def _refuse(error: Exception, status: int) -> None:
    print(f"errata: {clean(_one_line(error))}", file=sys.stderr)
    sys.exit(status)


def _of_pydantic(error: Exception) -> TypeGuard[ValidationError]:
    """Whether a value failed a check of settings. Pydantic is not loaded for that: without it none can have."""
    loaded = sys.modules.get("pydantic")
    return loaded is not None and isinstance(error, loaded.ValidationError)


def _one_line(error: Exception) -> str:
    if _of_pydantic(error):
        found = error.errors(include_url=False)
        return "; ".join(f"{_place(error, e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in found)
    return " ".join(str(error).split())


def _place(error: ValidationError, loc: tuple[int | str, ...]) -> str:
    """Where the fault is: a setting by the environment variable that gives it, anything else by its path."""
    settings = sys.modules.get("pydantic_settings")
    known = settings.BaseSettings.__subclasses__() if settings else []
    for owner in known:
        if owner.__name__ == error.title and loc and loc[0] in owner.model_fields:
            return f"{owner.model_config.get('env_prefix', '')}{loc[0]}".upper()
    return ".".join(map(str, loc))


if __name__ == "__main__":
    main()
