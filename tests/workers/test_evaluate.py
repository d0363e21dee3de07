"""The stages of an evaluation, with a real database and the real judge; the language model is a table of replies."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from errata.output_config import EvaluationConfig
from errata.types import Domain
from models import leases
from models.base import new_id
from models.jobs import Shard
from models.outputs import Evaluation, EvaluationSample
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState, ShardState, Stage
from models.workspaces import LanguageModel, ProblemRow, ProblemSet, Workspace
from workers.engines.base import Cancelled, Completion, EngineError, GenerationRequest, Journal, ModelSpec
from workers.engines.follow_ups import FollowUp
from workers.judge import JudgePool
from workers.lifecycle import complete_owner, plan_evaluation
from workers.stages.base import StageContext
from workers.stages.evaluate import answer, answer_requests, judge

PROBLEMS = 6


class Replies:
    """A language model whose reply depends on the request alone, as an engine's must."""

    def __init__(self) -> None:
        self.requests: list[GenerationRequest] = []

    def generate(
        self,
        model: ModelSpec,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool],
        journal: Journal | None = None,
        follow_up: FollowUp | None = None,
    ) -> list[list[Completion]]:
        if cancelled():
            raise Cancelled
        self.requests += requests
        return [[self._reply(model, request, at) for at in range(request.n)] for request in requests]

    def _reply(self, model: ModelSpec, request: GenerationRequest, at: int) -> Completion:
        """A model named "even" knows the even sums only; sampling changes what the others come out as."""
        left = int(request.prompt.messages[0].content.split()[2])
        prompt_tokens = 20 if at == 0 else 0
        if left == 5:
            return Completion("I keep thinking and", "length", prompt_tokens, request.max_tokens)
        known = model.name == "all" or left % 2 == 0
        if request.temperature > 0:
            known = random.Random(request.seed + at).random() < 0.5
        total = left + 1 if known else left + 2
        return Completion(f"{left} + 1 = {total}\nThe answer is \\boxed{{{total}}}", "stop", prompt_tokens, 12)


@pytest.fixture(scope="module")
def pool() -> Iterator[JudgePool]:
    pool = JudgePool()
    yield pool
    pool.close()


@pytest.fixture
def engine() -> Replies:
    return Replies()


@pytest.fixture
def problem_set(database: Database) -> str:
    with database.begin() as session:
        session.add(Workspace(id="ws_1", name="one"))
        session.flush()
        session.add(ProblemSet(id="pset_1", workspace_id="ws_1", name="s", domain="math", content_sha256="0"))
        for name in ("even", "all"):
            session.add(LanguageModel(id=f"lm_{name}", workspace_id="ws_1", name=name, engine="transformers"))
        session.flush()
        for at in range(PROBLEMS):
            question = f"Ann has {at} apples and gets one more. How many has she?"
            row = ProblemRow(id=new_id("prob"), problem_set_id="pset_1", position=at, question=question)
            row.gold_answer = str(at + 1)
            session.add(row)
    return "pset_1"


