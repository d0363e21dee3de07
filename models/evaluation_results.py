"""The result of an evaluation from its rows, and the paired comparison of two.

Answers of several temperatures lie in one evaluation, told apart by their numbers (EvaluationConfig.draws). Where
nothing else is said, a figure is that of the first temperature.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Integer, cast, func, select
from sqlalchemy.orm import Session

from errata.decisive import step_count
from errata.measures import About, Sampled, Scored, sampled_measures, scored_measures, scored_pass
from errata.output_config import Draw, EvaluationConfig
from errata.profile import ErrorProfile, error_profile
from errata.selection import Sample
from errata.statistics import paired_difference, pass_at_k
from errata.types import Domain, Verdict
from models.jobs import Shard
from models.outputs import Evaluation, EvaluationSample, EvaluationScore
from models.workspaces import ProblemRow, ProblemSet

_EMPTY: dict[str, Any] = {"accuracy": None, "interval": None}
_MOST_PROFILED = 2_000  # wrong answers of a side whose calculations are read for the error profile
_PASS = 8  # the k of pass@k that studies tell
Rates = dict[str, bool | float]
"""By problem: whether its one answer is right, else the share or probability of right ones."""


def config_of(row: Evaluation) -> EvaluationConfig:
    """The configuration of an evaluation; settings that are younger than it have their defaults."""
    return EvaluationConfig.model_validate(row.config)


def evaluation_result(session: Session, evaluation_id: str) -> dict[str, Any]:
    """The result of an evaluation from its judged samples or scores; call it when no shard runs any more.

    ``method`` and ``problems``. ``temperatures`` lists the measures at each (errata.measures); those of the first stand
    beside it: ``accuracy`` with ``interval`` (95 %), ``pass_at_k`` and so on. Sampled ones also have ``samples``
    (judged), ``verdicts``, ``unparsable`` and ``cut`` as shares, and ``tokens``, over all temperatures. Scored ones
    have ``unscored``: problems that do not fit the model's context. Without a judged sample the rates are null.
    """
    row = session.get_one(Evaluation, evaluation_id)
    config = config_of(row)
    figures: dict[str, Any] = {"method": config.method}
    if config.method == "score":
        scored = _scored(session, row, config)
        problems, measured = len(scored[0]), [scored_measures(found) if found else _EMPTY for found in scored]
        total = session.scalar(select(func.count()).where(EvaluationScore.evaluation_id == evaluation_id)) or 0
        figures |= {"problems": problems, "unscored": total - problems}
    else:
        sampled = _sampled(session, row, config)
        measured = [sampled_measures(found) if found else _EMPTY for found in sampled]
        figures |= {"problems": len(sampled[0]), **_figures(session, evaluation_id)}
    told = [{"temperature": at, **found} for at, found in zip(config.at, measured, strict=True)]
    return figures | measured[0] | {"temperatures": told}


def compare(session: Session, before_id: str, after_id: str, *, profile: bool = False) -> dict[str, Any]:
    """``after`` minus ``before`` on the problems both evaluations answered, paired by problem.

    ``delta`` with ``interval`` (95 %), ``gained`` and ``lost`` (negative flips: right before, wrong after),
    ``p_value``, ``problems``, at the first temperature of each side; ``temperatures`` lists the same for each that both
    have. ``same_config``: a difference in decoding is a difference too. With ``profile`` the ``error_profile`` of both
    sides' wrong answers (errata.profile). Raises ValueError when they share no answered problem.
    """
    rows = [session.get_one(Evaluation, row_id) for row_id in (before_id, after_id)]
    configs = [config_of(row) for row in rows]
    rates = [rates_of(session, row) for row in rows]
    first = _difference(rates[0][configs[0].at[0]], rates[1][configs[1].at[0]])
    if first is None:
        raise ValueError("the two evaluations have no answered problem in common")
    shared = [at for at in configs[0].at if at in configs[1].at]
    differences = [(at, _difference(rates[0][at], rates[1][at])) for at in shared]
    found = {
        "before": before_id,
        "after": after_id,
        **first,
        "temperatures": [{"temperature": at, **each} for at, each in differences if each is not None],
        "same_config": len({config.model_dump_json() for config in configs}) == 1,
    }
    if profile:
        common = set(rates[0][configs[0].at[0]]) & set(rates[1][configs[1].at[0]])
        sides = [_profile(session, row, config, common) for row, config in zip(rows, configs, strict=True)]
        found["error_profile"] = dict(zip(("before", "after"), sides, strict=True))
    return found


def _difference(before: Rates, after: Rates) -> dict[str, Any] | None:
    shared = [problem for problem in before if problem in after]
    if not shared:
        return None
    found = asdict(paired_difference([before[problem] for problem in shared], [after[problem] for problem in shared]))
    told = {name: found[name] for name in ("delta", "gained", "lost", "p_value")}
    return told | {"interval": [found["low"], found["high"]], "problems": found["n"]}


def rates_of(session: Session, row: Evaluation) -> dict[float, Rates]:
    """By temperature: each answered problem's rate, in a fixed order."""
    config = config_of(row)
    found: dict[float, Rates] = {}
    if config.method == "score":
        for at, scores in zip(config.at, _probabilities(session, row.id, config.at), strict=True):
            found[at] = dict(scores)
        return found
    for draw in config.draws:
        counts = _counted(session, row.id, draw)
        single = all(count == 1 for _, count, _ in counts)
        found[draw.temperature] = {problem: bool(hit) if single else hit / count for problem, count, hit in counts}
    return found


