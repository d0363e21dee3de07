"""Studies and campaigns over the real routes and rows; what workers would compute is written by ``World``."""

from __future__ import annotations

import json
import math
import os
import random
import signal
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from api.studies.follow import follow
from models.evaluation_results import evaluation_result
from models.jobs import InjectionJob, PairRow, Shard, SolutionRow
from models.outputs import Dataset, Evaluation, EvaluationScore, TrainingRun
from models.session import Database
from models.states import TERMINAL
from models.studies import Campaign, CampaignPart, Study, StudyPart
from models.workspaces import LanguageModel, ProblemRow
from tests.api.conftest import CheckedClient, KeptHints
from tests.api.test_injection_jobs import add_model

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


@pytest.fixture
def sets(client: CheckedClient, database: Database) -> dict[str, str]:
    names = ("problem_set", "validation_set", "test_set")
    found = {name: problems_of(client, name, 100 * at) for at, name in enumerate(names)}
    add_model(database)
    return found


ARMS: list[dict[str, Any]] = [
    {"name": "base", "trains": False},
    {"name": "sft", "training_preset": "sft", "trials": [{"learning_rate": 1e-2}, {"learning_rate": 1e-4}]},
    {"name": "errata", "trials": [{"learning_rate": 1e-4}, {"learning_rate": 1e-2}]},
]


def study(sets: dict[str, str], **config: Any) -> dict[str, Any]:
    given = {"arms": ARMS, "control": "sft", "seeds": [1, 2], "budget": {"steps": 5, "batch_size": 4}, **config}
    return {**sets, "language_model": "tiny", "config": given}


def test_a_study_tunes_on_validation_and_tests_once(
    client: CheckedClient, database: Database, sets: dict[str, str]
) -> None:
    answer = client.post("/v1/studies", json=study(sets))
    assert answer.status_code == 202, answer.text
    url = answer.headers["location"]
    assert answer.json()["parts"] == {"made": 0, "open": 0, "ended": 0}
    World(database).run()
    ended = client.get(url).json()
    assert (ended["state"], ended["error"], ended["partial"]) == ("succeeded", None, False)
    table = ended["result"]
    assert table["problems"] == COUNT
    assert {name: arm["trial"] for name, arm in table["arms"].items()} == {"base": 0, "sft": 1, "errata": 0}
    arms = table["arms"]
    assert arms["errata"]["validation"][0] > arms["errata"]["validation"][1]
    sampled = {name: arm["measures"]["sampled"]["estimate"] for name, arm in arms.items()}
    # Base 0.4; the mean of 0.02 x (position mod 5) over 12 problems; seeds 1 and 2 add 0.01 and 0.02.
    spread = 0.02 * (2 * 10 + 1) / COUNT
    assert sampled["base"] == pytest.approx(0.4 + spread)
    assert sampled["sft"] == pytest.approx(0.5 + spread + 0.015)
    assert arms["errata"]["against_control"]["sampled"]["delta"] == pytest.approx(0.1)
    assert set(arms["errata"]["measures"]) == {"greedy", "sampled", "pass@8"}
    assert arms["sft"]["against_control"] == {}
    counts = {}
    with database.read() as session:
        for table_, prefix in ((InjectionJob, "inj"), (Dataset, "ds"), (TrainingRun, "train"), (Evaluation, "eval")):
            counts[prefix] = session.scalar(select(func.count()).select_from(table_))
        runs = session.scalars(select(TrainingRun)).all()
        tested = session.scalar(select(func.count()).where(Evaluation.problem_set_id == sets["test_set"]))
    # Both arms share the job and the dataset of a seed. Of 2 trials with the first seed one goes on with the second.
    assert counts == {"inj": 2, "ds": 2, "train": 6, "eval": 9}
    assert tested == 5  # the start model is scored once: seeds change nothing of it
    assert {(run.config["max_steps"], run.config["batch_size"]) for run in runs} == {(5, 4)}
    assert ended["parts"] == {"made": 19, "open": 0, "ended": 19}
    assert [row["kind"] for row in ended["rows"]].count("training job") == 6
    kinds = [event["type"] for event in client.get(f"{url}/events").json()["data"]]
    assert kinds[:2] == ["queued", "running"]
    assert kinds[-1] == "succeeded"
    shown = page_of(client, f"/studies/{ended['id']}")
    assert "against sft" in shown
    assert f"+{100 * arms['errata']['against_control']['sampled']['delta']:.1f}" in shown
    assert f"/studies/{ended['id']}" in page_of(client, "/studies")
    assert client.get("/v1/studies?state=succeeded").json()["data"][0]["id"] == ended["id"]