class Run:
    """Walks an evaluation's shards through their stages as a worker would."""

    def __init__(self, database: Database, store: StoreSettings, engine: Replies, pool: JudgePool) -> None:
        self.database, self._store, self._engine, self._pool = database, store, engine, pool

    def create(self, model: str = "even", size: int | None = None, **config: Any) -> str:
        with self.database.begin() as session:
            resolved = EvaluationConfig.model_validate(config)
            row = Evaluation(
                id=new_id("eval"),
                workspace_id="ws_1",
                problem_set_id="pset_1",
                language_model_id=f"lm_{model}",
                config=resolved.model_dump(mode="json"),
            )
            session.add(row)
            session.flush()
            if size is None:
                plan_evaluation(session, row, resolved.problem_count(PROBLEMS))
            else:
                for position, start in enumerate(range(0, PROBLEMS, size)):
                    shard = Shard(id=new_id("shard"), evaluation_id=row.id, position=position, stage=Stage.ANSWER)
                    shard.start, shard.stop = start, min(start + size, PROBLEMS)
                    session.add(shard)
        return row.id

    def claim(self, evaluation_id: str) -> leases.Lease | None:
        with self.database.begin() as session:
            query = select(Shard.id).where(Shard.evaluation_id == evaluation_id, Shard.state == ShardState.QUEUED)
            shard_id = session.scalars(query.order_by(Shard.position)).first()
            return leases.claim(session, shard_id, "test", 60) if shard_id else None

    def context(self, lease: leases.Lease, cancelled: Callable[[], bool] = lambda: False) -> StageContext:
        return StageContext(self.database, self._store, lease, self._engine, self._pool, cancelled)

    def step(self, lease: leases.Lease) -> None:
        finish = {Stage.ANSWER: answer, Stage.JUDGE: judge}[lease.stage](self.context(lease))
        with self.database.begin() as session:
            assert leases.finish(session, lease, finish.next_stage)
            finish.write(session)

    def whole(self, model: str = "even", size: int | None = None, **config: Any) -> Evaluation:
        evaluation_id = self.create(model, size, **config)
        while (lease := self.claim(evaluation_id)) is not None:
            self.step(lease)
        with self.database.begin() as session:
            complete_owner(session, Evaluation, evaluation_id)
        with self.database.read() as session:
            return session.get_one(Evaluation, evaluation_id)

    def samples(self, evaluation_id: str) -> list[EvaluationSample]:
        with self.database.read() as session:
            query = (
                select(EvaluationSample)
                .join(ProblemRow, ProblemRow.id == EvaluationSample.problem_id)
                .where(EvaluationSample.evaluation_id == evaluation_id)
                .order_by(ProblemRow.position, EvaluationSample.sample_index)
            )
            return list(session.scalars(query))


@pytest.fixture
def run(database: Database, tmp_path: Path, engine: Replies, pool: JudgePool, problem_set: str) -> Run:
    return Run(database, StoreSettings(ERRATA_HOME=tmp_path), engine, pool)


def test_a_greedy_evaluation_ends_with_its_result(run: Run) -> None:
    evaluation = run.whole()
    assert evaluation.state == JobState.SUCCEEDED
    result = evaluation.result
    assert result is not None
    assert (result["problems"], result["samples"]) == (PROBLEMS, PROBLEMS)
    assert result["accuracy"] == 0.5
    assert result["verdicts"] == {"correct": 3, "incorrect": 2, "unparsable": 1, "timeout": 0}
    assert result["cut"] == pytest.approx(1 / 6)
    assert result["tokens"]["prompt"] == 20 * PROBLEMS
    samples = run.samples(evaluation.id)
    assert [sample.verdict for sample in samples[:2]] == ["correct", "incorrect"]
    assert samples[0].extracted == "1"
    assert all(sample.verifier and sample.verdict_seconds is not None for sample in samples)
    assert samples[0].text.startswith("Let's think step by step.\nStep 1: 0 + 1 = 1")


def test_the_prompts_are_the_solver_s(run: Run, engine: Replies) -> None:
    run.whole(max_tokens=77)
    assert {(request.n, request.temperature, request.max_tokens) for request in engine.requests} == {(1, 0.0, 77)}
    assert "\\boxed{}" in engine.requests[0].prompt.messages[0].content


def test_slices_do_not_change_the_answers(run: Run) -> None:
    whole = run.samples(run.whole(temperature=1.0, samples=3).id)
    sliced = run.samples(run.whole(temperature=1.0, samples=3, size=2).id)
    assert [(s.problem_id, s.sample_index, s.seed, s.text, s.verdict) for s in whole] == [
        (s.problem_id, s.sample_index, s.seed, s.text, s.verdict) for s in sliced
    ]
    assert len(whole) == 3 * PROBLEMS


