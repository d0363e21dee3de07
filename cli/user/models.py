"""``errata models``: registered, listed, shown, downloaded, pushed, converted, deleted.

``add`` and ``list`` speak to a service where one is known (``--url``, ERRATA_URL or a profile), else to DATABASE_URL.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import CliError
from cli.user.connection import AsJson, Local, Url, connected, speaks_http, told
from cli.user.datasets import Licence, Public, Repo, tell_pushed
from cli.user.life import Cascade, Yes, remove
from cli.user.output import clean, print_json, print_path, print_record, print_rows, say

if TYPE_CHECKING:
    from errata_client import Errata

models = typer.Typer(help="The registry: the only language models a job may name.", no_args_is_help=True)
ModelName = Annotated[str, typer.Argument(help="Its name.")]


@models.command("add")
def add(
    name: Annotated[str, typer.Argument(help="How jobs call it.")],
    engine: Annotated[str | None, typer.Option(help="transformers (default), vllm, openai, ...")] = None,
    path: Annotated[str | None, typer.Option(help="Folder or hub id of the weights.")] = None,
    revision: Annotated[str | None, typer.Option(help="Pinned revision of a hub id.")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="More of the engine's settings, as name=value.")] = None,
    local: Local = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Register a language model, or change what a name stands for. Over HTTP this needs a key of scope admin."""
    given = _given(path, revision, setting or [])
    if speaks_http(url, local):
        with connected(url) as errata:
            made = _added(errata, name, engine or "transformers", given)
            for note in made.notes:
                say(f"Registered, but {note}.")
            entry: dict[str, Any] = {"name": made.id, "engine": made.engine, "config": given}
    else:
        from cli.admin import add_model as run
        from models.settings import StoreSettings

        store = StoreSettings()
        entry = run(store, name, engine, given)
        if store.database_url_given is None:
            say(f"Registered in the database under {store.home.resolve()}; ERRATA_HOME or DATABASE_URL names another.")
    if as_json:
        print_json(entry)
    else:
        print(clean(f"{entry['name']}: {entry['engine']} {json.dumps(entry['config'])}"))


def _added(errata: Errata, name: str, engine: str, given: dict[str, str | None]) -> Any:
    """The service's new entry. Raises CliError: for a place that its operator does not list with the way around."""
    from errata_client import InvalidRequest

    try:
        return errata.models.add(name, engine=engine, settings=given)
    except InvalidRequest as error:
        if any("ERRATA_MODEL_SOURCES" in each.remedy for each in error.errors):
            raise CliError(f"{told(error)}; on the service's own machine, --local adds it without asking") from None
        raise


def _given(path: str | None, revision: str | None, settings: list[str]) -> dict[str, str | None]:
    """The engine's settings as options and ``name=value`` give them. Raises CliError."""
    given: dict[str, str | None] = {}
    if path is not None:
        # Made absolute: workers run in other folders. What is no folder is a hub id.
        given["path"] = str(Path(path).expanduser().resolve()) if Path(path).expanduser().is_dir() else path
    if revision is not None:
        given["revision"] = revision
    for setting in settings:
        key, mark, value = setting.partition("=")
        if not mark or not key:
            raise CliError(f"--setting {setting}: give name=value")
        given[key] = None if value == "null" else value
    return given


@models.command("list")
def list_models(local: Local = False, url: Url = None, as_json: AsJson = False) -> None:
    """List the models of a service (--url, ERRATA_URL or a profile); else the registry in DATABASE_URL."""
    if not speaks_http(url, local):
        from cli.admin import list_models as run
        from models.settings import StoreSettings

        run(StoreSettings(), as_json=as_json)
        return
    columns: dict[str, Any] = {
        "name": lambda row: row.id,
        "engine": lambda row: row.engine,
        "from": lambda row: row.owned_by,
        "base": lambda row: row.base_model or "",
        "training run": lambda row: row.training_job or "",
    }
    with connected(url) as errata:
        empty = "There are no models; the operator adds them with `errata models add`."
        print_rows(errata.models.list(), columns, as_json=as_json, empty=empty)


@models.command()
def show(name: ModelName, url: Url = None, as_json: AsJson = False) -> None:
    """Show a model of the service."""
    with connected(url) as errata:
        found = errata.models.get(name)
        fields = {"engine": found.engine, "from": found.owned_by, "base": found.base_model, "run": found.training_job}
        print_record(found.id, fields, found, as_json=as_json)


@models.command()
def download(
    name: ModelName,
    folder: Annotated[Path | None, typer.Argument(help="Where to; default: a folder of the model's name.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Download a model that a training run made, as safetensors, checked against its manifest."""
    with connected(url) as errata:
        target = errata.models.download(name, folder or Path(name))
        say(f"{name} is in {target}; {_how_to_serve(target, name)}")
        print_path(target, as_json=as_json)


def _how_to_serve(folder: Path, name: str) -> str:
    """The command that serves a downloaded model with vLLM: an adapter beside its base, full weights alone."""
    adapter = folder / "adapter_config.json"
    if not adapter.is_file():
        return f"`vllm serve {folder} --served-model-name {name}` serves it"
    told = json.loads(adapter.read_text(encoding="utf-8"))
    base, rank = told.get("base_model_name_or_path") or "BASE", told.get("r") or 16
    return f"`vllm serve {base} --enable-lora --max-lora-rank {rank} --lora-modules {name}={folder}` serves it"


@models.command()
def push(
    name: ModelName,
    repo: Repo,
    public: Public = False,
    licence: Licence = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Push a trained model to the Hugging Face hub from this machine, private unless you say --public."""
    with connected(url) as errata:
        pushed = errata.models.push(name, repo, private=not public, licence=licence)
        tell_pushed(pushed, as_json=as_json)


@models.command()
def rm(name: ModelName, yes: Yes = False, cascade: Cascade = False, url: Url = None, as_json: AsJson = False) -> None:
    """Delete a trained model with its files. What depends on it is listed first."""
    with connected(url) as errata:
        remove(errata.models, name, "model", yes=yes, cascade=cascade, as_json=as_json)
