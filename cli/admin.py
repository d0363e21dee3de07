"""Commands that change or show one thing in the database and end: schema, keys, registry."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.http import audit, auth
from api.http.errors import Conflict
from api.http.scopes import Scope
from api.quotas import QuotaIn, read_usage
from api.quotas import set_quota as write_quota
from cli import CliError
from cli.common import open_database, upgrade_database
from models.base import new_id
from models.settings import StoreSettings
from models.workspaces import DEFAULT_WORKSPACE, RESERVED_NAMES, ApiKey, LanguageModel, Workspace
from workers.engines.registry import ENGINES, PROMPTED, checked
from workers.engines.weights import refuse_pickles

_OPERATOR = "operator"


def migrate(store: StoreSettings, *, check: bool) -> None:
    """Upgrade the schema, or with ``check`` only say whether it is current. Raises CliError."""
    if check:
        open_database(store).dispose()
    else:
        upgrade_database(store)
    print("The database is at this version's schema.")


def create_key(store: StoreSettings, name: str, scopes: list[str], workspace: str, days: int | None) -> None:
    """Make a key and print it: the secret on standard output, alone on its line. Raises CliError for a bad scope."""
    db = open_database(store)
    try:
        with db.begin() as session:
            wanted = cast(list[Scope], [scope.strip() for scope in scopes])
            expires_in = timedelta(days=days) if days else None
            key, secret = auth.create_key(
                session, name, workspace=workspace, scopes=wanted, expires_in=expires_in, created_by=_OPERATOR
            )
            audit.add_entry(session, key.workspace_id, _OPERATOR, "errata keys create", key.id)
            told = f"{key.id} ({', '.join(map(str, key.scopes))}) for workspace '{workspace}'; shown only now:"
    except ValueError as error:
        raise CliError(str(error)) from None
    _tell_secret(told, secret)


def _tell_secret(told: str, secret: str) -> None:
    # Apart from the words, so that a script can take the secret from standard output.
    Console(stderr=True, highlight=False).print(told)
    print(secret)


def rotate_key(store: StoreSettings, key_id: str, grace_hours: float) -> None:
    """Replace a key and print the new secret. Raises CliError where there is no such valid key."""
    try:
        with open_database(store).begin() as session:
            key = _key(session, key_id)
            new, secret = auth.rotate_key(session, key, timedelta(hours=grace_hours), _OPERATOR)
            audit.add_entry(session, key.workspace_id, _OPERATOR, "errata keys rotate", key.id)
            until = "has ended" if key.revoked_at else f"goes on until {str(key.expires_at)[:19]} UTC"
            told = f"{new.id} replaces {key.id}, which {until}; shown only now:"
    except Conflict as error:
        raise CliError(str(error.detail)) from None
    _tell_secret(told, secret)


def _key(session: Session, key_id: str) -> ApiKey:
    found = session.get(ApiKey, key_id)
    if found is None:
        raise CliError(f"there is no key '{key_id}'; see `errata keys list`")
    return found


def list_keys(store: StoreSettings) -> None:
    """Print every key of every workspace."""
    with open_database(store).read() as session:
        rows = session.execute(select(ApiKey, Workspace.name).join(Workspace).order_by(ApiKey.created_at)).all()
    lines = [
        [
            key.id,
            key.name,
            workspace,
            " ".join(map(str, key.scopes)),
            "revoked" if key.revoked_at else str(key.expires_at or "until revoked")[:19],
            str(key.last_used_at or "never")[:19],
        ]
        for key, workspace in rows
    ]
    print_table(["id", "name", "workspace", "scopes", "valid", "last used (UTC)"], lines)


def revoke_key(store: StoreSettings, key: str) -> None:
    """End a key. Raises CliError when there is none."""
    with open_database(store).begin() as session:
        if not auth.revoke_key(session, key):
            raise CliError(f"there is no valid key '{key}'; see `errata keys list`")
        audit.add_entry(session, _key(session, key).workspace_id, _OPERATOR, "errata keys revoke", key)
    print(f"{key} is revoked.")


def list_workspaces(store: StoreSettings) -> None:
    """Print every workspace with its keys that are valid, its use and its quotas."""
    with open_database(store).read() as session:
        counted = select(func.count()).where(ApiKey.workspace_id == Workspace.id, ApiKey.revoked_at.is_(None))
        named = select(Workspace, counted.scalar_subquery()).where(Workspace.name.not_in(RESERVED_NAMES))
        found = [
            (keys, read_usage(session, row.id)) for row, keys in session.execute(named.order_by(Workspace.created_at))
        ]
    lines = []
    for keys, use in found:
        measures = (use.jobs, use.problems, use.pairs, use.tokens_today)
        told = [f"{m.used} of {'any' if m.limit is None else m.limit}" for m in measures]
        lines.append([use.workspace, str(keys), *told])
    print_table(["workspace", "keys", "jobs", "problems", "pairs", "tokens today"], lines)


def set_quota(store: StoreSettings, workspace: str, quotas: dict[str, int | None]) -> None:
    """Replace the quotas of a workspace. Raises CliError where there is none of this name."""
    with open_database(store).begin() as session:
        row = session.scalars(select(Workspace).where(Workspace.name == workspace)).one_or_none()
        if row is None or row.name in RESERVED_NAMES:
            raise CliError(f"there is no workspace '{workspace}'; see `errata workspaces list`")
        write_quota(session, row.id, QuotaIn.model_validate(quotas))
        audit.add_entry(session, row.id, _OPERATOR, "errata workspaces quota", row.id)


def add_model(
    store: StoreSettings, name: str, engine: str, path: str | None, revision: str | None, settings: list[str]
) -> None:
    """Register a model for every workspace, or change an operator's entry. Raises CliError."""
    if engine not in ENGINES:
        raise CliError(f"there is no engine '{engine}'; give one of {', '.join(ENGINES)}")
    config = _engine_config(engine, path, revision, settings)
    with open_database(store).begin() as session:
        auth.ensure_workspace(session)
        query = select(LanguageModel).where(LanguageModel.workspace_id == DEFAULT_WORKSPACE, LanguageModel.name == name)
        row = session.scalars(query).one_or_none()
        # Jobs that name it must go on meaning the model that was trained.
        if row is not None and row.training_run_id is not None:
            raise CliError(f"'{name}' is the result of a training run; choose another name")
        if row is None:
            row = LanguageModel(id=new_id("lm"), workspace_id=DEFAULT_WORKSPACE, name=name)
            session.add(row)
        row.engine, row.config = engine, config
    print(f"{name}: {engine} {json.dumps(config)}")


