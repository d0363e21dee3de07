"""``errata eval`` and ``errata compare``: what a model answers, and what training changed."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.user.connection import AsJson, Url, connected
from cli.user.jobs import Watch, finish
from cli.user.output import print_record, say
from cli.user.problems import SetId
from cli.user.settings import ConfigFile, Settings, configuration

EvalId = Annotated[str, typer.Argument(help="An evaluation that has ended: eval_...")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("eval")(evaluate)
    app.command()(compare)


def evaluate(
    problem_set: SetId,
    model: Annotated[str, typer.Option(help="The model that answers, by its name.")],
    name: Annotated[str | None, typer.Option(help="A name of your own.")] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    watching: Watch = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Let a model answer a problem set; greedily, unless --set temperature=... says otherwise."""
    with connected(url) as errata:
        made = errata.evaluations.create(problem_set, model, config=configuration(config, settings), name=name)
        finish(errata, made, watching=watching, as_json=as_json)
        if watching and not as_json and (result := errata.evaluations.get(made.id).result):
            low, high = result["interval"] or (0.0, 0.0)
            # Beside the id that a script takes, not behind it.
            say(f"accuracy {result['accuracy']:.1%} (95 %: {low:.1%} to {high:.1%}) of {result['problems']:,} problems")


def compare(before: EvalId, after: EvalId, url: Url = None, as_json: AsJson = False) -> None:
    """Compare two evaluations of the same problems, paired problem by problem."""
    with connected(url) as errata:
        found = errata.evaluations.compare(before, after)
        low, high = found.interval
        fields = {
            "before": f"{found.before.language_model} {found.before.accuracy or 0:.1%}",
            "after": f"{found.after.language_model} {found.after.accuracy or 0:.1%}",
            "difference": f"{found.delta:+.1%} (95 %: {low:+.1%} to {high:+.1%}), p = {found.p_value:.3g}",
            "problems": f"{found.problems:,}: {found.gained:,} gained, {found.lost:,} lost",
            "note": "" if found.same_config else "the two were decoded differently, which is a difference too",
        }
        print_record(f"{after} against {before}", fields, found, as_json=as_json)