def _counted(session: Session, evaluation_id: str, draw: Draw) -> list[tuple[str, int, int]]:
    """Each problem with its judged answers at one temperature and the right ones among them."""
    right = cast(EvaluationSample.verdict == Verdict.CORRECT, Integer)
    query = select(EvaluationSample.problem_id, func.count(), func.sum(right))
    grouped = query.where(*_judged(evaluation_id, draw)).group_by(EvaluationSample.problem_id)
    return [(each, n, int(k)) for each, n, k in session.execute(grouped.order_by(EvaluationSample.problem_id))]


def measured_rates(session: Session, row: Evaluation) -> dict[str, Rates]:
    """By measure: each answered problem's rate. ``greedy``, ``sampled`` (temperature 1), ``pass@8``.

    At other temperatures ``sampled at 0.7`` and ``pass@8 at 0.7``. pass@8 needs eight samples, or scores.
    """
    config, found = config_of(row), dict[str, Rates]()
    rates = rates_of(session, row)
    for draw in config.draws:
        at = "" if draw.temperature == 1 else f" at {draw.temperature:g}"
        found[f"sampled{at}" if draw.temperature else "greedy"] = rates[draw.temperature]
        if draw.temperature == 0:
            continue
        if config.method == "score":
            found[f"pass@8{at}"] = {each: scored_pass(float(p), _PASS) for each, p in rates[draw.temperature].items()}
        elif draw.count >= _PASS:
            found[f"pass@8{at}"] = {
                each: pass_at_k(count, right, _PASS)
                for each, count, right in _counted(session, row.id, draw)
                if count >= _PASS
            }
    return found


def _judged(evaluation_id: str, draw: Draw) -> tuple[Any, ...]:
    number = EvaluationSample.sample_index
    of_draw = (number >= draw.first, number < draw.first + draw.count)
    return (EvaluationSample.evaluation_id == evaluation_id, EvaluationSample.verdict.is_not(None), *of_draw)


def _about(session: Session, row: Evaluation, config: EvaluationConfig) -> dict[str, About]:
    """What each problem of the evaluation is, by its id."""
    domain = Domain(session.get_one(ProblemSet, row.problem_set_id).domain)
    columns = (ProblemRow.id, ProblemRow.subject, ProblemRow.level, ProblemRow.gold_solution)
    query = select(*columns).where(ProblemRow.problem_set_id == row.problem_set_id)
    if config.limit is not None:
        query = query.where(ProblemRow.position < config.limit)
    return {
        each: About(subject, level, step_count(solution, domain) if solution else None)
        for each, subject, level, solution in session.execute(query.execution_options(yield_per=1000))
    }


def _sampled(session: Session, row: Evaluation, config: EvaluationConfig) -> list[list[Sampled]]:
    """The judged answers by temperature and problem."""
    about = _about(session, row, config)
    found = []
    for draw in config.draws:
        columns = (EvaluationSample.problem_id, EvaluationSample.verdict, EvaluationSample.extracted)
        query = select(*columns, EvaluationSample.nats).where(*_judged(row.id, draw))
        ordered = query.order_by(EvaluationSample.problem_id, EvaluationSample.sample_index)
        answers: dict[str, list[tuple[bool, str | None, float | None]]] = defaultdict(list)
        for problem, verdict, extracted, nats in session.execute(ordered.execution_options(yield_per=1000)):
            answers[problem].append((verdict == Verdict.CORRECT, extracted, nats))
        found.append([_one_sampled(about.get(problem, About()), given) for problem, given in answers.items()])
    return found