def test_an_arm_that_fails_is_told_and_the_others_go_on(
    client: CheckedClient, database: Database, sets: dict[str, str]
) -> None:
    arms = [{"name": "base", "trains": False}, {"name": "sft", "training_preset": "sft"}]
    url = client.post("/v1/studies", json=study(sets, arms=arms, seeds=[666])).headers["location"]
    World(database).run()
    ended = client.get(url).json()
    assert (ended["state"], ended["partial"]) == ("succeeded", True)
    assert "no engine" in ended["error"]
    assert ended["result"]["arms"]["base"]["measures"]["greedy"]["estimate"] == 0.0
    assert ended["result"]["arms"]["sft"]["measures"] == {}


def test_cancelling_ends_what_it_started(client: CheckedClient, database: Database, sets: dict[str, str]) -> None:
    url = client.post("/v1/studies", json=study(sets)).headers["location"]
    world = World(database)
    follow(database, world.hints)
    assert client.get(url).json()["parts"]["open"] == 2  # the base's evaluation, and the job of the tuned seed
    cancelled = client.post(f"{url}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    assert {row["state"] for row in client.get(url).json()["rows"]} == {"cancelled"}
    assert client.post(f"{url}/cancel").status_code == 409
    assert follow(database, world.hints) == 0
    assert client.delete(url).status_code == 200
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(StudyPart)) == 0


def test_no_more_parts_than_concurrency_are_open(
    client: CheckedClient, database: Database, sets: dict[str, str]
) -> None:
    url = client.post("/v1/studies", json=study(sets, concurrency=1, seeds=[1, 2, 3])).headers["location"]
    for _ in range(3):
        follow(database, KeptHints(database))
    assert client.get(url).json()["parts"] == {"made": 1, "open": 1, "ended": 0}


def test_refusals_name_the_field(client: CheckedClient, sets: dict[str, str]) -> None:
    def refused(**config: Any) -> list[str]:
        answer = client.post("/v1/studies", json=study(sets, **config))
        assert answer.status_code == 422, answer.text
        return [error["field"] for error in answer.json()["errors"]]

    assert refused(control=None, arms=[{"name": "a", "config": {"sampling": {"samples": 0}}}]) == [
        "config.arms.0.config.sampling.samples"
    ]
    assert refused(control=None, arms=[{"name": "a", "training": {"learning_rate": 9}}]) == [
        "config.arms.0.training.learning_rate"
    ]
    assert refused(control=None, arms=[{"name": "a", "preset": "nope"}]) == ["config.arms.0.preset"]
    assert refused(control=None, arms=[{"name": "a", "training": {"epochs": 2}}]) == ["config.arms.0.training.epochs"]
    assert refused(control="nobody") == ["config.control"]
    assert refused(control=None, arms=[{"name": "a"}, {"name": "b", "trials": [{}, {}]}]) == ["config.arms"]
    body = study(sets)
    assert client.post("/v1/studies", json={**body, "validation_set": None}).json()["errors"][0]["field"] == (
        "validation_set"
    )
    same = client.post("/v1/studies", json={**body, "test_set": body["problem_set"]})
    assert same.json()["errors"][0]["field"] == "test_set"
    assert client.post("/v1/studies", json={**body, "language_model": "x"}).json()["errors"][0]["field"] == (
        "language_model"
    )


def campaign(sets: dict[str, str], **config: Any) -> dict[str, Any]:
    given = {"rounds": 3, "training": {"max_steps": 5, "learning_rate": 1e-4}, "seed": 3, **config}
    named = {"problem_set": sets["problem_set"], "evaluation_set": sets["test_set"], "language_model": "tiny"}
    return {**named, "config": given}


