"""Before training: which pairs are cut by the length limit, which have no gradient, and whether anything is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from workers.training.config import TrainingConfig
from workers.training.protocol import CannotTrain
from workers.training.run.data import DatasetError, Pair, Tokenizer, data_file, encode, read_rows, verify_file


@dataclass(frozen=True, slots=True)
class Report:
    """What a run would train on. ``lost`` pairs have their error beyond ``max_length``; ``cut`` ones only their end."""

    pairs: int
    step: int
    full: int
    problems: int
    trained: int
    unweighted: int
    identical: int
    lost: int
    cut: int
    duplicates: int
    longest: int
    tokens: int


def truncated(pair: Pair, max_length: int) -> Pair:
    """The pair with both sides cut so that prompt and completion fit ``max_length`` (a prompt too long leaves none)."""
    room = max(max_length - len(pair.prompt_ids), 0)
    if max(len(pair.chosen_ids), len(pair.rejected_ids)) <= room:
        return pair
    prompt = pair.prompt_ids[:max_length]
    return replace(pair, prompt_ids=prompt, chosen_ids=pair.chosen_ids[:room], rejected_ids=pair.rejected_ids[:room])


def is_weighted(pair: Pair, config: TrainingConfig) -> bool:
    """Whether the objective gives the pair any weight."""
    if config.objective == "sft":
        return True
    own = config.step_weight if pair.is_step else config.full_weight
    in_scope = config.nll_scope in ("all", "step" if pair.is_step else "full")
    return own > 0 or (config.nll_weight > 0 and in_scope)


def check_pairs(pairs: Sequence[Pair], config: TrainingConfig) -> tuple[list[Pair], Report]:
    """The pairs to train on, cut to length, and the report.

    Raises DatasetError when pairs have no gradient and the configuration does not say what to do with them, or when
    nothing is left.
    """
    trained, report = examine(pairs, config)
    hopeless = report.identical + report.lost
    if hopeless and config.ineffective == "refuse":
        raise DatasetError(
            f"{hopeless} of {report.pairs} pairs have no gradient: {report.identical} identical, {report.lost} with"
            f" their error beyond max_length {config.max_length} (longest: {report.longest} tokens)."
            " Raise max_length, or set ineffective to 'drop' or 'keep'."
        )
    if not trained:
        raise DatasetError(
            f"nothing to train on: {report.pairs} rows ({report.step} step, {report.full} full pairs),"
            f" {report.unweighted} without weight in this objective, {hopeless} without a gradient"
        )
    return trained, report


def held_out_pairs(
    folder: Path, tokenizer: Tokenizer, config: TrainingConfig, most_rows: int | None = None
) -> list[Pair]:
    """The held-out pairs where checkpoints are compared by them; those without a gradient are left out.

    Raises CannotTrain where nothing is held out, and DatasetError where nothing of it is left.
    """
    if config.best != "eval_loss":
        return []
    path = data_file(folder, config.objective, "test")
    if not path.is_file():
        raise CannotTrain("best is 'eval_loss', but the dataset holds nothing out: freeze it with a test share above 0")
    verify_file(folder, path)
    # A held-out pair without a gradient is no reason to refuse a run that trains on others.
    dropping = config.model_copy(update={"ineffective": "drop"})
    try:
        return check_pairs(encode(list(islice(read_rows(path), most_rows)), tokenizer, dropping), dropping)[0]
    except DatasetError as error:
        raise DatasetError(f"the held-out split: {error}") from error


def examine(pairs: Sequence[Pair], config: TrainingConfig) -> tuple[list[Pair], Report]:
    """Like :func:`check_pairs`, refusing nothing."""
    weighted = [pair for pair in pairs if is_weighted(pair, config)]
    trained, identical, lost, shortened = [], 0, 0, 0
    for pair in weighted:
        short = truncated(pair, config.max_length)
        same = pair.chosen_ids == pair.rejected_ids
        # Cut to the same text: the error lay beyond the limit, and what is left has no gradient.
        gone = not same and short.chosen_ids == short.rejected_ids
        identical, lost = identical + same, lost + gone
        shortened += short is not pair and not (same or gone)
        if not (same or gone) or (config.ineffective == "keep" and short.chosen_ids):
            trained.append(short)
    return trained, Report(
        pairs=len(pairs),
        step=sum(pair.is_step for pair in pairs),
        full=sum(not pair.is_step for pair in pairs),
        problems=len({pair.problem_id for pair in trained}),
        trained=len(trained),
        unweighted=len(pairs) - len(weighted),
        identical=identical,
        lost=lost,
        cut=shortened,
        duplicates=len(weighted) - len({(p.prompt_ids, p.chosen_ids, p.rejected_ids) for p in weighted}),
        longest=max((len(p.prompt_ids) + max(len(p.chosen_ids), len(p.rejected_ids)) for p in weighted), default=0),
        tokens=sum(pair.tokens for pair in trained),
    )
