"""``errata models``, the part that speaks to a service: listed, shown, downloaded, pushed, deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.user.connection import AsJson, Url, connected
from cli.user.datasets import Licence, Public, Repo
from cli.user.life import Cascade, Yes, remove
from cli.user.output import print_record, print_rows, say

ModelName = Annotated[str, typer.Argument(help="Its name.")]


def register(models: typer.Typer) -> None:
    """Add the commands to the group that the operator's commands stand in."""
    for command in (show, download, push, rm):
        models.command()(command)


def list_served(url: str | None, *, as_json: bool) -> None:
    """The models that jobs may name, as the service tells them."""
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


def show(name: ModelName, url: Url = None, as_json: AsJson = False) -> None:
    """Show a model of the service."""
    with connected(url) as errata:
        found = errata.models.get(name)
        fields = {"engine": found.engine, "from": found.owned_by, "base": found.base_model, "run": found.training_job}
        print_record(found.id, fields, found, as_json=as_json)


def download(
    name: ModelName,
    folder: Annotated[Path | None, typer.Argument(help="Where to; default: a folder of the model's name.")] = None,
    url: Url = None,
) -> None:
    """Download a model that a training run made, checked against its manifest."""
    with connected(url) as errata:
        target = errata.models.download(name, folder or Path(name))
        say(f"{name} is in {target}; `vllm serve {target}` serves it")
        print(target)


def push(name: ModelName, repo: Repo, public: Public = False, licence: Licence = None, url: Url = None) -> None:
    """Push a trained model to the Hugging Face hub from this machine, private unless you say --public."""
    with connected(url) as errata:
        pushed = errata.models.push(name, repo, private=not public, licence=licence)
        say(f"pushed as {'a private' if pushed.private else 'a public'} repository, commit {pushed.commit}")
        print(pushed.url)


def rm(name: ModelName, yes: Yes = False, cascade: Cascade = False, url: Url = None, as_json: AsJson = False) -> None:
    """Delete a trained model with its files. What depends on it is listed first."""
    with connected(url) as errata:
        remove(errata.models, name, "model", yes=yes, cascade=cascade, as_json=as_json)
