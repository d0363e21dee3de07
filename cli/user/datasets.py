"""``errata datasets``: pairs frozen to files, downloaded, pushed to the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.user.connection import AsJson, Url, connected
from cli.user.jobs import Watch, finish
from cli.user.output import ago, print_record, print_rows, say
from cli.user.settings import ConfigFile, Settings, configuration
from cli.user.watch import watch

datasets = typer.Typer(help="Datasets: pairs frozen to files, once and for good.", no_args_is_help=True)
DatasetId = Annotated[str, typer.Argument(help="Its id: ds_...")]
Repo = Annotated[str, typer.Argument(help="The hub's repository: owner/name.")]
Public = Annotated[bool, typer.Option("--public", help="Everyone may see it; default: you alone.")]
Licence = Annotated[str | None, typer.Option(help="As the hub names it, such as mit.")]


@datasets.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    jobs: Annotated[list[str], typer.Argument(help="Injection jobs that have ended: inj_...")],
    config: ConfigFile = None,
    settings: Settings = None,
    watching: Watch = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Freeze the pairs of ended jobs."""
    with connected(url) as errata:
        made = errata.datasets.create(name, jobs, config=configuration(config, settings))
        finish(errata, made, watching=watching, as_json=as_json)


@datasets.command("list")
def list_datasets(url: Url = None, as_json: AsJson = False) -> None:
    """List datasets, newest first."""
    columns: dict[str, Any] = {
        "id": lambda row: row.id,
        "name": lambda row: row.name,
        "state": lambda row: row.state,
        "pairs": lambda row: f"{row.manifest['counts']['pairs']:,}" if row.manifest else "",
        "made": lambda row: ago(row.created_at),
    }
    with connected(url) as errata:
        print_rows(errata.datasets.list(), columns, as_json=as_json, empty="There are no datasets.")


@datasets.command("show")
def show(dataset: DatasetId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a dataset: its counts, its files, and what its card warns of."""
    with connected(url) as errata:
        found = errata.datasets.get(dataset)
        manifest = found.manifest or {}
        audit = [each["sentence"] for each in (manifest.get("audit") or {}).values()]
        fields = {
            "name": found.name,
            "state": found.state,
            "error": found.error,
            "pairs": manifest and f"{manifest['counts']['pairs']:,}",
            "rows": "\n".join(
                f"{shape}: " + ", ".join(f"{split} {count:,}" for split, count in splits.items())
                for shape, splits in (manifest.get("rows") or {}).items()
            ),
            "audit": "\n".join(audit),
            "sha256": found.sha256,
        }
        print_record(found.id, fields, found, as_json=as_json)


@datasets.command("download")
def download(
    dataset: DatasetId,
    folder: Annotated[Path | None, typer.Argument(help="Where to; default: a folder of the dataset's id.")] = None,
    url: Url = None,
) -> None:
    """Download every file, checked against the manifest. A download that was cut goes on where it stopped."""
    with connected(url) as errata:
        found = errata.datasets.get(dataset)
        if not found.ended:
            watch(errata.datasets, dataset, f"errata jobs watch {dataset}")
        target = errata.datasets.download(dataset, folder or Path(dataset))
        say(f"{dataset} is in {target}")
        print(target)


@datasets.command("push")
def push(dataset: DatasetId, repo: Repo, public: Public = False, licence: Licence = None, url: Url = None) -> None:
    """Push a dataset to the Hugging Face hub from this machine, private unless you say --public."""
    with connected(url) as errata:
        pushed = errata.datasets.push(dataset, repo, private=not public, licence=licence)
        say(f"pushed as {'a private' if pushed.private else 'a public'} repository, commit {pushed.commit}")
        print(pushed.url)