def list_models(store: StoreSettings) -> None:
    """Print the registry, trained models included."""
    with open_database(store).read() as session:
        rows = session.scalars(select(LanguageModel).order_by(LanguageModel.created_at)).all()
    print_table(
        ["name", "engine", "settings", "trained by"],
        [[row.name, row.engine, json.dumps(row.config), row.training_run_id or ""] for row in rows],
    )


def _engine_config(engine: str, path: str | None, revision: str | None, settings: list[str]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if path is not None:
        # Made absolute: workers run in other folders. What is no folder is a hub id.
        config["path"] = str(Path(path).resolve()) if Path(path).is_dir() else path
    if revision is not None:
        config["revision"] = revision
    for setting in settings:
        key, mark, value = setting.partition("=")
        if not mark or not key:
            raise CliError(f"--setting {setting}: give name=value")
        config[key] = None if value == "null" else value
    folder = config.get("path") or config.get("tokenizer")
    try:
        for weights in (config.get("path"), config.get("adapter")):
            refuse_pickles(weights or "")
        return checked(engine, {**(_of_folder(Path(folder)) if folder else {}), **config})
    except ValueError as error:
        raise CliError(f"{error}; give --path or --setting name=value") from None


def _of_folder(folder: Path) -> dict[str, Any]:
    """What a model's folder says of how Errata prompts it (``errata.json``), so that nobody has to know."""
    file = folder / "errata.json"
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise CliError(f"{file}: {error}") from None
    if not isinstance(found, dict) or set(found) - PROMPTED:
        raise CliError(f"{file}: give an object with some of {', '.join(sorted(PROMPTED))}, and nothing else")
    return found


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    """Print a table; into a pipe one line a row, whatever its width."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    # Into a pipe there is no width to fit: a wrapped line could not be read by a script.
    Console(width=None if Console().is_terminal else 200, highlight=False).print(table)
