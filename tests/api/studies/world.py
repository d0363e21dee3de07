"""What workers and a trainer would compute for studies and campaigns, written by configurations and names alone."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api.studies.follow import follow
from models.evaluation_results import evaluation_result
from models.jobs import InjectionJob, PairRow, Shard, SolutionRow
from models.outputs import Dataset, Evaluation, EvaluationScore, TrainingRun
from models.session import Database
from models.states import TERMINAL
from models.workspaces import LanguageModel, ProblemRow
from tests.api.conftest import CheckedClient, KeptHints

COUNT = 12
PRIOR: dict[str, float] = {"tiny": 0.4}


class World:
    """Ends what is open, as workers and trainer would: what comes of it depends on configurations and names alone."""

    def __init__(self, db: Database) -> None:
        self._db, self.hints = db, KeptHints(db)

    def step(self) -> bool:
        """Go on with every study and campaign, and end one job. False: nothing is open any more."""
        going = follow(self._db, self.hints)
        with self._db.begin() as session:
            for table in (InjectionJob, Dataset, TrainingRun, Evaluation):
                query = select(table).where(table.state.not_in(sorted(TERMINAL))).order_by(table.created_at)
                row: Any = session.scalars(query.limit(1)).first()
                if row is not None:
                    getattr(self, f"_end_{table.__tablename__}")(session, row)
                    return True
        return bool(going)

    def run(self, most: int = 400) -> None:
        """To the end."""
        for _ in range(most):
            if not self.step():
                return
        raise AssertionError("it does not end")

    def _end_injection_jobs(self, session: Session, row: InjectionJob) -> None:
        if row.config["seed"] == 666:
            row.state, row.error = "failed", "no engine"
            return
        add_pair(session, row)
        row.state, row.funnel = "succeeded", {"pairs": {"total": 7}, "tokens": {"sample": {"completion": 5}}}

    def _end_datasets(self, session: Session, row: Dataset) -> None:
        row.state, row.manifest = "succeeded", {"rows": {"steps_and_full": 7, "sft": 7}, "files": []}

    def _end_training_runs(self, session: Session, row: TrainingRun) -> None:
        model = LanguageModel(id=f"lm_{row.id}", workspace_id=row.workspace_id, name=row.output_name)
        model.engine, model.config, model.base_model_id = "transformers", {"path": "/x"}, row.base_model_id
        model.training_run_id = row.id
        session.add(model)
        session.flush()
        row.state, row.output_model_id = "succeeded", model.id

    def _end_evaluations(self, session: Session, row: Evaluation) -> None:
        shard_id = session.scalars(select(Shard.id).where(Shard.evaluation_id == row.id)).one()
        quality = quality_of(session, row.language_model_id)
        problems = session.scalars(
            select(ProblemRow).where(ProblemRow.problem_set_id == row.problem_set_id).order_by(ProblemRow.position)
        )
        for problem in problems:
            p = min(0.99, max(0.01, quality + 0.02 * (problem.position % 5)))
            session.add(
                EvaluationScore(
                    evaluation_id=row.id, problem_id=problem.id, shard_id=shard_id,
                    hits=[p > 0.5], logprobs={"1.0": [math.log(p)]},
                )
            )  # fmt: skip
        session.flush()
        session.execute(update(Shard).where(Shard.evaluation_id == row.id).values(state="done"))
        row.state, row.result = "succeeded", evaluation_result(session, row.id)


def page_of(client: CheckedClient, path: str) -> str:
    answer = client.get(path, headers={"accept": "text/html"})
    assert answer.status_code == 200, answer.text[:300]
    return answer.text


def add_pair(session: Session, job: InjectionJob) -> None:
    """One pair, so that there is something to freeze."""
    shard_id = session.scalars(select(Shard.id).where(Shard.injection_job_id == job.id)).first()
    problem = session.scalars(select(ProblemRow.id).where(ProblemRow.problem_set_id == job.problem_set_id)).first()
    ids = {"job_id": job.id, "shard_id": shard_id, "problem_id": problem}
    session.add(SolutionRow(id=f"sol_{job.id}", sample_index=0, source="a", text="1 = 1", verdict="correct", **ids))
    session.flush()
    pair = PairRow(id=f"pair_{job.id}", workspace_id=job.workspace_id, solution_id=f"sol_{job.id}", pair_key="p", **ids)
    pair.type, pair.question, pair.chosen, pair.rejected, pair.source = "step", "q", "1 = 1", "1 = 2", "a"
    session.add(pair)


def quality_of(session: Session, model_id: str) -> float:
    """A model's accuracy: its base's, and what its training adds; learning rate and seed decide."""
    model = session.get_one(LanguageModel, model_id)
    if model.base_model_id is None:
        return PRIOR[model.name]
    run = session.get_one(TrainingRun, model.training_run_id)
    gain = {"sft": 0.1, "dpo": 0.2, "step-nll": 0.15}[run.config["objective"]]
    rate = 1.0 if run.config["learning_rate"] < 1e-3 else 0.2
    return quality_of(session, model.base_model_id) + gain * rate + 0.01 * (run.config["seed"] % 3)


def problems_of(client: CheckedClient, name: str, first: int) -> str:
    rows = [
        {
            "question": f"What is {n} + {n}?", "gold_answer": str(2 * n),
            "gold_solution": f"Step 1: {n} + {n} = {2 * n}\nStep 2: The answer is {2 * n}.",
        }
        for n in range(first, first + COUNT)
    ]  # fmt: skip
    answer = client.post("/v1/problem-sets", json={"name": name, "problems": rows})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])