@pytest.mark.parametrize(
    ("rules", "rounds", "stopped"),
    [
        ({}, 3, "rounds"),
        ({"accuracy": 0.9}, 1, "accuracy"),  # greedy: above one half for every problem
        ({"patience": 1}, 2, "patience"),
        ({"min_pairs": 8}, 0, "min_pairs"),
    ],
)
def test_campaigns_and_their_rules(
    client: CheckedClient, database: Database, sets: dict[str, str], rules: dict[str, Any], rounds: int, stopped: str
) -> None:
    answer = client.post("/v1/campaigns", json=campaign(sets, stop=rules))
    assert answer.status_code == 202, answer.text
    World(database).run()
    ended = client.get(answer.headers["location"]).json()
    assert (ended["state"], ended["result"]["stopped"]) == ("succeeded", stopped)
    told = ended["result"]["rounds"]
    assert [row["round"] for row in told] == list(range(rounds + 1))
    bases = {row["made"]["training_job"]: row["language_model"] for row in told[1:]}
    with database.read() as session:
        starts = [session.get_one(LanguageModel, session.get_one(TrainingRun, run).base_model_id).name for run in bases]
    assert starts == [row["language_model"] for row in told[:-1]], "each round begins with the newest model"
    assert f"ended by: {stopped}" in page_of(client, f"/campaigns/{ended['id']}")
    if rounds:
        sampled = next(each for each in told[1]["before"]["temperatures"] if each["temperature"] == 1.0)
        assert sampled["delta"] == pytest.approx(0.2)


def summary(database: Database, campaign_id: str) -> str:
    """What a campaign came to, without ids and times."""
    with database.read() as session:
        row = session.get_one(Campaign, campaign_id)
        result = json.loads(json.dumps(row.result))
        for told in result["rounds"]:
            del told["evaluation"], told["language_model"]
            for name in ("job", "dataset", "training_job", "model"):
                told.get("made", {}).pop(name, None)
        parts = session.scalar(select(func.count()).where(CampaignPart.campaign_id == campaign_id))
        return json.dumps([row.state, result["rounds"], result["stopped"], parts], sort_keys=True)


def made_rows(database: Database) -> list[int]:
    with database.read() as session:
        tables = (CampaignPart, InjectionJob, Dataset, TrainingRun, Evaluation)
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def run_to_death(database: Database, number: int, when: str) -> bool:
    """Go on in a process of its own that is killed before or after its n-th commit. False: it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            own = Database(database.url)
            dialect, calls = own.engine.dialect, [0]
            commit = dialect.do_commit

            def dying(connection: Any) -> None:
                calls[0] += 1
                if calls[0] == number and when == "before":
                    os.kill(os.getpid(), signal.SIGKILL)
                commit(connection)
                if calls[0] == number:
                    os.kill(os.getpid(), signal.SIGKILL)

            dialect.do_commit = dying  # type: ignore[method-assign]
            World(own).run()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def test_a_campaign_killed_at_ten_points_ends_like_an_unbroken_one(
    client: CheckedClient, database: Database, sets: dict[str, str]
) -> None:
    unbroken = client.post("/v1/campaigns", json=campaign(sets)).json()["id"]
    World(database).run()
    once = made_rows(database)
    broken = client.post("/v1/campaigns", json=campaign(sets)).json()["id"]
    database.dispose()  # a forked process must not share its connections
    rng = random.Random(17)
    deaths = sum(run_to_death(database, rng.randint(1, 5), rng.choice(("before", "after"))) for _ in range(10))
    World(database).run()
    assert deaths == 10
    assert summary(database, broken) == summary(database, unbroken)
    assert made_rows(database) == [2 * count for count in once], "nothing was made twice"


def test_a_quota_delays_parts_and_fails_none(client: CheckedClient, database: Database, sets: dict[str, str]) -> None:
    url = client.post("/v1/studies", json=study(sets)).headers["location"]
    assert client.put("/v1/workspaces/default/quota", json={"jobs": 2}).status_code == 200
    follow(database, KeptHints(database))
    found = client.get(url).json()
    assert (found["state"], found["parts"]["open"]) == ("running", 1)  # the study itself is a job, too


def test_what_a_study_names_is_not_deleted_under_it(
    client: CheckedClient, database: Database, sets: dict[str, str]
) -> None:
    client.post("/v1/studies", json=study(sets))
    for set_id in sets.values():
        assert client.delete(f"/v1/problem-sets/{set_id}?cascade=true").status_code == 409
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Study)) == 1
