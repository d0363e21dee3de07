"""``errata inject``, ``errata estimate`` and ``errata jobs``: from problems to pairs."""

from __future__ import annotations

import json
import shlex
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import CliError
from cli.user.connection import AsJson, Url, connected
from cli.user.limits import (
    Deadline,
    StopGenerated,
    StopMoney,
    StopPairs,
    StopPrompts,
    Urgency,
    amount,
    given_limits,
    spent_of,
    stopped_of,
)
from cli.user.output import ago, clean, console, duration, print_json, print_record, print_rows, say
from cli.user.problems import SetId
from cli.user.settings import ConfigFile, Settings, configuration
from cli.user.watch import summary, watch

if TYPE_CHECKING:
    from errata_client import Errata

jobs = typer.Typer(
    help="Everything that runs: injection jobs, datasets, evaluations, training runs.", no_args_is_help=True
)
JobId = Annotated[str, typer.Argument(help="Its id: inj_..., ds_..., eval_..., train_..., rejudge_... or est_...")]
Model = Annotated[str | None, typer.Option(help="A language model by its name; `errata models list` shows them.")]
Preset = Annotated[str, typer.Option(help="`errata presets` lists them.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="See it to its end.")]
_KINDS = {
    "inj": "injection_jobs",
    "ds": "datasets",
    "eval": "evaluations",
    "train": "training_jobs",
    "rejudge": "rejudgings",
    "est": "estimates",
    "study": "studies",
    "camp": "campaigns",
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(estimate)
    app.command()(inject)
    app.add_typer(jobs, name="jobs")


def resource(errata: Errata, job_id: str) -> Any:
    """The client's resource for a job of this id. Raises CliError for an id of another kind of thing."""
    name = _KINDS.get(job_id.partition("_")[0])
    if name is None:
        raise CliError(f"{job_id} is no job; ids of jobs begin with {', '.join(f'{kind}_' for kind in _KINDS)}")
    return getattr(errata, name)


def inject(
    problem_set: SetId,
    model: Model = None,
    preset: Preset = "errata",
    name: Annotated[str | None, typer.Option(help="A name of your own.")] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    stop_pairs: StopPairs = None,
    stop_money: StopMoney = None,
    deadline: Deadline = None,
    priority: Urgency = "normal",
    watching: Watch = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Start an injection job: solve, verify, edit in errors, prove them, make pairs."""
    given = dict(configuration(config, settings) or {})
    if limits := given_limits(pairs=stop_pairs, money=stop_money, deadline=deadline):
        given["stop"] = {**given.get("stop", {}), **limits}
    with connected(url) as errata:
        job = errata.injection_jobs.create(
            problem_set, language_model=model, preset=preset, config=given, name=name, priority=priority
        )
        finish(errata, job, watching=watching, as_json=as_json)


def estimate(
    problem_set: SetId,
    model: Model = None,
    preset: Preset = "errata",
    problems: Annotated[int | None, typer.Option(min=1, help="Problems of the pilot.")] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Try a job on a few problems and forecast its pairs, tokens and time."""
    with connected(url) as errata:
        given = configuration(config, settings)
        pilot = errata.injection_jobs.estimate(
            problem_set, language_model=model, preset=preset, config=given, pilot_problems=problems
        )
        done = watch(errata.estimates, pilot.id, f"errata jobs watch {pilot.id}")
        forecast = done.forecast
        fields = {} if forecast is None else {
            "problems": f"{forecast.problems:,}",
            "pairs": _interval(forecast.pairs),
            "tokens": _interval(forecast.tokens),
            "time": f"{duration(forecast.seconds.estimate)} of one worker",
            "stops": _where_it_stops(forecast.stop),
            "advice": done.suggestion,
            "suggested": done.suggested_config and f"--set {_as_settings(done.suggested_config)}",
        }  # fmt: skip
        print_record(done.id, fields, done, as_json=as_json)


def _as_settings(config: dict[str, Any]) -> str:
    """A configuration as the words behind ``--set`` of ``errata inject``."""
    found: list[str] = []

    def walk(path: str, value: Any) -> None:
        if isinstance(value, dict) and value and path.count(".") < 1:
            for name, below in value.items():
                walk(f"{path}.{name}" if path else name, below)
        else:
            found.append(shlex.quote(f"{path}={json.dumps(value)}"))

    walk("", config)
    return " --set ".join(found)


def finish(errata: Errata, job: Any, *, watching: bool, as_json: bool) -> None:
    """Say what was started; with ``watching`` see it to its end first."""
    command = f"errata jobs watch {job.id}"
    if watching:
        job = watch(resource(errata, job.id), job.id, command)
    if as_json:
        print_json(job)
        return
    console().print(clean(job.id), style="bold")
    if not watching:
        say(f"started; `{command}` shows how far it is")
    elif getattr(job, "advice", None):
        say(job.advice)


@jobs.command("list")
def list_jobs(
    kind: Annotated[str | None, typer.Option(help=f"One of {', '.join(_KINDS)}. Default: all but est.")] = None,
    state: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed, ...")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows shown.")] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    columns: dict[str, Any] = {
        "id": lambda row: row.id,
        "state": lambda row: state_of(row) + (" (partial)" if getattr(row, "partial", False) else ""),
        "done": lambda row: f"{row.fraction:.0%}",
        "name": lambda row: getattr(row, "name", None) or getattr(row, "output_name", None) or "",
        "model": lambda row: getattr(row, "language_model", None) or getattr(row, "base_model", None) or "",
        "made": lambda row: ago(row.created_at),
    }
    with connected(url) as errata:
        kinds = [kind] if kind else [each for each in _KINDS if each != "est"]
        lists = [islice(resource(errata, f"{each}_").list(state=state), limit) for each in kinds]
        newest = sorted(chain(*lists), key=lambda row: row.created_at, reverse=True)
        print_rows(newest[:limit], columns, as_json=as_json, empty="There are none.")


@jobs.command("show")
def show(job: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a job: its state, what it made, what it says."""
    with connected(url) as errata:
        found = resource(errata, job).get(job)
        fields = {
            "state": state_of(found),
            "now": summary(found).partition(" · ")[2],
            "error": found.error,
            "stopped at": stopped_of(found),
            "spent": spent_of(found),
            "extends": getattr(found, "extends", None),
            "extended by": "\n".join(
                f"{each['job']} ({each['state']}): {json.dumps(each['extension'])}"
                for each in getattr(found, "extended_by", [])
            ),
            "begins with": getattr(found, "from_run", None) and f"step {found.from_step} of {found.from_run}",
            "advice": getattr(found, "advice", None),
            "result": json.dumps(getattr(found, "result", None) or getattr(found, "summary", None) or {}, indent=1),
            "made": ago(found.created_at),
        }
        print_record(found.id, {k: v for k, v in fields.items() if v not in ("{}", "")}, found, as_json=as_json)


@jobs.command("watch")
def watch_job(job: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Follow a job to its end. Ctrl-C stops watching; the job goes on."""
    with connected(url) as errata:
        done = watch(resource(errata, job), job, f"errata jobs watch {job}")
        if as_json:
            print_json(done)


@jobs.command("logs")
def logs(
    job: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Print a job's events in sentences, oldest first; --json prints what they hold."""
    with connected(url) as errata:
        found = resource(errata, job)
        for event in found.follow(job) if follow else found.events(job):
            if as_json:
                print_json(event)
            else:
                console().print(clean(f"{event.created_at:%Y-%m-%d %H:%M:%S}  {event.sentence}"), soft_wrap=True)


@jobs.command("cancel")
def cancel(job: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Ask a job to stop. What it made stays."""
    change(job, "cancel", url, as_json)


@jobs.command("retry")
def retry(job: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Try again what failed or was cancelled: of an ended injection job in a new job, which is printed."""
    change(job, "retry", url, as_json)


@jobs.command("pause")
def pause(job: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Pause a job; what it has is kept."""
    change(job, "pause", url, as_json)


@jobs.command("resume")
def resume(job: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Go on with a paused job."""
    change(job, "resume", url, as_json)


@jobs.command("extend")
def extend(
    job: JobId,
    rest: Annotated[bool, typer.Option("--rest", help="The problems of its set that were never begun.")] = False,
    problems: Annotated[str | None, typer.Option(help="The problems of another set: its id, pset_...")] = None,
    samples: Annotated[int | None, typer.Option(min=2, help="Samples per problem in all.")] = None,
    edits: Annotated[int | None, typer.Option(min=1, help="Edited steps per solution in all.")] = None,
    pairs: StopPairs = None,
    generated: StopGenerated = None,
    prompts: StopPrompts = None,
    money: StopMoney = None,
    deadline: Deadline = None,
    no_limit: Annotated[
        bool, typer.Option("--no-limit", help="Where the job had limits: the new one has none.")
    ] = False,
    watching: Watch = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Add to an ended injection job, in a new job that does only what is new."""
    limits = given_limits(pairs, generated, prompts, money, deadline)
    with connected(url) as errata:
        added = errata.injection_jobs.extend(
            job,
            problems="rest" if rest else None,
            problem_set=problems,
            samples=samples,
            edits_per_solution=edits,
            stop=limits or ({} if no_limit else None),
        )
        finish(errata, added, watching=watching, as_json=as_json)


@jobs.command("limit")
def limit(
    job: JobId,
    pairs: StopPairs = None,
    generated: StopGenerated = None,
    prompts: StopPrompts = None,
    money: StopMoney = None,
    deadline: Deadline = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Set where an injection job in work stops, in place of its limits; without options it has none."""
    with connected(url) as errata:
        changed = errata.injection_jobs.set_stop(job, **given_limits(pairs, generated, prompts, money, deadline))
        given = {name: at for name, at in (changed.config.get("stop") or {}).items() if at is not None}
        told = ", ".join(f"{name.replace('_', ' ')} {amount(at)}" for name, at in given.items()) or "no limits"
        print_record(changed.id, {"state": changed.state, "stops at": told}, changed, as_json=as_json)


def _where_it_stops(stop: dict[str, Any] | None) -> str | None:
    if stop is None:
        return None
    if stop["limit"] is None:
        return "not before its problems end: no limit is reached"
    limit = stop["limit"].replace("_", " ")
    return f"at its limit of {limit} after about {stop['problems']:,} problems, at most {stop['overshoot']:,} more"


def change(job_id: str, verb: str, url: str | None, as_json: bool) -> None:
    """Ask a job for something that its kind may know, and print what it then is. Raises CliError where it does not."""
    with connected(url) as errata:
        act = getattr(resource(errata, job_id), verb, None)
        if act is None:
            raise CliError(f"{job_id}: there is no `{verb}` for this kind of job")
        changed = act(job_id)
        print_record(changed.id, {"state": state_of(changed)}, changed, as_json=as_json)
        if changed.id != job_id and not as_json:
            say(f"a new job, for what {job_id} lacks; `errata jobs watch {changed.id}` shows how far it is")


def state_of(job: Any) -> str:
    """A job's state, and whether it is paused, which is no state of its own."""
    paused = getattr(job, "paused_at", None) is not None and not job.ended
    return f"{job.state}, paused" if paused else str(job.state)


def _interval(found: Any) -> str:
    return f"{found.estimate:,.0f} ({found.low:,.0f} to {found.high:,.0f})"
