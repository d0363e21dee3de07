"""Commands that change or show one thing in the database and end: schema, keys, registry."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.http import audit, auth
from api.http.errors import Conflict
from api.http.scopes import Scope
from api.model_entries import put_entry
from api.quotas import QuotaIn, read_usage
from api.quotas import set_quota as write_quota
from cli import CliError
from cli.common import open_database, upgrade_database
from cli.user.output import print_json, print_rows, say
from models.settings import StoreSettings
from models.workspaces import DEFAULT_WORKSPACE, RESERVED_NAMES, ApiKey, LanguageModel, Workspace
from workers.model_entries import DEFAULT_ENGINE, doubts, entry_config

_OPERATOR = "operator"


def migrate(store: StoreSettings, *, check: bool) -> None:
    """Upgrade the schema, or with ``check`` only say whether it is current. Raises CliError."""
    if check:
        open_database(store).dispose()
    else:
        upgrade_database(store)
    print("The database is at this version's schema.")


def create_key(
    store: StoreSettings, name: str, scopes: list[str], workspace: str, days: int | None, *, as_json: bool
) -> None:
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
            row = {"id": key.id, "scopes": list(map(str, key.scopes)), "workspace": workspace}
    except ValueError as error:
        raise CliError(str(error)) from None
    _tell_secret(told, secret, row, as_json=as_json)


def _tell_secret(told: str, secret: str, row: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json({**row, "key": secret})
        return
    # Apart from the words, so that a script can take the secret from standard output.
    say(told)
    print(secret)


def rotate_key(store: StoreSettings, key_id: str, grace_hours: float, *, as_json: bool) -> None:
    """Replace a key and print the new secret. Raises CliError where there is no such valid key."""
    try:
        with open_database(store).begin() as session:
            key = _key(session, key_id)
            new, secret = auth.rotate_key(session, key, timedelta(hours=grace_hours), _OPERATOR)
            audit.add_entry(session, key.workspace_id, _OPERATOR, "errata keys rotate", key.id)
            until = "has ended" if key.revoked_at else f"goes on until {str(key.expires_at)[:19]} UTC"
            told = f"{new.id} replaces {key.id}, which {until}; shown only now:"
            row = {"id": new.id, "scopes": list(map(str, new.scopes)), "replaces": key.id}
    except Conflict as error:
        raise CliError(str(error.detail)) from None
    _tell_secret(told, secret, row, as_json=as_json)


def _key(session: Session, key_id: str) -> ApiKey:
    found = session.get(ApiKey, key_id)
    if found is None:
        raise CliError(f"there is no key '{key_id}'; see `errata keys list`")
    return found


def list_keys(store: StoreSettings, *, as_json: bool) -> None:
    """Print every key of every workspace."""
    with open_database(store).read() as session:
        rows = session.execute(select(ApiKey, Workspace.name).join(Workspace).order_by(ApiKey.created_at)).all()
    listed = [
        {
            "id": key.id,
            "name": key.name,
            "workspace": workspace,
            "scopes": " ".join(map(str, key.scopes)),
            "valid": "revoked" if key.revoked_at else str(key.expires_at or "until revoked")[:19],
            "last used (UTC)": str(key.last_used_at or "never")[:19],
        }
        for key, workspace in rows
    ]
    names = ("id", "name", "workspace", "scopes", "valid", "last used (UTC)")
    _print_dicts(names, listed, as_json=as_json, empty="There are no keys.")


def revoke_key(store: StoreSettings, key: str) -> None:
    """End a key. Raises CliError when there is none."""
    with open_database(store).begin() as session:
        if not auth.revoke_key(session, key):
            raise CliError(f"there is no valid key '{key}'; see `errata keys list`")
        audit.add_entry(session, _key(session, key).workspace_id, _OPERATOR, "errata keys revoke", key)


def list_workspaces(store: StoreSettings, *, as_json: bool) -> None:
    """Print every workspace with its keys that are valid, its use and its quotas."""
    with open_database(store).read() as session:
        counted = select(func.count()).where(ApiKey.workspace_id == Workspace.id, ApiKey.revoked_at.is_(None))
        named = select(Workspace, counted.scalar_subquery()).where(Workspace.name.not_in(RESERVED_NAMES))
        found = [
            (keys, read_usage(session, row.id)) for row, keys in session.execute(named.order_by(Workspace.created_at))
        ]
    names = ("workspace", "keys", "jobs", "problems", "pairs", "tokens today")
    lines = []
    for keys, use in found:
        measures = (use.jobs, use.problems, use.pairs, use.tokens_today)
        told = [f"{m.used} of {'any' if m.limit is None else m.limit}" for m in measures]
        lines.append(dict(zip(names, (use.workspace, str(keys), *told), strict=True)))
    _print_dicts(names, lines, as_json=as_json, empty="There are no workspaces.")


def set_quota(store: StoreSettings, workspace: str, quotas: dict[str, int | None]) -> None:
    """Replace the quotas of a workspace. Raises CliError where there is none of this name."""
    with open_database(store).begin() as session:
        row = session.scalars(select(Workspace).where(Workspace.name == workspace)).one_or_none()
        if row is None or row.name in RESERVED_NAMES:
            raise CliError(f"there is no workspace '{workspace}'; see `errata workspaces list`")
        write_quota(session, row.id, QuotaIn.model_validate(quotas))
        audit.add_entry(session, row.id, _OPERATOR, "errata workspaces quota", row.id)


def add_model(store: StoreSettings, name: str, engine: str | None, given: Mapping[str, str | None]) -> dict[str, Any]:
    """Register a model for every workspace, or change an operator's entry. Returns the entry. Raises CliError."""
    chosen = engine or DEFAULT_ENGINE
    try:
        config = entry_config(chosen, given)
    except ValueError as error:
        raise CliError(f"{error}; see `errata models add --help`") from None
    with open_database(store).begin() as session:
        auth.ensure_workspace(session)
        try:
            put_entry(session, DEFAULT_WORKSPACE, name, chosen, config)
        except Conflict as error:
            raise CliError(str(error.detail)) from None
    for doubt in doubts(config):
        say(f"Registered, but {doubt}.")
    return {"name": name, "engine": chosen, "config": config}


def list_models(store: StoreSettings, *, as_json: bool) -> None:
    """Print the registry, trained models included."""
    with open_database(store).read() as session:
        rows = session.scalars(select(LanguageModel).order_by(LanguageModel.created_at)).all()
    names = ("name", "engine", "settings", "trained by")
    listed = [
        dict(zip(names, (row.name, row.engine, row.config, row.training_run_id or ""), strict=True)) for row in rows
    ]
    _print_dicts(names, listed, as_json=as_json, empty="There are no models; `errata models add` registers one.")


def _print_dicts(names: Sequence[str], rows: Sequence[Mapping[str, Any]], *, as_json: bool, empty: str) -> None:
    columns = {name: _cell(name) for name in names}
    print_rows([dict(row) for row in rows], columns, as_json=as_json, empty=empty)


def _cell(name: str) -> Callable[[Mapping[str, Any]], str]:
    def shown(row: Mapping[str, Any]) -> str:
        value = row[name]
        return value if isinstance(value, str) else json.dumps(value)

    return shown
