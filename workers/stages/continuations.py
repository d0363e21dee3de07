"""Stage ``continue``: continuations from the edited and from the original step, for edits that need them as proof.

Where a job measures error rates, also from before the step: what is lost between there and behind it is lost at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from sqlalchemy.orm import Session

from errata.identity import Context
from errata.mined_proof import prove_mined, wording_of
from errata.prompts import SOLVE_VERSION, solve_prompt
from errata.proof import Outcome, prove_edit
from errata.replay import ReplayOutcome, replay
from errata.seeds import derive_seed
from errata.steps import split_steps
from errata.types import Domain, Problem
from models.jobs import EditRow
from models.session import update_by_key
from models.states import Stage
from models.workspaces import ProblemRow
from workers.engines.base import Completion, EngineError, GenerationRequest
from workers.stages.base import Finish, StageContext
from workers.stages.ledger import add_counts, count_continuations, drop_edits
from workers.stages.loading import Job, ShardRows, as_problem, load_rows

Sides = dict[Literal["before", "edited", "original"], str]
"""Solutions up to before a step, up to its edit, and up to its original."""


def continue_edits(context: StageContext) -> Finish:
    """Store ``k`` continuations per side with each edit that needs them; the next stage judges them.

    Continuations of one text are generated once, whatever number of edits continue it.
    """
    rows = load_rows(context)
    job, errors = rows.job, context.errors
    if job.model is None:
        raise EngineError("continuations need a language model and the job names none")
    # Keyed by what is continued: edits of one step share their original's, and what stands behind a step stands before
    # the next one.
    sides: dict[str, Sides] = {}
    requests: dict[tuple[str, str], GenerationRequest] = {}
    for row in rows.edits:
        with errors.of(row.problem_id):
            sides[row.id] = _sides(rows, row)
            for text in sides[row.id].values():
                requests.setdefault((row.problem_id, text), _request(job, rows.problems[row.problem_id], text))
    context.meter.expect(sum(request.n for request in requests.values()))
    results = context.generate(job.model, list(requests.values()))
    found = dict(zip(requests, results, strict=True))
    whole = [row for row in rows.edits if row.problem_id not in errors and sides[row.id]]
    continued = [_row(job, row, sides[row.id], found) for row in whole]
    failed = [row for row in rows.edits if row.problem_id in errors]

    def write(session: Session) -> None:
        update_by_key(session, EditRow, continued)
        add_counts(session, context.lease, count_continuations([c for result in results for c in result]))
        drop_edits(session, context.lease, failed)

    return Finish(Stage.PROVE, write)


def _sides(rows: ShardRows, edit: EditRow) -> Sides:
    """The texts that are continued for an edit."""
    problem, solution = rows.problems[edit.problem_id], rows.solutions[edit.solution_id]
    before = solution.text[: edit.start]
    of = (edit.within(solution.text), edit.step_index, edit.original, str(edit.edited), edit.editor)
    sides: Sides = {"before": before} if is_measured(rows.job, edit.editor) else {}
    if needs_continuations(rows.job, as_problem(problem), *of):
        sides["edited"] = before + str(edit.edited)
    return {**sides, "original": before + edit.original} if sides else {}


def is_measured(job: Job, editor: str | None) -> bool:
    """Whether an edit's step gets its error rate by continuations. Mined errors have one by their samples."""
    return job.config.proof.error_rates and job.domain in (Domain.MATH, Domain.CHOICE) and editor != "mined"


def needs_continuations(
    job: Job, problem: Problem, solution: str, index: int, original: str, edited: str, editor: str | None
) -> bool:
    """Whether an edit is to be continued: never, always, or only where neither its own text nor a replay decides.

    ``original`` is the step of this index in ``solution``.

    Where a verifier decides (logic, code), never: continuations would add nothing. Mode ``dynamic`` needs them where
    the program does not carry errors to the solution's end.
    """
    if job.domain in (Domain.LOGIC, Domain.CODE):
        return False
    config = job.config.proof
    goes_on = config.mode == "dynamic" and not job.config.carries_to_end
    if goes_on or config.continuations.when == "always":
        return True
    if config.continuations.when == "never":
        return False
    step = split_steps(solution, job.domain, job.config.thoughts.in_steps)[index]
    context, mined = Context(problem.question, solution, step.start), editor == "mined"
    if (prove_mined if mined else prove_edit)(original, edited, context=context).outcome is Outcome.PROVEN:
        return False
    if mined and wording_of(original) != wording_of(edited):
        return True
    return replay(problem.question, problem.gold_answer, solution, index, edited).outcome is ReplayOutcome.OPEN


def _request(job: Job, problem: ProblemRow, prefix: str) -> GenerationRequest:
    config = job.config.proof.continuations
    greedy = config.temperature == 0
    return GenerationRequest(
        replace(solve_prompt(problem.question, job.domain, job.config.sampling), assistant_prefix=prefix),
        n=1 if greedy else config.k,  # k greedy continuations would all be the same
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        seed=derive_seed(job.config.seed, SOLVE_VERSION, "continue", problem.question, prefix),
    )


def _row(job: Job, row: EditRow, sides: Sides, found: Mapping[tuple[str, str], list[Completion]]) -> dict[str, Any]:
    made = {side: found[row.problem_id, text] for side, text in sides.items()}
    stored: dict[str, Any] = {"edited": [], **{side: [c.text for c in made[side]] for side in made}}
    # A continuation that was cut ends at no answer, and no pair's side may end with it (workers.stages.rests).
    stored["edited_finish"] = [c.finish_reason for c in made.get("edited", ())]
    stored["temperature"] = job.config.proof.continuations.temperature
    return {"id": row.id, "continuations": stored}