def _one_sampled(about: About, given: Sequence[tuple[bool, str | None, float | None]]) -> Sampled:
    right, answers, nats = zip(*given, strict=True)
    return Sampled(about, right, answers, tuple(each for each in nats if each is not None))


def _scored(session: Session, row: Evaluation, config: EvaluationConfig) -> list[list[Scored]]:
    about = _about(session, row, config)
    by_temperature = _probabilities(session, row.id, config.at)
    return [[Scored(about.get(problem, About()), p) for problem, p in found] for found in by_temperature]


def _probabilities(session: Session, evaluation_id: str, at: Sequence[float]) -> list[list[tuple[str, float]]]:
    """By temperature: each scored problem with the probability of its whole solution; at 0 it is 0 or 1."""
    query = select(EvaluationScore.problem_id, EvaluationScore.hits, EvaluationScore.logprobs)
    of_row = query.where(EvaluationScore.evaluation_id == evaluation_id).order_by(EvaluationScore.problem_id)
    found: list[list[tuple[str, float]]] = [[] for _ in at]
    for problem, hits, logprobs in session.execute(of_row.execution_options(yield_per=1000)):
        if hits is None:
            continue
        for column, temperature in zip(found, at, strict=True):
            column.append((problem, _probability(hits, logprobs, temperature)))
    return found


def _probability(hits: Sequence[bool], logprobs: Mapping[str, Sequence[float]], temperature: float) -> float:
    if temperature == 0:
        return float(all(hits))
    return min(1.0, math.exp(math.fsum(logprobs[str(temperature)])))


def _profile(session: Session, row: Evaluation, config: EvaluationConfig, problems: set[str]) -> dict[str, Any]:
    """First errors of the wrong answers at the first temperature, by kind; scored evaluations have no answers."""
    if config.method == "score":
        return {"compared": 0, "counts": {}, "unclassified": 0}
    query = select(EvaluationSample, ProblemRow.gold_solution).join(
        ProblemRow, ProblemRow.id == EvaluationSample.problem_id
    )
    ordered = query.where(*_judged(row.id, config.draws[0])).order_by(ProblemRow.position)
    profile, wrong = ErrorProfile(), 0
    samples: dict[str, tuple[list[Sample], str | None]] = {}
    for sample, solution in session.execute(ordered):
        if sample.problem_id in problems:
            given = samples.setdefault(sample.problem_id, ([], solution))
            given[0].append(Sample(sample.sample_index, sample.text, Verdict(str(sample.verdict)), sample.extracted))
    for given in samples.values():
        wrong += sum(sample.verdict is Verdict.INCORRECT for sample in given[0])
        if wrong > _MOST_PROFILED:
            break
        profile += error_profile([given], config.thoughts.markers)
    return {"compared": profile.compared, "counts": dict(profile.counts), "unclassified": profile.unclassified}


def _figures(session: Session, evaluation_id: str) -> dict[str, Any]:
    """Counts of verdicts and tokens over the judged samples; answers kept from earlier requests cost none."""
    query = (
        select(
            EvaluationSample.verdict,
            func.count(),
            func.sum(cast(EvaluationSample.finish_reason == "length", Integer)),
            func.sum(EvaluationSample.prompt_tokens),
            func.sum(EvaluationSample.completion_tokens),
        )
        .where(EvaluationSample.evaluation_id == evaluation_id, EvaluationSample.verdict.is_not(None))
        .group_by(EvaluationSample.verdict)
    )
    rows = session.execute(query).all()
    verdicts = {str(verdict): 0 for verdict in Verdict} | {row[0]: row[1] for row in rows}
    samples, cut, prompt, completion = (sum(int(row[at] or 0) for row in rows) for at in (1, 2, 3, 4))
    ledgers = session.scalars(select(Shard.ledger).where(Shard.evaluation_id == evaluation_id))
    reused = sum(ledger.get("reused", 0) for ledger in ledgers)
    return {
        "samples": samples,
        "verdicts": verdicts,
        "unparsable": verdicts[Verdict.UNPARSABLE] / samples if samples else None,
        "cut": cut / samples if samples else None,
        "tokens": {
            "prompt": prompt,
            "completion": completion - reused,
            "mean_completion": completion / samples if samples else None,
            **({"reused": reused} if reused else {}),
        },
    }
