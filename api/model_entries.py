"""Adding language models over HTTP: what the operator's list of sources allows, and the registry's row.

A model added with a key of workspace ``default`` is every workspace's, as one that ``errata models add`` registers in
the database; with another workspace's key it is that workspace's own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.errors import Conflict, Invalid
from api.schemas import ModelName, Request
from models.base import new_id
from models.workspaces import LanguageModel
from workers.dispatch import DEFAULT_ENGINE, addresses, entry_config, place_settings

HUB = "hub:"
_ASK = "choose a place that the operator's ERRATA_MODEL_SOURCES lists"
# It names a variable of the workers' environment, whose value would go to the address that the request gives.
_OPERATORS_OWN = "api_key_env"


def _storable(settings: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(settings, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half a character (a lone surrogate)") from None
    if "\\u0000" in text:
        raise ValueError("holds a null character")
    return settings


class ModelIn(Request):
    """A language model to register. ``settings`` are the engine's, as docs/engines.md lists them."""

    name: ModelName = Field(description="How jobs call it; a name that is registered is changed.")
    engine: str = Field(DEFAULT_ENGINE, max_length=40, description="Which engine runs it.")
    settings: Annotated[dict[str, Any], AfterValidator(_storable)] = Field(
        description="Of the engine, such as `path`: a folder or hub id under the operator's ERRATA_MODEL_SOURCES."
    )


def checked_entry(body: ModelIn, sources: Sequence[str]) -> dict[str, Any]:
    """The configuration that a request's entry gets. Raises Invalid naming the setting.

    ``sources`` are the operator's: folders, ``hub:owner`` or ``hub:owner/name`` or ``hub:``, and addresses of servers.
    """
    if _OPERATORS_OWN in body.settings:
        remedy = "add this model with `errata models add` on the service's own machine"
        raise Invalid.field(f"settings.{_OPERATORS_OWN}", "only the operator may name it", remedy)
    # Before anything is looked at: whether a path exists is no business of one who may not name it.
    named = {name: str(value) for name, value in body.settings.items() if name in ("path", "tokenizer", "adapter")}
    for name, place in named.items():
        if not _allowed_place(place, sources):
            raise Invalid.field(f"settings.{name}", "this folder or hub id is not among those that may be added", _ASK)
    # Read as the entry reads them: of several servers each must be allowed.
    listed = addresses(body.settings.get("base_url"))
    if not all(_allowed_address(address, sources) for address in listed):
        raise Invalid.field("settings.base_url", "this address is not among those that may be added", _ASK)
    try:
        config = entry_config(body.engine, body.settings)
    except (ValueError, OSError) as error:
        raise Invalid.field("settings", str(error), "give the engine's settings; docs/engines.md lists them") from None
    assert place_settings(config).keys() <= named.keys(), "an entry names no place that the request did not"
    return config


def put_entry(session: Session, workspace_id: str, name: str, engine: str, config: dict[str, Any]) -> LanguageModel:
    """Make or change a workspace's entry in the caller's transaction. Raises Conflict for a trained model's name."""
    query = select(LanguageModel).where(LanguageModel.workspace_id == workspace_id, LanguageModel.name == name)
    row = session.scalars(query).one_or_none()
    # Jobs that name it must go on meaning the model that was trained.
    if row is not None and row.training_run_id is not None:
        raise Conflict(f"'{name}' is the result of a training run; choose another name")
    if row is None:
        row = LanguageModel(id=new_id("lm"), workspace_id=workspace_id, name=name)
        session.add(row)
    row.engine, row.config = engine, config
    session.flush()
    return row


def _allowed_place(place: str, sources: Sequence[str]) -> bool:
    if place.startswith("/"):
        folders = [Path(source).resolve() for source in sources if source.startswith("/")]
        # Resolved, so that neither `..` nor a link leads out of a listed folder.
        return any(Path(place).resolve().is_relative_to(folder) for folder in folders)
    if place.startswith((".", "~")) or ".." in place or place.count("/") > 1:
        return False
    listed = [source.removeprefix(HUB).rstrip("/") for source in sources if source.startswith(HUB)]
    return any(not each or place == each or place.startswith(f"{each}/") for each in listed)


def _allowed_address(address: str, sources: Sequence[str]) -> bool:
    asked = urlsplit(address)
    for source in sources:
        listed = urlsplit(source)
        if listed.scheme in ("http", "https") and (asked.scheme, asked.netloc) == (listed.scheme, listed.netloc):
            below = listed.path.rstrip("/")
            return ".." not in asked.path and (asked.path == below or asked.path.startswith(f"{below}/"))
    return False
