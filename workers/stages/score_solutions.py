"""Scored evaluations: how probable a model makes each step of a problem's right solution, by one forward pass.

Nothing is sampled, so nothing varies between two runs. The solution is scored as the model's own reply, without
calculator marks; its equations and answer count (errata.decisive), its words do not. The end of the reply is not
scored. At temperature 0 a step counts where each of its tokens is the model's likeliest; at any other its probability
is the product over its tokens at that temperature, with the whole distribution (no top-p).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Any

from sqlalchemy.orm import Session

from errata.arithmetic import strip_marks
from errata.decisive import DecisiveStep, covers, decisive_steps
from errata.output_config import EvaluationConfig
from errata.prompts import solve_prompt
from errata.types import Domain
from models.outputs import EvaluationScore
from models.session import insert_ignore
from models.workspaces import ProblemRow
from workers.engines.base import LacksCapability, ModelSpec, ScoreRequest, Scores, TokenScore
from workers.stages.base import Finish, StageContext


@dataclass(frozen=True, slots=True)
class _Asked:
    """A problem whose solution is scored, and the steps of it that count."""

    problem_id: str
    request: ScoreRequest
    steps: tuple[DecisiveStep, ...]


def score_solutions(
    context: StageContext,
    evaluation_id: str,
    config: EvaluationConfig,
    domain: Domain,
    model: ModelSpec,
    problems: Sequence[ProblemRow],
) -> Finish:
    """Insert one row per problem. Raises EngineError, LacksCapability where the engine cannot tell what is needed."""
    asked: list[_Asked] = []
    for problem in problems:
        with context.errors.of(problem.id):
            asked.append(_asked(config, domain, problem))
    context.meter.expect(len(asked))
    scores = context.score(model, [each.request for each in asked]) if asked else []
    rows = [
        {
            "evaluation_id": evaluation_id,
            "problem_id": each.problem_id,
            "shard_id": context.lease.shard_id,
            **_columns(model.name, each, scored),
        }
        for each, scored in zip(asked, scores, strict=True)
    ]

    def write(session: Session) -> None:
        insert_ignore(session, EvaluationScore, rows)

    return Finish(None, write)


def add_nats(
    context: StageContext,
    config: EvaluationConfig,
    domain: Domain,
    model: ModelSpec,
    problems: Sequence[ProblemRow],
    rows: Sequence[dict[str, Any]],
) -> None:
    """Give each row of a sampled answer its ``nats``: the negative log-probability of its text where it was drawn.

    Greedy answers get none, nor do those that do not fit the context. The end of the reply is not counted.
    """
    questions = {problem.id: problem.question for problem in problems}
    drawn = {draw.first + at: draw.temperature for draw in config.draws for at in range(draw.count)}
    for row in rows:
        row["nats"] = None  # every row of an insertion has the same columns
    sampled = [row for row in rows if drawn[row["sample_index"]] > 0]
    requests = [
        _request(config, domain, questions[row["problem_id"]], row["text"], (drawn[row["sample_index"]],))
        for row in sampled
    ]
    for row, request, scored in zip(sampled, requests, context.score(model, requests) if requests else [], strict=True):
        if scored.tokens:
            row["nats"] = -fsum(_logprob(model.name, token, request, 0) for token in scored.tokens)


def _asked(config: EvaluationConfig, domain: Domain, problem: ProblemRow) -> _Asked:
    if not problem.gold_solution:
        raise ValueError("the problem brings no solution that could be scored; evaluate it with method 'sample'")
    text = strip_marks(problem.gold_solution).strip()
    request = _request(config, domain, problem.question, text, tuple(at for at in config.at if at > 0))
    return _Asked(problem.id, request, decisive_steps(text, domain, config.thoughts.markers))


def _request(
    config: EvaluationConfig, domain: Domain, question: str, text: str, temperatures: tuple[float, ...]
) -> ScoreRequest:
    prompt = replace(solve_prompt(question, domain, config), assistant_prefix="")  # the text has the opening in it
    return ScoreRequest(prompt, text, alternatives=1, temperatures=temperatures)


def _columns(name: str, asked: _Asked, scored: Scores) -> Mapping[str, Any]:
    if not scored.tokens:
        return {"hits": None, "logprobs": None}
    hits: list[bool] = []
    logprobs: dict[str, list[float]] = {str(at): [] for at in asked.request.temperatures}
    for step in asked.steps:
        tokens = [token for token in scored.tokens if covers(step.spans, token.start, token.end)]
        hits.append(all(_likeliest(token) for token in tokens))
        for place, at in enumerate(asked.request.temperatures):
            logprobs[str(at)].append(fsum(_logprob(name, token, asked.request, place) for token in tokens))
    return {"hits": hits, "logprobs": logprobs}


def _likeliest(token: TokenScore) -> bool:
    return not token.alternatives or token.logprob >= token.alternatives[0].logprob


def _logprob(name: str, token: TokenScore, request: ScoreRequest, place: int) -> float:
    if token.at:
        return token.at[place]
    if request.temperatures[place] == 1.0:
        return token.logprob
    raise LacksCapability(
        f"language model {name!r}: its engine tells log-probabilities at temperature 1 alone; evaluate at temperatures"
        " 0 and 1, serve the model by transformers, or use method 'sample'"
    )
