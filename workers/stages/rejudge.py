"""Stage ``rejudge``: stored samples judged by today's verifier, and what differs from their stored verdicts."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from errata.answers import Judgement, compare_verdicts
from errata.types import Domain, Verdict
from models.base import new_id
from models.jobs import InjectionJob, Shard, SolutionRow
from models.problems import ProblemRow, ProblemSet
from models.rejudgings import Rejudging, VerdictChangeRow
from models.upserts import insert_ignore
from workers.judge import JudgeItem
from workers.stages.base import Finish, StageContext
from workers.stages.loading import as_problem, judge_all


def rejudge(context: StageContext) -> Finish:
    """Insert one row per sample whose verdict or extracted answer changed. Stored verdicts and pairs stay as they are.

    Samples that were never judged (their job was cancelled before) are left out.
    """
    lease = context.lease
    with context.db.read() as session:
        rejudging = session.get_one(Rejudging, lease.owner_id)
        job = session.get_one(InjectionJob, rejudging.injection_job_id)
        domain = Domain(session.get_one(ProblemSet, job.problem_set_id).domain)
        found = session.execute(
            select(SolutionRow, ProblemRow)
            .join(ProblemRow, ProblemRow.id == SolutionRow.problem_id)
            .where(
                SolutionRow.job_id == job.id,
                SolutionRow.verdict.is_not(None),
                ProblemRow.position >= lease.start,
                ProblemRow.position < lease.stop,
            )
            .order_by(ProblemRow.position, SolutionRow.sample_index)
        ).all()
    solutions = {solution.id: solution for solution, _ in found}
    judged = judge_all(context, [JudgeItem(as_problem(problem), row.text, domain) for row, problem in found])
    stored = {row.id: _stored(row) for row in solutions.values()}
    changes = compare_verdicts(stored, dict(zip(solutions, judged, strict=True)))
    rows = [
        {
            "id": new_id("change"),
            "rejudging_id": rejudging.id,
            "shard_id": lease.shard_id,
            "solution_id": change.key,
            "problem_id": solutions[change.key].problem_id,
            "role": solutions[change.key].role,
            "verdict_before": str(change.before.verdict),
            "verdict_after": str(change.after.verdict),
            "extracted_before": change.before.extracted,
            "extracted_after": change.after.extracted,
            "verifier_before": change.before.verifier or None,
        }
        for change in changes
    ]

    def write(session: Session) -> None:
        insert_ignore(session, VerdictChangeRow, rows)
        session.get_one(Shard, lease.shard_id).ledger = {"samples": len(solutions)}

    return Finish(None, write)


def _stored(row: SolutionRow) -> Judgement:
    return Judgement(Verdict(row.verdict or ""), row.extracted, row.verifier or "", "", row.verdict_seconds or 0.0)
