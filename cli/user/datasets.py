"""``errata datasets``: pairs frozen or files imported, downloaded, pushed to the hub, renamed, tagged, deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import CliError
from cli.user.connection import AsJson, Url, connected
from cli.user.jobs import Watch, finish
from cli.user.life import Cascade, NewName, Removed, Tags, Yes, remove, retag
from cli.user.output import ago, clean, print_json, print_path, print_record, print_rows, say
from cli.user.settings import Columns, ConfigFile, Settings, column_mapping, configuration
from cli.user.watch import watch

if TYPE_CHECKING:
    from errata_client.hub import Pushed

datasets = typer.Typer(help="Datasets: pairs frozen to files, once and for good.", no_args_is_help=True)
DatasetId = Annotated[str, typer.Argument(help="Its id: ds_...")]
Repo = Annotated[str, typer.Argument(help="The hub's repository: owner/name.")]
Public = Annotated[bool, typer.Option("--public", help="Everyone may see it; default: you alone.")]
Licence = Annotated[str | None, typer.Option(help="As the hub names it, such as mit.")]
_LEFT_OUT = {"rejected_count": "bad rows left out", "duplicates": "repeated rows left out"}


@datasets.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    jobs: Annotated[list[str] | None, typer.Argument(help="Injection jobs that have ended: inj_...")] = None,
    mixed: Annotated[
        list[str] | None, typer.Option("--mix", help="A finished dataset to mix in: ds_..., or ds_...=WEIGHT.")
    ] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    watching: Watch = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Freeze the pairs of ended jobs, and of finished datasets."""
    with connected(url) as errata:
        made = errata.datasets.create(
            name, jobs or (), datasets=_weights(mixed or ()), config=configuration(config, settings)
        )
        for line in made.notes:
            say(line)
        finish(errata, made, watching=watching, as_json=as_json)


@datasets.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSONL, JSON, CSV, TSV or Parquet.")],
    name: Annotated[str | None, typer.Option(help="Default: the file's name.")] = None,
    format: Annotated[str | None, typer.Option(help="Such as trl or openai; default: told by the columns.")] = None,
    columns: Columns = None,
    licence: Licence = None,
    source: Annotated[str | None, typer.Option("--source-url", help="Where the file is from.")] = None,
    refuse: Annotated[bool, typer.Option("--refuse-bad-rows", help="Refuse the file for one bad row.")] = False,
    config: ConfigFile = None,
    settings: Settings = None,
    watching: Watch = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a dataset of a preference file. Bad rows are listed and left out."""
    with connected(url) as errata:
        made = errata.datasets.import_file(
            file,
            name=name or file.name,
            format=format,
            mapping=column_mapping(columns),
            license=licence,
            source_url=source,
            config=configuration(config, settings),
            on_bad_row="refuse" if refuse else "report",
        )
        _tell_import(made.imported or {})
        finish(errata, made, watching=watching, as_json=as_json)


def _weights(mixed: Sequence[str]) -> dict[str, float | None]:
    """``ds_...`` or ``ds_...=weight`` each. Raises CliError."""
    found: dict[str, float | None] = {}
    for each in mixed:
        dataset, mark, weight = each.partition("=")
        try:
            found[dataset] = float(weight) if mark else None
        except ValueError:
            raise CliError(f"--mix {each}: the weight is no number; give one such as {dataset}=2") from None
    return found


def _tell_import(told: Mapping[str, Any]) -> None:
    if not told:
        return
    parts = [f"{told['rows']:,} rows read as {told['format']}: {told['pairs']:,} pairs, {told['samples']:,} samples"]
    parts += [f"{text}: {told[name]:,}" for name, text in _LEFT_OUT.items() if told[name]]
    say(", ".join(parts))
    for bad in told["rejected"]:
        say(f"{bad['count']:,} rows: {bad['reason']} (first lines: {', '.join(map(str, bad['lines']))})")
    if told["ignored_columns"]:
        say(f"columns not used: {', '.join(told['ignored_columns'])}")


@datasets.command("rename")
def rename(dataset: DatasetId, name: NewName, url: Url = None, as_json: AsJson = False) -> None:
    """Rename a dataset. Its files and its digest stay what they are."""
    with connected(url) as errata:
        found = errata.datasets.update(dataset, name=name)
        print_record(found.id, {"name": found.name, "tags": ", ".join(found.tags)}, found, as_json=as_json)


@datasets.command("tag")
def tag(
    dataset: DatasetId, tags: Tags = None, removed: Removed = None, url: Url = None, as_json: AsJson = False
) -> None:
    """Add tags to a dataset or take them away; without either its tags are listed."""
    with connected(url) as errata:
        now = retag(errata.datasets, dataset, tags or (), removed or ())
        if as_json:
            print_json(now)
        else:
            print("\n".join(clean(each) for each in now))


@datasets.command("rm")
def rm(
    dataset: DatasetId, yes: Yes = False, cascade: Cascade = False, url: Url = None, as_json: AsJson = False
) -> None:
    """Delete a dataset with its files. What depends on it is listed first."""
    with connected(url) as errata:
        remove(errata.datasets, dataset, "dataset", yes=yes, cascade=cascade, as_json=as_json)


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
            "tags": ", ".join(found.tags),
            "notes": "\n".join(found.notes),
            "pairs": manifest and f"{manifest['counts']['pairs']:,}",
            "rows": "\n".join(
                f"{shape}: " + ", ".join(f"{split} {count:,}" for split, count in splits.items())
                for shape, splits in (manifest.get("rows") or {}).items()
            ),
            "audit": "\n".join(audit),
            "gates": "\n".join(
                f"{name}: {gate['sentence']}"
                for name, gate in (manifest.get("gates") or {}).items()
                if gate["state"] == "warning"
            ),
            "sha256": found.sha256,
        }
        print_record(found.id, fields, found, as_json=as_json)


@datasets.command("download")
def download(
    dataset: DatasetId,
    folder: Annotated[Path | None, typer.Argument(help="Where to; default: a folder of the dataset's id.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Download every file, checked against the manifest. A download that was cut goes on where it stopped."""
    with connected(url) as errata:
        found = errata.datasets.get(dataset)
        if not found.ended:
            watch(errata.datasets, dataset, f"errata jobs watch {dataset}")
        target = errata.datasets.download(dataset, folder or Path(dataset))
        say(f"{dataset} is in {target}")
        print_path(target, as_json=as_json)


@datasets.command("push")
def push(
    dataset: DatasetId,
    repo: Repo,
    public: Public = False,
    licence: Licence = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Push a dataset to the Hugging Face hub from this machine, private unless you say --public."""
    with connected(url) as errata:
        pushed = errata.datasets.push(dataset, repo, private=not public, licence=licence)
        tell_pushed(pushed, as_json=as_json)


def tell_pushed(pushed: Pushed, *, as_json: bool) -> None:
    """Say what was pushed, and print where it is."""
    say(f"pushed as {'a private' if pushed.private else 'a public'} repository, commit {pushed.commit}")
    if as_json:
        print_json({"url": pushed.url, "commit": pushed.commit, "private": pushed.private})
    else:
        print(clean(pushed.url))
