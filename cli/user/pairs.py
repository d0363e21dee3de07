"""``errata pairs``: the pairs themselves, listed, shown, and leafed through."""

from __future__ import annotations

import difflib
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.user.connection import AsJson, Url, connected
from cli.user.output import clean, console, print_json, print_rows, say

if TYPE_CHECKING:
    from rich.text import Text

    from errata_client import Errata

pairs = typer.Typer(help="Preference pairs.", no_args_is_help=True)
Job = Annotated[str | None, typer.Option(help="Of this injection job.")]
Kind = Annotated[str | None, typer.Option(help="Of this error kind.")]
Form = Annotated[str | None, typer.Option(help="stands or consistent.")]
Editor = Annotated[str | None, typer.Option(help="words, slip, mined, rule or random-token.")]
_SHORT = 60  # characters of a side in a list


@pairs.command("list")
def list_pairs(
    job: Job = None,
    type_: Annotated[str | None, typer.Option("--type", help="step or full.")] = None,
    kind: Kind = None,
    form: Form = None,
    editor: Editor = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Rows; default: 20 for people, all with --json.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List pairs, oldest first."""
    columns: dict[str, Any] = {
        "id": lambda row: row.id,
        "type": lambda row: row.type,
        "kind": lambda row: row.error_kind or "",
        "editor": lambda row: row.editor or "",
        "proof": lambda row: row.evidence_kind or "",
        "chosen": lambda row: _short(row.chosen),
        "rejected": lambda row: _short(row.rejected),
    }
    most = limit or (None if as_json else 20)
    with connected(url) as errata:
        found = errata.pairs.list(job=job, type=type_, error_kind=kind, form=form, editor=editor)
        rows = found if most is None else (row for row, _ in zip(found, range(most), strict=False))
        print_rows(rows, columns, as_json=as_json, empty="There are no such pairs.")


@pairs.command("show")
def show(
    pair: Annotated[str, typer.Argument(help="Its id: pair_...")], url: Url = None, as_json: AsJson = False
) -> None:
    """Show a pair: the question, the steps before, and both sides with their difference marked."""
    with connected(url) as errata:
        found = errata.pairs.get(pair)
        if as_json:
            print_json(found)
        else:
            console().print(_shown(found), soft_wrap=True)


@pairs.command("browse")
def browse(
    job: Job = None,
    type_: Annotated[str | None, typer.Option("--type", help="step or full.")] = None,
    kind: Kind = None,
    form: Form = None,
    editor: Editor = None,
    url: Url = None,
) -> None:
    """Leaf through pairs by keys, and accept or reject them. Without a terminal they are printed in full."""
    out = console()
    with connected(url) as errata:
        found = errata.pairs.list(job=job, type=type_, error_kind=kind, form=form, editor=editor)
        if not (out.is_terminal and sys.stdin.isatty()):
            for pair in found:
                out.print(_shown(pair), soft_wrap=True)
            return
        from cli.user.browse import Browser, browse

        browser = Browser(found, lambda pair_id, verdict: _review(errata, pair_id, verdict), _shown)
        if browser.empty:
            say("There are no such pairs.")
        else:
            browse(out, browser)


def _review(errata: Errata, pair_id: str, verdict: str) -> None:
    errata.pairs.review(pair_id, verdict)


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHORT else flat[: _SHORT - 1] + "…"


def _shown(pair: Any) -> Text:
    from rich.text import Text

    facts = [pair.type, pair.error_kind, pair.form, pair.editor, pair.evidence_kind]
    text = Text.assemble((clean(pair.id), "bold"), ("  " + ", ".join(clean(f) for f in facts if f), "dim"), "\n\n")
    text.append(clean(pair.question.strip(), lines=True) + "\n\n", style="dim")
    if pair.prefix.strip():
        text.append(clean(pair.prefix.rstrip(), lines=True) + "\n\n")
    for sign, style, side, other in (
        ("+ ", "green", pair.chosen, pair.rejected),
        ("- ", "red", pair.rejected, pair.chosen),
    ):
        text.append(sign, style=style)
        for part, differs in _parts(clean(side.strip(), lines=True), clean(other.strip(), lines=True)):
            text.append(part, style=f"{style} reverse" if differs else style)
        text.append("\n")
    return text


def _parts(side: str, other: str) -> list[tuple[str, bool]]:
    """The side in pieces, and whether each differs from the other side. Long texts are compared by their lines."""
    long = len(side) * len(other) > 4_000_000
    ours, theirs = (side.splitlines(True), other.splitlines(True)) if long else (side, other)
    matcher = difflib.SequenceMatcher(None, theirs, ours, autojunk=False)
    pieces = []
    for tag, _, _, start, stop in matcher.get_opcodes():
        if stop > start:
            pieces.append(("".join(ours[start:stop]), tag != "equal"))
    return pieces
