"""Stage ``continue``: continuations from the edited and from the original step, for edits that need them as proof."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from errata.identity import Context
from errata.mined_proof import prove_mined, wording_of
from errata.prompts import SOLVE_VERSION, solve_prompt
from errata.proof import Outcome, prove_edit
from errata.replay import ReplayOutcome, replay
from errata.seeds import derive_seed
from errata.steps import split_steps
from errata.types import Domain, Problem
from models.jobs import EditRow, SolutionRow
from models.session import update_by_key
from models.states import Stage
from models.workspaces import ProblemRow
from workers.engines.base import Completion, EngineError, GenerationRequest
from workers.stages.base import Finish, StageContext
from workers.stages.ledger import add_counts, count_continuations, drop_edits
from workers.stages.loading import Job, ShardRows, as_problem, load_rows


def continue_edits(context: StageContext) -> Finish:
    """Store ``k`` continuations per side with each edit that needs them; the next stage judges them.

    Continuations of the original step are generated once per step, whatever number of edits it has.
    """
    rows = load_rows(context)
    job, solutions, errors = rows.job, rows.solutions, context.errors
    edits: list[EditRow] = []
    for row in rows.edits:
        with errors.of(row.problem_id):
            edits += [row] if _is_asked(rows, row) else []
    if job.model is None:
        raise EngineError("continuations need a language model and the job names none")
    # Keyed by what is continued: several edits of one step share the continuations of its original.
    sides: dict[str, tuple[str, str]] = {}
    requests: dict[tuple[str, str], GenerationRequest] = {}
    for row in edits:
        solution = solutions[row.solution_id]
        before = solution.text[: row.start]
        sides[row.id] = (before + str(row.edited), before + row.original)
        with errors.of(row.problem_id):
            for text in sides[row.id]:
                key = (solution.problem_id, text)
                requests.setdefault(key, _request(job, rows.problems[solution.problem_id], text))
    context.meter.expect(sum(request.n for request in requests.values()))
    results = context.generate(job.model, list(requests.values()))
    found = dict(zip(requests, results, strict=True))
    whole = [row for row in edits if row.problem_id not in errors]
    continued = [_row(job, row, solutions[row.solution_id], sides[row.id], found) for row in whole]
    failed = [row for row in rows.edits if row.problem_id in errors]

    def write(session: Session) -> None:
        update_by_key(session, EditRow, continued)
        add_counts(session, context.lease, count_continuations([c for result in results for c in result]))
        drop_edits(session, context.lease, failed)

    return Finish(Stage.PROVE, write)


def _is_asked(rows: ShardRows, edit: EditRow) -> bool:
    problem, solution = rows.problems[edit.problem_id], rows.solutions[edit.solution_id]
    of = (edit.within(solution.text), edit.step_index, edit.original, str(edit.edited), edit.editor)
    return needs_continuations(rows.job, as_problem(problem), *of)


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


def _row(
    job: Job,
    row: EditRow,
    solution: SolutionRow,
    sides: tuple[str, str],
    found: dict[tuple[str, str], list[Completion]],
) -> dict[str, Any]:
    edited, original = (found[solution.problem_id, text] for text in sides)
    stored = {
        "edited": [c.text for c in edited],
        "original": [c.text for c in original],
        # A continuation that was cut ends at no answer, and no pair's side may end with it (workers.stages.rests).
        "edited_finish": [c.finish_reason for c in edited],
        "temperature": job.config.proof.continuations.temperature,
    }
    return {"id": row.id, "continuations": stored}
