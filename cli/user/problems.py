"""``errata problems``: problem sets and the solutions brought along with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli import CliError
from cli.user.connection import AsJson, Url, connected
from cli.user.life import Cascade, Yes, remove
from cli.user.output import ago, clean, print_json, print_record, print_rows, say
from cli.user.settings import Columns, column_mapping

problems = typer.Typer(help="Problem sets, and solutions that you bring along.", no_args_is_help=True)
SetId = Annotated[str, typer.Argument(help="The problem set: pset_...")]
_HUB = "hub:"
_SHOWN = 10  # refused rows and notes that are printed


@problems.command("upload")
def upload(
    file: Annotated[str, typer.Argument(help="JSONL, JSON, CSV, TSV or Parquet; or hub:owner/name, a dataset there.")],
    name: Annotated[str | None, typer.Option(help="Default: the file's or the dataset's name.")] = None,
    domain: Annotated[str, typer.Option(help="math, choice, logic or code.")] = "math",
    split: Annotated[str | None, typer.Option(help="Of a dataset on the hub. Default: train.")] = None,
    config: Annotated[str | None, typer.Option(help="Of a dataset on the hub, where it has several.")] = None,
    revision: Annotated[str | None, typer.Option(help="Of a dataset on the hub: branch, tag or commit.")] = None,
    reference: Annotated[
        bool, typer.Option("--reference-solutions", help="Also bring the rows' own solutions, as source `reference`.")
    ] = False,
    columns: Columns = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Upload problems. Bad rows are listed and left out.

    The service itself fetches a dataset from the hub, if its operator allows that.
    """
    of_hub = {"split": split, "config": config, "revision": revision}
    given = {key: value for key, value in of_hub.items() if value is not None}
    dataset = file.removeprefix(_HUB) if file.startswith(_HUB) else None
    if dataset is None and given:
        raise CliError(f"--{next(iter(given))} is for a dataset on the hub: name it as {_HUB}owner/name")
    if dataset is None and not Path(file).is_file():
        raise CliError(f"{file}: there is no such file")
    more: dict[str, Any] = {"solutions": "reference"} if reference else {}
    if mapping := column_mapping(columns):
        more["mapping"] = mapping
    with connected(url) as errata:
        if dataset is not None:
            own = name or dataset.rpartition("/")[2]
            posted = errata.problem_sets.from_hub(own, dataset, domain=domain, **given, **more)
        else:
            posted = errata.problem_sets.upload(name or Path(file).stem, file, domain=domain, **more)
        _report(posted.rejected, posted.notes)
        if as_json:
            print_json(posted)
            return
        # The id alone on standard output, so that a script can take it.
        print(clean(posted.id))
        say(f"{posted.problem_count:,} problems as {posted.name}")


@problems.command("bring")
def bring(
    problem_set: SetId,
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help="Rows with problem, source and text: JSON lines, CSV, Parquet ..."
        ),
    ],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Bring solutions for a set's problems. Bad rows are listed and left out; the same file again changes nothing."""
    with connected(url) as errata:
        try:
            made = errata.problem_sets.bring_solutions(problem_set, file)
        except ValueError as error:
            raise CliError(str(error)) from None
        _report(made.rejected, [])
        told = f"{made.received:,} received, {made.added:,} added, {made.existing:,} were there"
        print_record(problem_set, {"solutions": told}, made, as_json=as_json)


@problems.command("list")
def list_sets(url: Url = None, as_json: AsJson = False) -> None:
    """List problem sets, newest first."""
    columns: dict[str, Any] = {
        "id": lambda row: row.id,
        "name": lambda row: row.name,
        "domain": lambda row: row.domain,
        "problems": lambda row: f"{row.problem_count:,}",
        "made": lambda row: ago(row.created_at),
    }
    with connected(url) as errata:
        empty = "There are no problem sets. `errata problems upload FILE` makes one."
        print_rows(errata.problem_sets.list(), columns, as_json=as_json, empty=empty)


@problems.command("show")
def show(
    problem_set: SetId,
    rows: Annotated[int, typer.Option(min=0, help="Problems shown.")] = 5,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show a problem set and its first problems."""
    with connected(url) as errata:
        found = errata.problem_sets.get(problem_set)
        print_record(found.id, _fields(found), found, as_json=as_json)
        columns: dict[str, Any] = {
            "": lambda row: row["position"],
            "question": lambda row: row["question"],
            "answer": lambda row: row["gold_answer"],
        }
        if not as_json and rows:
            problems = (row for row, _ in zip(errata.problem_sets.problems(problem_set), range(rows), strict=False))
            print_rows(problems, columns, as_json=False, empty="")


@problems.command("rm")
def rm(
    problem_set: SetId, yes: Yes = False, cascade: Cascade = False, url: Url = None, as_json: AsJson = False
) -> None:
    """Delete a problem set with its problems and solutions. What depends on it is listed first."""
    with connected(url) as errata:
        remove(errata.problem_sets, problem_set, "problem set", yes=yes, cascade=cascade, as_json=as_json)


def _fields(posted: Any) -> dict[str, Any]:
    return {
        "name": posted.name,
        "domain": posted.domain,
        "problems": f"{posted.problem_count:,}",
        "refused rows": _refused(posted) or None,
        "sha256": posted.content_sha256,
    }


def _refused(posted: Any) -> int:
    """Rows that were not taken; an older service tells none but those that it lists."""
    listed = sum(row.count for row in posted.rejected)
    return listed if posted.rejected_count is None else int(posted.rejected_count)


def _report(rejected: Any, notes: Any) -> None:
    for row, told in [*((row, row.reason) for row in rejected[:_SHOWN]), *((row, row.note) for row in notes[:_SHOWN])]:
        others = f" and {row.count - 1:,} more" if row.count > 1 else ""
        say(f"line {row.line}{others}: {told}")
    more = max(0, len(rejected) - _SHOWN) + max(0, len(notes) - _SHOWN)
    if more:
        say(f"and {more:,} more reasons; --json tells all that the service lists")
