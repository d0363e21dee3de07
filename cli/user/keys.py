"""``errata keys``, ``errata workspaces``, ``errata usage`` and ``errata audit``.

Keys and quotas are changed over HTTP where a service is known (``--url``, ERRATA_URL or a profile), else in
DATABASE_URL, without a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import CliError
from cli.user.connection import AsJson, Local, Url, connected, speaks_http
from cli.user.output import ago, clean, print_json, print_record, print_rows, say

if TYPE_CHECKING:
    from errata_client.accounts import NewKey
    from models.settings import StoreSettings

keys = typer.Typer(help="API keys. A key is shown once, when it is made.", no_args_is_help=True)
workspaces = typer.Typer(help="Workspaces and their quotas.", no_args_is_help=True)
KeyId = Annotated[str, typer.Argument(help="Its id: key_...")]
Limit = Annotated[int | None, typer.Option(min=0, help="Empty: no limit.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(keys, name="keys")
    app.add_typer(workspaces, name="workspaces")
    app.command()(usage)
    app.command()(audit)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scopes: Annotated[str, typer.Option(help="Some of read, write, train, admin.")] = "read,write,train",
    workspace: Annotated[
        str | None, typer.Option(help="Made if new; default: default. Over HTTP always the key's own.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=36500, help="Valid for this long; default: until revoked.")
    ] = None,
    local: Local = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key. From the first key on, every request needs one."""
    wanted = [scope.strip() for scope in scopes.split(",")]
    if not speaks_http(url, local):
        from cli.admin import create_key as run

        run(_store(), name, wanted, workspace or "default", days, as_json=as_json)
        return
    if workspace is not None:
        raise CliError("--workspace works on DATABASE_URL only: over HTTP a key is of the workspace of the key in use")
    with connected(url) as errata:
        _tell(errata.keys.create(name, scopes=wanted, expires_in_days=days), as_json=as_json)


@keys.command("list")
def list_keys(local: Local = False, url: Url = None, as_json: AsJson = False) -> None:
    """List keys, without their secrets: of the key's workspace, or in DATABASE_URL of all."""
    if not speaks_http(url, local):
        from cli.admin import list_keys as run

        run(_store(), as_json=as_json)
        return
    columns: dict[str, Any] = {
        "id": lambda row: row.id,
        "name": lambda row: row.name,
        "scopes": lambda row: " ".join(row.scopes),
        "valid": lambda row: row.state if row.state != "valid" else str(row.expires_at or "until revoked")[:19],
        "last used": lambda row: ago(row.last_used_at) or "never",
    }
    with connected(url) as errata:
        print_rows(errata.keys.list(), columns, as_json=as_json, empty="There are no keys.")


@keys.command("rotate")
def rotate_key(
    key: KeyId,
    grace: Annotated[float, typer.Option(min=0, max=2160, help="Hours for which the old key goes on.")] = 24.0,
    local: Local = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Replace a key by a new one of the same name and scopes; the old one goes on for a while."""
    if not speaks_http(url, local):
        from cli.admin import rotate_key as run

        run(_store(), key, grace, as_json=as_json)
        return
    with connected(url) as errata:
        _tell(errata.keys.rotate(key, grace_hours=grace), as_json=as_json)


@keys.command("revoke")
def revoke_key(
    key: KeyId,
    yes: Annotated[bool, typer.Option("--yes", help="Also the key that this command uses.")] = False,
    local: Local = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """End a key at once."""
    if not speaks_http(url, local):
        from cli.admin import revoke_key as run

        run(_store(), key)
        _print_state(key, "revoked", as_json=as_json)
        return
    from errata_client import ConflictError

    with connected(url) as errata:
        try:
            errata.keys.revoke(key, confirm=yes)
        except ConflictError as error:
            told = str(error.detail or error)
            raise CliError(told.replace("add confirm=true", "add --yes")) from None
    _print_state(key, "revoked", as_json=as_json)


def _print_state(key: str, state: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": key, "state": state})
    else:
        print(f"{clean(key)} is {state}.")


@workspaces.command("list")
def list_workspaces(as_json: AsJson = False) -> None:
    """List the workspaces in DATABASE_URL with their quotas and use."""
    from cli.admin import list_workspaces as run

    run(_store(), as_json=as_json)


@workspaces.command("quota")
def set_quota(
    workspace: Annotated[str, typer.Argument(help="Its name.")],
    jobs: Limit = None,
    problems: Limit = None,
    pairs: Limit = None,
    tokens_per_day: Limit = None,
    local: Local = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Replace the quotas of a workspace: what is not given is not limited."""
    quotas = {"jobs": jobs, "problems": problems, "pairs": pairs, "tokens_per_day": tokens_per_day}
    if speaks_http(url, local):
        with connected(url) as errata:
            errata.workspaces.set_quota(workspace, **quotas)
    else:
        from cli.admin import set_quota as run

        run(_store(), workspace, quotas)
    if as_json:
        print_json({"workspace": workspace, **quotas})
        return
    told = ", ".join(f"{name} {value}" for name, value in quotas.items() if value is not None)
    print(f"{workspace}: {told or 'no quotas'}")


def usage(url: Url = None, as_json: AsJson = False) -> None:
    """Show what the key's workspace uses, and its quotas."""
    with connected(url) as errata:
        found = errata.workspaces.usage()
    names = ("jobs", "problems", "pairs", "tokens_today")
    shown = {name.replace("_", " "): _share(getattr(found, name)) for name in names}
    print_record(f"workspace {found.workspace}", shown, found, as_json=as_json)


def audit(
    actor: Annotated[str | None, typer.Option(help="A key's id, oidc:SUBJECT, anonymous or operator.")] = None,
    object_id: Annotated[str | None, typer.Option("--object", help="The row that was changed.")] = None,
    outcome: Annotated[str | None, typer.Option(help="done, refused or failed.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show who changed what in the key's workspace (scope admin)."""
    from itertools import islice

    columns: dict[str, Any] = {
        "when (UTC)": lambda row: str(row.created_at)[:19],
        "who": lambda row: row.actor_name or row.actor,
        "what": lambda row: f"{row.method} {row.route}",
        "object": lambda row: row.object_id or "",
        "outcome": lambda row: f"{row.outcome} ({row.status})",
        "from": lambda row: row.address or "",
    }
    with connected(url) as errata:
        rows = islice(errata.workspaces.audit_log(actor=actor, object_id=object_id, outcome=outcome), limit)
        print_rows(rows, columns, as_json=as_json, empty="Nothing was changed.")


def _share(measure: Any) -> str:
    return f"{measure.used:,} of {'no limit' if measure.limit is None else f'{measure.limit:,}'}"


def _tell(made: NewKey, *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    say(f"{made.id} ({', '.join(made.scopes)}); shown only now:")
    print(made.key)


def _store() -> StoreSettings:
    from models.settings import StoreSettings

    return StoreSettings()
