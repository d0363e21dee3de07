"""``errata backup``, ``restore``, ``verify``, ``purge`` and ``workspaces delete``: care for what a service has stored.

They work on the database and the file store of the settings, whether or not the service runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.user.keys import workspaces

if TYPE_CHECKING:
    from models.settings import StoreSettings

Yes = Annotated[bool, typer.Option("--yes", help="Delete; without it only tell what would go.")]
Json = Annotated[bool, typer.Option("--json", help="One line of JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (backup, restore, verify, purge):
        app.command()(command)


def backup(folder: Annotated[Path, typer.Argument(help="The new folder to write.")]) -> None:
    """Copy the database and a local file store into a new folder, while the service runs."""
    from cli.maintenance import back_up_service

    back_up_service(_store(), folder)


def restore(folder: Annotated[Path, typer.Argument(help="What `errata backup` wrote.")]) -> None:
    """Fill an empty database and an empty file store from a backup, and bring them to this version."""
    from cli.maintenance import restore_service

    restore_service(_store(), folder)


def verify(
    quick: Annotated[bool, typer.Option("--quick", help="Compare sizes only; read no file.")] = False,
    as_json: Json = False,
) -> None:
    """Check that every file the database names is there, with its size and SHA-256."""
    from cli.maintenance import verify_service

    verify_service(_store(), quick=quick, as_json=as_json)


def purge(
    yes: Yes = False,
    compact: Annotated[bool, typer.Option("--compact", help="Give the space back as well (VACUUM).")] = False,
    as_json: Json = False,
) -> None:
    """Delete what is older than the settings allow, what was deleted before, and files without a row."""
    from cli.maintenance import purge_service

    purge_service(_store(), yes=yes, vacuum=compact, as_json=as_json)


@workspaces.command("delete")
def delete_workspace(name: Annotated[str, typer.Argument(help="Its name.")], yes: Yes = False) -> None:
    """Delete a workspace with everything in it: keys, rows, files, events."""
    from cli.maintenance import remove_workspace

    remove_workspace(_store(), name, yes=yes)


def _store() -> StoreSettings:
    from models.settings import StoreSettings

    return StoreSettings()
