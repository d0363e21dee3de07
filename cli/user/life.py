"""What the groups of commands share about rows that are kept: renaming, tagging, and deleting in two steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import CliError
from cli.user.output import clean, print_json, say

if TYPE_CHECKING:
    from errata_client.life import Kept

Yes = Annotated[bool, typer.Option("--yes", help="Delete it. Without, what would be deleted is listed, and stays.")]
Cascade = Annotated[bool, typer.Option("--cascade", help="Also delete what depends on it.")]
NewName = Annotated[str, typer.Argument(help="What it is called from now on.")]
Tags = Annotated[list[str] | None, typer.Argument(help="Tags to add; none: only `--remove`, or list them.")]
Removed = Annotated[list[str] | None, typer.Option("--remove", help="A tag to take away; may be given many times.")]


def remove(kept: Kept[Any], row_id: str, noun: str, *, yes: bool, cascade: bool, as_json: bool) -> None:
    """List what depends on a row, and delete it where ``yes`` says so. Raises CliError where it stays, with the step.

    What depends on it is deleted with ``cascade`` alone: without, the row stays as long as there is any.
    """
    others = kept.dependents(row_id)
    for other in others:
        say(f"depends on it: {other.kind} {other.id}" + (f" ({other.name})" if other.name else ""))
    if not yes:
        more = " --cascade" if others else ""
        also = f" and the {len(others):,} listed" if others else "; nothing depends on it"
        raise CliError(f"nothing was deleted: {noun} {row_id} would be{also}. Add{more} --yes to delete for good")
    if others and not cascade:
        raise CliError(
            f"nothing was deleted: {len(others):,} depend on {noun} {row_id}. Add --cascade to delete these as well"
        )
    done = kept.delete(row_id, cascade=cascade)
    for gone in done.deleted:
        say(f"deleted {gone.kind} {gone.id}")
    if not done.purged:
        say("their files follow within minutes")
    if as_json:
        print_json(done)
    else:
        print(clean(row_id))


def retag(kept: Kept[Any], row_id: str, added: Sequence[str], removed: Sequence[str]) -> list[str]:
    """Add and take away tags; the tags that the row has then. Raises CliError for a tag that it does not have."""
    now = list(kept.get(row_id).tags)  # type: ignore[attr-defined]
    missing = [tag for tag in removed if tag not in now]
    if missing:
        raise CliError(f"{row_id} has no tag '{missing[0]}'; it has: {', '.join(now) or 'none'}")
    wanted = [tag for tag in dict.fromkeys([*now, *added]) if tag not in removed]
    return now if wanted == now else list(kept.update(row_id, tags=wanted).tags)
