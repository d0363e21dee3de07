"""Jobs of small sums over brought solutions, made in the database itself, and what became of them."""

from __future__ import annotations

from sqlalchemy import func, select

from errata.config import resolve
from models.base import new_id
from models.jobs import InjectionJob, Shard
from models.session import Database, insert_ignore
from models.states import ShardState
from models.workspaces import DEFAULT_WORKSPACE, BroughtSolution, ProblemRow, ProblemSet, Workspace
from tests.workers.injection_jobs import RIGHT
from workers.lifecycle import Hint, plan_injection

CONFIG = {"sampling": {"source": "brought"}, "shard_size": 1, "pairs": {"full": False}}

KINDS_OF_SUMS = 60


def sum_at(position: int) -> tuple[str, str, str]:
    """Question, answer and worked solution of the problem at a position; after ``KINDS_OF_SUMS`` they come again."""
    at = position % KINDS_OF_SUMS
    a, b, c = 3 + at % 5, 4 + at % 3, 5 + at
    d = a * b + c
    e = 9999 - d
    question = f"She has 9999 dollars, buys {a} pens at {b} dollars and pays {c} more. What is left?"
    return question, str(e), RIGHT.replace("99 -", "9999 -").format(a=a, b=b, c=c, d=d, e=e)


def post_sums(database: Database, count: int) -> tuple[str, list[Hint]]:
    """Post a job of ``count`` problems, one a shard; its id and the hints to send."""
    with database.begin() as session:
        insert_ignore(session, Workspace, [{"id": DEFAULT_WORKSPACE, "name": "default"}])
        set_id = new_id("pset")
        session.add(
            ProblemSet(
                id=set_id, workspace_id=DEFAULT_WORKSPACE, name="sums", domain="math", content_sha256="",
                problem_count=count,
            )
        )  # fmt: skip
        session.flush()
        problems, solutions = [], []
        for at in range(count):
            question, answer, text = sum_at(at)
            id_ = new_id("prob")
            problems.append(
                {"id": id_, "problem_set_id": set_id, "position": at, "question": question, "gold_answer": answer}
            )
            brought = {"problem_set_id": set_id, "problem_id": id_, "source": "s", "text": text}
            solutions.append({"id": new_id("sol"), **brought})
        insert_ignore(session, ProblemRow, problems)
        insert_ignore(session, BroughtSolution, solutions)
        config = resolve("rules", CONFIG).model_dump(mode="json")
        job = InjectionJob(id=new_id("inj"), workspace_id=DEFAULT_WORKSPACE, problem_set_id=set_id, config=config)
        session.add(job)
        return job.id, plan_injection(session, job, count)


def state_of(database: Database, job_id: str) -> tuple[str, int]:
    """The job's state, and how many of its shards are done."""
    done = select(func.count()).where(Shard.injection_job_id == job_id, Shard.state == ShardState.DONE)
    with database.read() as session:
        return session.get_one(InjectionJob, job_id).state, session.scalar(done) or 0
