"""The rows of a finished injection job for a benchmark: real solutions, each told of another number, in bulk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import insert

from bench.real_data import default_file, read
from errata.steps import split_steps
from errata.types import Step
from models.base import Base, new_id
from models.jobs import InjectionJob, PairRow, Shard, SolutionRow
from models.session import Database
from models.states import JobState, ShardState, Stage
from models.workspaces import ProblemRow, ProblemSet, Workspace

WORKSPACE, JOB = "ws_bench", "inj_bench"
_SHARD_PROBLEMS = 32
_STEP_PAIRS = 3  # of a problem, besides its full pair
_KINDS = ("calculation", "operator", "omission", "copying", "unit")
_BATCH = 200  # shards written at a time
_CREATED = "2026-01-01 00:00:00+00:00"
Rows = list[dict[str, Any]]


def add_job(database: Database, pairs: int) -> None:
    """Write a finished job with ``pairs`` pairs, its problems and solutions. The tables exist and hold no such job."""
    problems = -(-pairs // (_STEP_PAIRS + 1))
    job = {"workspace_id": WORKSPACE, "problem_set_id": "pset_bench", "config": {"preset": "rules"}}
    with database.begin() as session:
        session.add(Workspace(id=WORKSPACE, name="bench"))
        session.flush()
        about = {"name": "bench", "domain": "math", "problem_count": problems, "content_sha256": "0"}
        session.add(ProblemSet(id="pset_bench", workspace_id=WORKSPACE, **about))
        session.flush()
        session.add(InjectionJob(id=JOB, **job, state=JobState.SUCCEEDED))
    starts = range(0, problems, _SHARD_PROBLEMS)
    for batch in range(0, len(starts), _BATCH):
        _write(database, _shards(starts[batch : batch + _BATCH], batch, problems, pairs))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


def _shards(starts: Sequence[int], first: int, problems: int, pairs: int) -> dict[type[Base], Rows]:
    found: dict[type[Base], Rows] = {Shard: [], ProblemRow: [], SolutionRow: [], PairRow: []}
    texts = _texts()
    for position, start in enumerate(starts, start=first):
        shard: dict[str, Any] = {"id": new_id("shard"), "injection_job_id": JOB, "position": position, "start": start}
        stop = min(start + _SHARD_PROBLEMS, problems)
        found[Shard].append({**shard, "stop": stop, "stage": Stage.PAIR, "state": ShardState.DONE})
        for at in range(start, stop):
            for table, rows in _problem(shard["id"], at, texts[at % len(texts)]).items():
                found[table] += rows
    surplus = (starts[-1] + _SHARD_PROBLEMS >= problems) * (problems * (_STEP_PAIRS + 1) - pairs)
    if surplus:
        del found[PairRow][-surplus:]
    return found


@lru_cache(maxsize=1)
def _texts() -> list[tuple[str, str, tuple[Step, ...]]]:
    """Questions with a solution each and its steps; read once."""
    rows, brought = read(default_file(), 1000)
    told = ((str(rows[each["problem"]]["question"]), str(each["text"])) for each in brought)
    return [(question, solution, split_steps(solution)) for question, solution in told]


def _problem(shard_id: str, at: int, text: tuple[str, str, tuple[Step, ...]]) -> dict[type[Base], Rows]:
    """A problem with a right and a wrong solution, step pairs and a full pair."""
    question, solution = f"{text[0]} (Number {at}.)", f"{text[1]} (Number {at}.)"
    problem = {"id": new_id("prob"), "problem_set_id": "pset_bench", "position": at}
    place = {"job_id": JOB, "problem_id": problem["id"], "shard_id": shard_id, "source": "brought"}
    wrong = solution.replace("=", "= 1", 1) + " Again."
    right, other = (
        {"id": new_id("sol"), **place, "sample_index": index, "text": told, "verdict": verdict}
        for index, (told, verdict) in enumerate(((solution, "correct"), (wrong, "incorrect")))
    )
    shared = {"workspace_id": WORKSPACE, **place, "solution_id": right["id"], "question": question}
    steps = text[2]
    made = [_step_pair(shared, solution, steps[n % len(steps)], at, n) for n in range(_STEP_PAIRS)]
    full = {"pair_key": f"full:{problem['id']}", "type": "full", "chosen": solution, "rejected": wrong}
    made.append({"id": new_id("pair"), **shared, **full, "rejected_solution_id": other["id"], "rest": {"kind": "own"}})
    told = {**problem, "question": question, "gold_answer": str(at)}
    return {ProblemRow: [told], SolutionRow: [right, other], PairRow: made}


def _step_pair(shared: dict[str, Any], solution: str, step: Step, at: int, number: int) -> dict[str, Any]:
    chosen = solution[step.start : step.end]
    return {
        "id": new_id("pair"),
        **shared,
        "pair_key": f"step:{shared['solution_id']}:{number}",
        "type": "step",
        "prefix": solution[: step.start],
        "chosen": chosen,
        "rejected": f"{chosen.rstrip()} {number}{chosen[len(chosen.rstrip()) :]}",
        "step_index": step.index,
        "start": step.start,
        "end": step.end,
        "error_kind": _KINDS[(at + number) % len(_KINDS)],
        "form": ("stands", "consistent")[number % 2],
        "editor": "rule",
        "distance": 1 + number,
        "evidence_kind": "contradiction",
        "evidence": {
            "equation": f"{at}+{number}={at}",
            "left": str(at + number),
            "right": str(at),
            "original": "1+1=2",
        },
        # As jobs store it: only for older pairs is it looked for when they are frozen, which asks the judge.
        "rest": {"kind": "program", "chosen": solution[step.end :], "rejected": solution[step.end :]},
        "prompt_version": "rules",
        "seed": at,
    }


def _write(database: Database, made: dict[type[Base], Rows]) -> None:
    with database.begin() as session:
        for table, rows in made.items():
            if not database.is_postgres:
                empty = dict.fromkeys(name for row in rows for name in row)
                session.execute(insert(table), [{**empty, **row} for row in rows])
                continue
            names = sorted({name for row in rows for name in row} | _DEFAULTS.get(table, {}).keys())
            told = ", ".join(f'"{name}"' for name in names)
            cursor: Any = session.connection().connection.cursor()
            with cursor.copy(f'COPY "{table.__tablename__}" ({told}) FROM STDIN') as copy:
                for line in _tuples(rows, names, _DEFAULTS.get(table, {})):
                    copy.write_row(line)


_LEASE = {"fence": 1, "failures": 0, "interruptions": 0, "alone": False, "ledger": {}, "created_at": _CREATED}
_TOKENS = {"prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 0, "created_at": _CREATED}
_DEFAULTS: dict[type[Base], dict[str, Any]] = {
    Shard: _LEASE,
    ProblemRow: {"meta": {}},
    SolutionRow: _TOKENS,
    PairRow: {"created_at": _CREATED, "prefix": ""},
}


def _tuples(rows: Rows, names: Sequence[str], defaults: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        values = ({**defaults, **row}.get(name) for name in names)
        yield tuple(json.dumps(value) if isinstance(value, dict) else value for value in values)
