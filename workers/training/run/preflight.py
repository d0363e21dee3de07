"""Before training: which pairs are cut by the length limit or have no gradient, what is left, and room on the disk.

Free of torch: the preview imports this module.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from errno import EDQUOT, ENOSPC
from itertools import islice
from pathlib import Path

from workers.training.config import TrainingConfig
from workers.training.protocol import CannotTrain
from workers.training.run.data import (
    DatasetError,
    Pair,
    Tokenizer,
    data_file,
    encode,
    read_rows,
    thought_markers,
    verify_file,
)
from workers.training.run.spans import within

MOST_WEIGHT = 4.0  # a step at which the model nearly always errs would else drown the others
_SLACK_BYTES = 1_000_000  # tokenizer, random states, manifests


class DiskFull(Exception):
    """There is no room for what is to be written. May be tried again: space can be made meanwhile."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run would train on. ``lost`` pairs have their error beyond ``max_length``; ``cut`` ones only their end.

    ``scored``: tokens of both sides that the loss sees.
    """

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
    scored: int


def truncated(pair: Pair, max_length: int) -> Pair:
    """The pair with both sides, and what is scored of them, cut so that prompt and completion fit ``max_length``.

    A prompt too long leaves none of them.
    """
    room = max(max_length - len(pair.prompt_ids), 0)
    if max(len(pair.chosen_ids), len(pair.rejected_ids)) <= room:
        return pair
    prompt = pair.prompt_ids[:max_length]
    (chosen, chosen_spans), (rejected, rejected_spans) = pair.sides
    return replace(
        pair,
        prompt_ids=prompt,
        chosen_ids=chosen[:room],
        rejected_ids=rejected[:room],
        chosen_spans=within(chosen_spans, room),
        rejected_spans=within(rejected_spans, room),
    )


def is_weighted(pair: Pair, config: TrainingConfig) -> bool:
    """Whether the objective gives the pair any weight."""
    if config.objective != "dpo":
        return config.objective == "sft" or pair.is_step
    if not pair.weight:
        return False
    own = config.step_weight if pair.is_step else config.full_weight
    in_scope = config.nll_scope in ("all", "step" if pair.is_step else "full")
    return own > 0 or (config.nll_weight > 0 and in_scope)


def weighed(pairs: Sequence[Pair], config: TrainingConfig) -> list[Pair]:
    """The pairs with their weights: of a step pair its error rate over the mean rate, ``MOST_WEIGHT`` at most.

    The mean is over the step pairs that have a rate; all others, and full pairs, weigh 1. Weights are equal where the
    configuration says so, or where no rate is above 0.
    """
    rates = [pair.error_rate for pair in pairs if pair.is_step and pair.error_rate is not None]
    mean = sum(rates) / len(rates) if rates else 0.0
    if config.weight_by == "equal" or not mean:
        return list(pairs)
    return [
        replace(pair, weight=min(pair.error_rate / mean, MOST_WEIGHT))
        if pair.is_step and pair.error_rate is not None
        else pair
        for pair in pairs
    ]


def check_pairs(pairs: Sequence[Pair], config: TrainingConfig) -> tuple[list[Pair], Report]:
    """The pairs to train on, cut to length, and the report.

    Raises DatasetError when pairs have no gradient and the configuration does not say what to do with them, or when
    nothing is left.
    """
    trained, report = examine(pairs, config)
    if config.weight_by == "error_rate" and not any(pair.error_rate for pair in pairs if pair.is_step):
        raise DatasetError(
            "weight_by is 'error_rate', but no step pair of the dataset has an error rate above 0: freeze pairs of a"
            " job that measures it (editor 'mined', or proof.error_rates), or set weight_by to 'equal'"
        )
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
    # Its error rates weigh nothing: the weights are of training problems alone.
    dropping = config.model_copy(update={"ineffective": "drop", "weight_by": "equal"})
    try:
        rows = list(islice(read_rows(path), most_rows))
        return check_pairs(encode(rows, tokenizer, dropping, thought_markers(folder)), dropping)[0]
    except DatasetError as error:
        raise DatasetError(f"the held-out split: {error}") from error


def examine(pairs: Sequence[Pair], config: TrainingConfig) -> tuple[list[Pair], Report]:
    """Like :func:`check_pairs`, refusing nothing."""
    weighted = [pair for pair in weighed(pairs, config) if is_weighted(pair, config)]
    trained, identical, lost, shortened = [], 0, 0, 0
    for pair in weighted:
        short = truncated(pair, config.max_length)
        same = pair.chosen_ids == pair.rejected_ids
        # Cut to the same text: the error lay beyond the limit, and what is left has no gradient.
        gone = not same and (short.chosen_ids == short.rejected_ids or not short.scored(0) + short.scored(1))
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
        scored=sum(pair.scored(0) + pair.scored(1) for pair in trained),
    )


def free_bytes(folder: Path) -> int:
    """What is free on the disk of ``folder``, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def checkpoint_copies(config: TrainingConfig) -> int:
    """Checkpoints that stand side by side at most: the newest ``keep``, the best, and the one being written."""
    return config.keep + (config.best != "none") + 1


def require_room_for_run(folder: Path, config: TrainingConfig, checkpoint_bytes: int, result_bytes: int) -> None:
    """Raise CannotTrain naming the bytes when the run's checkpoints and its result do not fit on the disk.

    What the folder already holds counts as room: a resumed run writes over it.
    """
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0
    copies = checkpoint_copies(config)
    needed = copies * (checkpoint_bytes + _SLACK_BYTES) + result_bytes + _SLACK_BYTES
    free = free_bytes(folder)
    if free + there < needed:
        raise CannotTrain(
            f"the disk is too full: the run needs {needed} bytes ({copies} checkpoints of {checkpoint_bytes}, a"
            f" result of {result_bytes}), {free} are free. Free {needed - free - there} bytes, or lower 'keep'."
        )


@contextmanager
def room_for(folder: Path, size: int, what: str) -> Iterator[None]:
    """Around the writing of ``size`` bytes below ``folder``. Raises DiskFull naming the bytes, before or meanwhile."""
    free = free_bytes(folder)
    if free < size + _SLACK_BYTES:
        raise DiskFull(f"the disk is too full for {what}: it needs {size + _SLACK_BYTES} bytes, {free} are free")
    try:
        yield
    except OSError as error:
        if error.errno not in (ENOSPC, EDQUOT):
            raise
        raise DiskFull(f"the disk filled up while writing {what} of about {size} bytes") from error