def test_seeds_belong_to_question_and_evaluation_seed() -> None:
    config = EvaluationConfig(temperature=1.0, samples=2)
    one = answer_requests(config, Domain.MATH, ["a", "b"])
    other = answer_requests(config, Domain.MATH, ["b"])
    assert one[1].seed == other[0].seed != one[0].seed
    reseeded = answer_requests(config.model_copy(update={"seed": 1}), Domain.MATH, ["b"])
    assert reseeded[0].seed != other[0].seed


def test_several_samples_report_pass_and_majority(run: Run) -> None:
    result = run.whole(temperature=1.0, samples=4).result
    assert result is not None
    assert result["samples"] == 4 * PROBLEMS
    assert result["pass_at_k"]["1"] == pytest.approx(result["accuracy"])
    assert result["pass_at_k"]["1"] < result["pass_at_k"]["4"]
    assert set(result["majority_at_k"]) == {"2", "4"}


def test_the_limit_takes_the_first_problems(run: Run) -> None:
    evaluation = run.whole(limit=4)
    assert len(run.samples(evaluation.id)) == 4
    # A shard planned wider than the limit answers no more than it either.
    assert len(run.samples(run.whole(limit=3, size=2).id)) == 3


def test_an_answer_done_twice_is_stored_once(run: Run) -> None:
    evaluation_id = run.create()
    late = run.claim(evaluation_id)
    assert late is not None
    with run.database.begin() as session:
        assert leases.release(session, late)
    lease = run.claim(evaluation_id)
    assert lease is not None
    run.step(lease)
    finish = answer(run.context(late))
    with run.database.begin() as session:
        assert not leases.finish(session, late, finish.next_stage)
    with run.database.begin() as session:
        finish.write(session)  # even unfenced, the unique key keeps the first rows
    assert len(run.samples(evaluation_id)) == PROBLEMS


def test_judging_again_keeps_verdicts(run: Run) -> None:
    """After a verdict is written, a judge stage that starts again has nothing left to do."""
    evaluation_id = run.create()
    lease = run.claim(evaluation_id)
    assert lease is not None
    run.step(lease)
    lease = run.claim(evaluation_id)
    assert lease is not None
    first, again = judge(run.context(lease)), judge(run.context(lease))
    with run.database.begin() as session:
        first.write(session)
    verdicts = [sample.verdict for sample in run.samples(evaluation_id)]
    with run.database.begin() as session:
        judge(run.context(lease)).write(session)
        again.write(session)
    assert [sample.verdict for sample in run.samples(evaluation_id)] == verdicts
    assert None not in verdicts


def test_told_to_stop(run: Run) -> None:
    evaluation_id = run.create()
    lease = run.claim(evaluation_id)
    assert lease is not None
    with pytest.raises(Cancelled):
        answer(run.context(lease, lambda: True))
    run.step(lease)
    lease = run.claim(evaluation_id)
    assert lease is not None
    with pytest.raises(Cancelled):
        judge(run.context(lease, lambda: True))


class Away(Replies):
    """A language model whose server does not answer."""

    def generate(self, *_: Any) -> list[list[Completion]]:
        raise EngineError("no answer", retryable=True)


def test_an_engine_that_fails_leaves_no_answers(run: Run, database: Database, tmp_path: Path, pool: JudgePool) -> None:
    away = Run(database, StoreSettings(ERRATA_HOME=tmp_path), Away(), pool)
    evaluation_id = away.create()
    lease = away.claim(evaluation_id)
    assert lease is not None
    with pytest.raises(EngineError, match="no answer"):
        away.step(lease)
    assert run.samples(evaluation_id) == []


@pytest.mark.parametrize(
    "config",
    [{"samples": 0}, {"samples": 2}, {"temperature": 3}, {"top_p": -0.1}, {"limit": 0}, {"beam": 4}, {"seed": -1}],
)
def test_impossible_settings_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(config))):
        EvaluationConfig.model_validate(config)
