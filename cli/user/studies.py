"""``errata study`` and ``errata campaign``: comparing ways of making a model, and improving one in rounds."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.user.connection import AsJson, Url, connected
from cli.user.jobs import Watch
from cli.user.output import ago, print_json, print_record, print_rows
from cli.user.settings import ConfigFile, Settings, configuration
from cli.user.watch import watch

StudyId = Annotated[str, typer.Argument(help="A study: study_...")]
CampaignId = Annotated[str, typer.Argument(help="A campaign: camp_...")]
Model = Annotated[str, typer.Option(help="The model to start from, by its name.")]
Problems = Annotated[str, typer.Argument(help="The problems that injection jobs solve: pset_...")]
State = Annotated[str | None, typer.Option(help="queued, running, succeeded, ...")]
Name = Annotated[str | None, typer.Option(help="A name of your own.")]

studies = typer.Typer(no_args_is_help=True, help="Compare ways of making a model.")
campaigns = typer.Typer(no_args_is_help=True, help="Improve a model in rounds.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(studies, name="studies")
    app.add_typer(campaigns, name="campaigns")


@studies.command("start")
def start_study(
    problem_set: Problems,
    model: Model,
    test: Annotated[str, typer.Option(help="The problems that arms are tested on: pset_...")],
    config: ConfigFile = None,
    validation: Annotated[str | None, typer.Option(help="The problems that trials are chosen on: pset_...")] = None,
    settings: Settings = None,
    name: Name = None,
    watching: Watch = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Start a study; its arms stand in --config FILE (docs/studies.md)."""
    with connected(url) as errata:
        given = configuration(config, settings) or {}
        made = errata.studies.create(
            problem_set, test_set=test, validation_set=validation, language_model=model, config=given, name=name
        )
        _told(errata.studies, made, f"errata studies watch {made.id}", watching=watching, as_json=as_json)
        if watching and not as_json:
            _show_study(errata.studies.get(made.id))


@campaigns.command("start")
def start_campaign(
    problem_set: Problems,
    model: Model,
    evaluation: Annotated[str, typer.Option(help="The problems that rounds are measured on: pset_...")],
    config: ConfigFile = None,
    settings: Settings = None,
    name: Name = None,
    watching: Watch = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Start a campaign: inject, train and evaluate in rounds, each with the newest model."""
    with connected(url) as errata:
        given = configuration(config, settings)
        made = errata.campaigns.create(
            problem_set, evaluation_set=evaluation, language_model=model, config=given, name=name
        )
        _told(errata.campaigns, made, f"errata campaigns watch {made.id}", watching=watching, as_json=as_json)


def _told(resource: Any, made: Any, command: str, *, watching: bool, as_json: bool) -> None:
    if watching:
        made = watch(resource, made.id, command)
    if as_json:
        print_json(made)
    else:
        typer.echo(made.id)


def _list(resource: Any, state: str | None, as_json: bool, empty: str) -> None:
    columns: dict[str, Any] = {
        "id": lambda row: row.id,
        "name": lambda row: row.name or "",
        "state": lambda row: row.state,
        "parts": lambda row: f"{row.parts.ended} of {row.parts.made} ended",
        "model": lambda row: row.language_model,
        "made": lambda row: ago(row.created_at),
    }
    print_rows(resource.list(state=state), columns, as_json=as_json, empty=empty)


@studies.command("list")
def list_studies(state: State = None, url: Url = None, as_json: AsJson = False) -> None:
    """List studies, newest first."""
    with connected(url) as errata:
        _list(errata.studies, state, as_json, "There are no studies.")


@campaigns.command("list")
def list_campaigns(state: State = None, url: Url = None, as_json: AsJson = False) -> None:
    """List campaigns, newest first."""
    with connected(url) as errata:
        _list(errata.campaigns, state, as_json, "There are no campaigns.")


@studies.command("show")
def show_study(study: StudyId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a study: its parts and, once it has ended, its table."""
    with connected(url) as errata:
        found = errata.studies.get(study)
    if as_json:
        print_json(found)
    else:
        _show_study(found)


def _show_study(found: Any) -> None:
    fields: dict[str, Any] = {
        "state": found.state,
        "error": found.error,
        "parts": f"{found.parts.ended} of {found.parts.made} ended",
    }
    table = found.result or {"arms": {}}
    for name, arm in table["arms"].items():
        told = [f"{measure} {_share(each['estimate'], each['interval'])}" for measure, each in arm["measures"].items()]
        for measure, each in arm["against_control"].items():
            told.append(f"{measure} against {table['control']}: {_points(each)}")
        fields[name] = "\n".join(told) or arm["failed"]
    print_record(found.id, fields, found, as_json=False)


@campaigns.command("show")
def show_campaign(campaign: CampaignId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a campaign: its rounds, each against the start model."""
    with connected(url) as errata:
        found = errata.campaigns.get(campaign)
    fields: dict[str, Any] = {"state": found.state, "error": found.error}
    for each in (found.result or {}).get("rounds", []):
        gain = f", against the start: {_points(each['start'])}" if "start" in each else ""
        fields[f"round {each['round']}"] = (
            f"{each['language_model']} {_share(each['accuracy'], each['interval'])}{gain}"
        )
    if found.result and found.result["stopped"]:
        fields["ended by"] = found.result["stopped"]
    print_record(found.id, fields, found, as_json=as_json)


def _share(value: float | None, interval: list[float] | None) -> str:
    if value is None or interval is None:
        return "?"
    return f"{value:.1%} ({interval[0]:.1%} to {interval[1]:.1%})"


def _points(found: dict[str, Any]) -> str:
    if found["delta"] is None:
        return "?"
    low, high = found["interval"]
    return f"{found['delta']:+.1%} ({low:+.1%} to {high:+.1%})"


def _watch(resource: Any, row_id: str, kind: str, *, as_json: bool) -> None:
    ended = watch(resource, row_id, f"errata {kind} watch {row_id}")
    if as_json:
        print_json(ended)


def _cancel(resource: Any, row_id: str, *, as_json: bool) -> None:
    cancelled = resource.cancel(row_id)
    if as_json:
        print_json(cancelled)
    else:
        typer.echo(cancelled.state)


@studies.command("watch")
def watch_study(study: StudyId, url: Url = None, as_json: AsJson = False) -> None:
    """Follow a study to its end. Ctrl-C stops watching; the study goes on."""
    with connected(url) as errata:
        _watch(errata.studies, study, "studies", as_json=as_json)


@campaigns.command("watch")
def watch_campaign(campaign: CampaignId, url: Url = None, as_json: AsJson = False) -> None:
    """Follow a campaign to its end. Ctrl-C stops watching; the campaign goes on."""
    with connected(url) as errata:
        _watch(errata.campaigns, campaign, "campaigns", as_json=as_json)


@studies.command("cancel")
def cancel_study(study: StudyId, url: Url = None, as_json: AsJson = False) -> None:
    """Stop a study with every job that it started; what they have stays."""
    with connected(url) as errata:
        _cancel(errata.studies, study, as_json=as_json)


@campaigns.command("cancel")
def cancel_campaign(campaign: CampaignId, url: Url = None, as_json: AsJson = False) -> None:
    """Stop a campaign with every job that it started; what they have stays."""
    with connected(url) as errata:
        _cancel(errata.campaigns, campaign, as_json=as_json)
