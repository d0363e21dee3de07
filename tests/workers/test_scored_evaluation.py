"""Scored evaluations, and the entropy of sampled answers, by a real model: against its own logits and its samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from sqlalchemy import select

from demo.problems import generate
from errata.output_config import EvaluationConfig
from errata.prompts import solve_prompt
from errata.types import Domain
from models import leases
from models.evaluation_results import compare
from models.jobs import Shard
from models.outputs import Evaluation, EvaluationSample, EvaluationScore
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState
from models.workspaces import LanguageModel, ProblemRow, ProblemSet, Workspace
from workers.engines.base import EngineError, ModelSpec, Scores, TokenScore
from workers.engines.transformers_engine import TransformersEngine
from workers.judge import JudgePool
from workers.lifecycle import complete_owner, plan_evaluation
from workers.stages.base import StageContext
from workers.stages.evaluate import answer, judge
from workers.stages.score_solutions import score_solutions

MINIATURE = Path(__file__).resolve().parents[2] / "demo" / "model"
COUNT = 12


class InProcess:
    """The miniature in this process."""

    def __init__(self) -> None:
        self.engine = TransformersEngine({"path": str(MINIATURE), "device": "cpu"})

    def generate(self, model: ModelSpec, requests: Any, cancelled: Any, *_: Any) -> Any:
        return self.engine.generate(requests, cancelled)

    def score(self, model: ModelSpec, requests: Any, cancelled: Any, *_: Any) -> Any:
        return self.engine.score(requests, cancelled)


@pytest.fixture(scope="module")
def engines() -> InProcess:
    return InProcess()


@pytest.fixture(scope="module")
def pool() -> Iterator[JudgePool]:
    pool = JudgePool(size=1)
    yield pool
    pool.close()


@pytest.fixture
def evaluated(sqlite_database: Database, tmp_path: Path, engines: InProcess, pool: JudgePool) -> Any:
    problems = generate(COUNT, 3, "heldout")
    with sqlite_database.begin() as session:
        session.add(Workspace(id="ws_1", name="one"))
        session.flush()
        session.add(ProblemSet(id="pset_1", workspace_id="ws_1", name="s", domain="math", content_sha256="0"))
        session.add(LanguageModel(id="lm_1", workspace_id="ws_1", name="miniature", engine="transformers"))
        session.flush()
        for at, each in enumerate(problems):
            row = ProblemRow(id=f"prob_{at:02}", problem_set_id="pset_1", position=at, question=each.question)
            row.gold_answer, row.gold_solution, row.subject = each.gold_answer, each.gold_solution, each.subject
            session.add(row)
    store = StoreSettings(ERRATA_HOME=tmp_path)

    def run(row_id: str, **given: Any) -> dict[str, Any]:
        config = EvaluationConfig.model_validate(given)
        with sqlite_database.begin() as session:
            row = Evaluation(id=row_id, workspace_id="ws_1", problem_set_id="pset_1", language_model_id="lm_1")
            row.config = config.model_dump(mode="json")
            session.add(row)
            session.flush()
            plan_evaluation(session, row, COUNT)
            shard_id = session.scalars(select(Shard.id).where(Shard.evaluation_id == row_id)).one()
        for stage in (answer, judge):
            with sqlite_database.begin() as session:
                lease = leases.claim(session, shard_id, "test", 600)
            if lease is None:
                break
            finish = stage(StageContext(sqlite_database, store, lease, engines, pool, lambda: False))  # type: ignore[arg-type]
            with sqlite_database.begin() as session:
                assert leases.finish(session, lease, finish.next_stage)
                finish.write(session)
        with sqlite_database.begin() as session:
            assert complete_owner(session, Evaluation, row_id) == JobState.SUCCEEDED
            return dict(session.get_one(Evaluation, row_id).result or {})

    return run


def expected(engine: TransformersEngine, question: str, solution: str, temperature: float) -> tuple[bool, float]:
    """By hand: one plain forward pass, and the tokens of every equation and of the answer's step."""
    prompt = solve_prompt(question)
    tail = solution.removeprefix(prompt.assistant_prefix)
    text = engine.tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt.messages[0].content}], tokenize=False, add_generation_prompt=True
    )
    head = engine.tokenizer(text + prompt.assistant_prefix, add_special_tokens=False)["input_ids"]
    encoded = engine.tokenizer(tail, add_special_tokens=False, return_offsets_mapping=True)
    lines, at, marks = tail.split("\n"), 0, []
    for line in lines:
        words = line.split()
        if "=" in words:
            place = words.index("=")
            first = place - 1
            while first > 0 and (words[first - 1].isdigit() or words[first - 1] in "+-*/"):
                first -= 1
            start = at + line.index(" ".join(words[first : place + 1]))
            marks.append((start, start + len(" ".join(words[first : place + 2]).rstrip(".,;"))))
        else:
            marks.append((at + line.index("The answer"), at + len(line)))
        at += len(line) + 1
    ids = torch.tensor([head + encoded["input_ids"]])
    with torch.inference_mode():
        logits = engine.model(ids).logits[0, len(head) - 1 : -1]
    hit, total = True, 0.0
    for row, token, (start, end) in zip(logits, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        if any(start < stop and end > first for first, stop in marks):
            hit &= int(row.argmax()) == token
            total += float((row / temperature).log_softmax(-1)[token])
    return hit, math.exp(total)


def test_scores_are_the_probabilities_of_equations_and_answer(
    evaluated: Any, engines: InProcess, sqlite_database: Database
) -> None:
    found = evaluated("eval_1", method="score", temperatures=[0.0, 1.0, 0.7])
    problems = generate(COUNT, 3, "heldout")
    with sqlite_database.read() as session:
        rows = session.scalars(select(EvaluationScore).order_by(EvaluationScore.problem_id)).all()
    by_hand = {
        t: [expected(engines.engine, p.question, p.gold_solution or "", t) for p in problems] for t in (1.0, 0.7)
    }
    for at, row in enumerate(rows):
        assert row.hits is not None
        assert row.logprobs is not None
        assert all(row.hits) == by_hand[1.0][at][0]
        for temperature in (1.0, 0.7):
            told = math.exp(sum(row.logprobs[str(temperature)]))
            assert told == pytest.approx(by_hand[temperature][at][1], abs=2e-3)
    greedy, sampled, cooler = found["temperatures"]
    assert greedy["accuracy"] == fmean(hit for hit, _ in by_hand[1.0])
    assert sampled["accuracy"] == pytest.approx(fmean(p for _, p in by_hand[1.0]), abs=1e-3)
    assert sampled["accuracy"] < cooler["accuracy"]
    assert (found["accuracy"], found["problems"], found["unscored"]) == (greedy["accuracy"], COUNT, 0)
    assert sum(each["problems"] for each in found["groups"]["steps"].values()) == COUNT


def test_scores_agree_with_samples(evaluated: Any, sqlite_database: Database) -> None:
    """The probability of writing the right solution is about the share of right answers among samples."""
    scored = evaluated("eval_1", method="score", temperatures=[0.0, 1.0])
    sampled = evaluated("eval_2", temperatures=[0.0, 1.0], samples=24, max_tokens=160, entropy=True)
    greedy, drawn = sampled["temperatures"]
    assert greedy["accuracy"] == scored["accuracy"]
    with sqlite_database.read() as session:
        found = compare(session, "eval_1", "eval_2")
        answers = session.scalars(select(EvaluationSample).order_by(EvaluationSample.sample_index)).all()
    difference = next(each for each in found["temperatures"] if each["temperature"] == 1.0)
    # Right answers are also reached by two errors that cancel, so samples may do a little better.
    assert difference["interval"][0] - 0.05 <= 0.0 <= difference["interval"][1] + 0.05
    assert len(answers) == COUNT * 25
    assert [each.nats is None for each in answers[:COUNT]] == [True] * COUNT
    assert all(each.nats is not None and each.nats >= 0 for each in answers[COUNT:])
    assert drawn["entropy"]["nats"]["mean"] == pytest.approx(
        fmean(each.nats for each in answers if each.nats is not None)
    )
    assert drawn["pass_at_k"]["8"] > drawn["accuracy"]
    assert drawn["samples_per_problem"] == 24


class OnlyOne(InProcess):
    """An engine that tells log-probabilities at temperature 1 alone, as servers do."""

    def score(self, model: ModelSpec, requests: Any, cancelled: Any, *_: Any) -> list[Scores]:
        found = self.engine.score(requests, cancelled)
        return [Scores(tuple(TokenScore(*token[:5]) for token in each.tokens), each.prompt_tokens) for each in found]


def test_engines_of_temperature_one_are_refused_at_others(evaluated: Any, sqlite_database: Database) -> None:
    evaluated("eval_1", method="score", temperatures=[0.0, 1.0])
    with sqlite_database.read() as session:
        problems = session.scalars(select(ProblemRow).limit(2)).all()
    lease = leases.Lease("shard_1", "eval_1", "answer", 1, 0, 2, "w")  # type: ignore[arg-type]
    context = StageContext(sqlite_database, StoreSettings(), lease, OnlyOne(), None, lambda: False)  # type: ignore[arg-type]
    spec = ModelSpec("served", "openai")
    for temperatures in ((0.0, 1.0), (1.0,)):
        config = EvaluationConfig(method="score", temperatures=temperatures)
        assert score_solutions(context, "eval_1", config, Domain.MATH, spec, problems).next_stage is None
    with pytest.raises(EngineError, match="at temperature 1 alone"):
        score_solutions(
            context, "eval_1", EvaluationConfig(method="score", temperature=0.5), Domain.MATH, spec, problems
        )
