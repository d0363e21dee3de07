"""The result of a job from its rows: funnel, evaluation, rejudging, and the comparison of two evaluations."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict
from typing import Any

from sqlalchemy import Integer, cast, func, select
from sqlalchemy.orm import Session

from errata.funnel import Funnel
from errata.output_config import EvaluationConfig
from errata.statistics import majority_at_k, mean_interval, paired_difference, pass_at_k, proportion_interval
from errata.types import Verdict
from models.jobs import InjectionJob, Shard
from models.outputs import Evaluation, EvaluationSample, VerdictChangeRow
from models.summaries import read_summary

_RIGHT = cast(EvaluationSample.verdict == Verdict.CORRECT, Integer)


def job_funnel(session: Session, job: InjectionJob) -> Funnel:
    """An injection job's funnel: the stored one once it has ended, before that its shards' ledgers, added up."""
    if job.funnel:
        return Funnel.from_dict(job.funnel)
    ledgers = session.scalars(select(Shard.ledger).where(Shard.injection_job_id == job.id))
    return Funnel.total(ledger["funnel"] for ledger in ledgers if ledger.get("funnel"))


def running_progress(session: Session, job: InjectionJob) -> tuple[Funnel, list[tuple[str, dict[str, Any]]]]:
    """``job_funnel``, and stage and progress of the shards that run, read at one moment.

    Read in two statements, a stage that ends between them would be counted in both, or in none.
    """
    if job.funnel:
        return Funnel.from_dict(job.funnel), []
    summary = read_summary(session, job.id)
    if summary is not None:
        return summary
    shards = session.execute(select(Shard.ledger, Shard.stage, Shard.progress).filter_by(injection_job_id=job.id)).all()
    funnel = Funnel.total(shard.ledger["funnel"] for shard in shards if shard.ledger.get("funnel"))
    return funnel, [(shard.stage, shard.progress) for shard in shards if shard.progress]


def evaluation_result(session: Session, evaluation_id: str) -> dict[str, Any]:
    """The result of an evaluation from its judged samples; call it when no shard runs any more.

    ``accuracy`` with ``interval`` (95 %): Wilson's for one sample per problem, t over problems for several.
    ``problems``, ``samples`` (judged), ``samples_per_problem``; ``verdicts`` counts each verdict, and only ``correct``
    is right; ``unparsable`` and ``cut`` (ended by the length limit) are shares of the samples. ``tokens`` has
    ``prompt``, ``completion`` and ``mean_completion``. With several samples per problem also ``pass_at_k`` and
    ``majority_at_k``, each {k: rate}. Without a judged sample the rates are null.
    """
    rates = _rates(session, evaluation_id)
    figures = _figures(session, evaluation_id)
    samples = figures["samples"]
    result: dict[str, Any] = {"problems": len(rates), **figures, "accuracy": None, "interval": None}
    if not rates:
        return result
    per_problem = {count for count, _ in rates.values()}
    if per_problem == {1}:
        found = proportion_interval(sum(right for _, right in rates.values()), samples)
    else:
        found = mean_interval([right / count for count, right in rates.values()])
    result |= {"accuracy": found.estimate, "interval": [found.low, found.high]}
    result["samples_per_problem"] = least = min(per_problem)
    if least > 1:
        result["pass_at_k"] = {
            str(k): sum(pass_at_k(count, right, k) for count, right in rates.values()) / len(rates) for k in _ks(least)
        }
        result["majority_at_k"] = {str(least): _majority(session, evaluation_id)}
    return result


def compare(session: Session, before_id: str, after_id: str) -> dict[str, Any]:
    """``after`` minus ``before`` on the problems both evaluations answered, paired by problem.

    ``delta`` with ``interval`` (95 %), ``gained`` and ``lost`` (negative flips: right before, wrong after),
    ``p_value``, ``problems``, and ``same_config``: a difference in decoding is a difference too. Raises ValueError when
    they share no answered problem.
    """
    before, after = _rates(session, before_id), _rates(session, after_id)
    shared = [problem for problem in before if problem in after]
    if not shared:
        raise ValueError("the two evaluations have no answered problem in common")
    single = all(rates[problem][0] == 1 for rates in (before, after) for problem in shared)

    def side(rates: dict[str, tuple[int, int]]) -> list[bool | float]:
        return [right == 1 if single else right / count for count, right in (rates[problem] for problem in shared)]

    found = asdict(paired_difference(side(before), side(after)))
    configs = [session.get_one(Evaluation, row_id).config for row_id in (before_id, after_id)]
    return {
        "before": before_id,
        "after": after_id,
        "delta": found["delta"],
        "interval": [found["low"], found["high"]],
        "problems": found["n"],
        "gained": found["gained"],
        "lost": found["lost"],
        "p_value": found["p_value"],
        # A stored configuration lacks the settings that are younger than it: it has their defaults.
        "same_config": len({EvaluationConfig.model_validate(config).model_dump_json() for config in configs}) == 1,
    }


def rejudging_result(session: Session, rejudging_id: str) -> dict[str, Any]:
    """``samples`` judged again, how many are the ``same`` and ``changed``, and ``verdicts`` that moved, by direction.

    ``drawn`` counts the changed samples that the job had drawn for its pairs. Call it when no shard runs any more.
    """
    ledgers = session.scalars(select(Shard.ledger).where(Shard.rejudging_id == rejudging_id))
    samples = sum(ledger.get("samples", 0) for ledger in ledgers)
    moved: Counter[str] = Counter()
    changed = drawn = 0
    row = VerdictChangeRow
    columns = (row.verdict_before, row.verdict_after, row.role)
    groups = select(*columns, func.count()).where(row.rejudging_id == rejudging_id).group_by(*columns)
    for before, after, role, count in session.execute(groups):
        changed += count
        drawn += count if role else 0
        if before != after:
            moved[f"{before} to {after}"] += count
    same = samples - changed
    return {"samples": samples, "same": same, "changed": changed, "drawn": drawn, "verdicts": dict(moved)}


def _rates(session: Session, evaluation_id: str) -> dict[str, tuple[int, int]]:
    """Judged samples and right ones, by problem, in a fixed order."""
    query = (
        select(EvaluationSample.problem_id, func.count(), func.sum(_RIGHT))
        .where(EvaluationSample.evaluation_id == evaluation_id, EvaluationSample.verdict.is_not(None))
        .group_by(EvaluationSample.problem_id)
        .order_by(EvaluationSample.problem_id)
    )
    return {problem: (count, int(right)) for problem, count, right in session.execute(query)}


def _figures(session: Session, evaluation_id: str) -> dict[str, Any]:
    """Counts of verdicts and tokens over the judged samples."""
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
    return {
        "samples": samples,
        "verdicts": verdicts,
        "unparsable": verdicts[Verdict.UNPARSABLE] / samples if samples else None,
        "cut": cut / samples if samples else None,
        "tokens": {
            "prompt": prompt,
            "completion": completion,
            "mean_completion": completion / samples if samples else None,
        },
    }


def _majority(session: Session, evaluation_id: str) -> float:
    """Mean over problems of the chance that the most frequent answer is right."""
    query = select(EvaluationSample.problem_id, EvaluationSample.extracted, EvaluationSample.verdict).where(
        EvaluationSample.evaluation_id == evaluation_id, EvaluationSample.verdict.is_not(None)
    )
    answers: dict[str, list[str | None]] = defaultdict(list)
    right: dict[str, list[bool]] = defaultdict(list)
    for problem, extracted, verdict in session.execute(query.execution_options(yield_per=1000)):
        answers[problem].append(extracted)
        right[problem].append(verdict == Verdict.CORRECT)
    return sum(majority_at_k(answers[problem], right[problem]) for problem in answers) / len(answers)


def _ks(samples: int) -> list[int]:
    """1, 2, 4, ... and the number of samples itself."""
    return sorted({2**power for power in range(samples.bit_length()) if 2**power <= samples} | {samples})
