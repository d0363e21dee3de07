"""Where a batch becomes a loss: log-probabilities in, the RISE objective and figures per pair out (docs/method.md).

    L = step_weight * L_step + full_weight * L_full + nll_weight * L_nll

Every term is the mean over its own pairs of the *optimizer* batch, so a micro-batch is given the batch's counts and
returns its share of the sum: adding the shares of all micro-batches (and processes) gives the loss of the batch. A term
without pairs is 0. Pure functions: they know no model, tokenizer or trainer.

Axes: P pairs of the micro-batch; C = 2 P completions, chosen and rejected in turn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.training.config import TrainingConfig
from workers.training.run.data import Pair
from workers.training.run.packing import Packed

FigureRow = tuple[str, str | None, dict[str, float]]  # of a pair: "step" or "full", its error kind, its figures


@dataclass(frozen=True, slots=True)
class Counts:
    """What the optimizer batch holds, over all micro-batches and processes.

    ``nll_tokens`` are the scored chosen tokens of the pairs in the NLL's scope.
    """

    step: int
    full: int
    nll_tokens: int


@dataclass(frozen=True, slots=True)
class PairScores:
    """Summed log-probabilities of each side's scored tokens under policy and reference, and their numbers. All [P]."""

    chosen: Tensor
    rejected: Tensor
    ref_chosen: Tensor
    ref_rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor
    is_step: Tensor  # bool
    weight: Tensor | None = None  # of each pair in its terms; None: 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """``loss`` (scalar, with gradient) and detached figures per pair, [P] each: ``loss`` and ``nll`` unweighted."""

    loss: Tensor
    figures: dict[str, Tensor]


def batch_loss(
    logps: Tensor,
    spans: Tensor,
    packed: Packed,
    pairs: Sequence[Pair],
    reference: Tensor | None,
    counts: Counts,
    config: TrainingConfig,
) -> tuple[Tensor, list[FigureRow]]:
    """The objective's share of a micro-batch (scalar), and a row of figures per pair (none but for dpo).

    ``logps`` [C] are summed log-probabilities of what is scored of completions, ``spans`` [C] those of their divergent
    spans; ``reference`` is [P, 2], None but for dpo.
    """
    weight = _weights(pairs, config, logps)
    if config.objective != "dpo":
        return sft_loss(logps[0::2] if weight is None else logps[0::2] * weight, counts), []
    assert reference is not None
    reference = reference.to(logps.device)
    # Completions alternate: chosen and rejected of pair p stand at 2 p and 2 p + 1.
    scores = PairScores(
        chosen=logps[0::2],
        rejected=logps[1::2],
        ref_chosen=reference[:, 0],
        ref_rejected=reference[:, 1],
        chosen_tokens=packed.lengths[0::2],
        rejected_tokens=packed.lengths[1::2],
        is_step=torch.tensor([pair.is_step for pair in pairs], device=logps.device),
        weight=weight,
    )
    outcome = rise_loss(scores, counts, config)
    figures = {**outcome.figures, "logp_chosen": spans[0::2], "logp_rejected": spans[1::2]}
    return outcome.loss, _figure_rows(pairs, figures)


def _weights(pairs: Sequence[Pair], config: TrainingConfig, like: Tensor) -> Tensor | None:
    if config.weight_by == "equal":
        return None
    return like.new_tensor([pair.weight for pair in pairs])


def preference_loss(scores: PairScores, config: TrainingConfig) -> Tensor:
    """The preference term of every pair, [P]; ``loss`` names TRL's variant of the same name."""
    chosen = scores.chosen - scores.ref_chosen
    rejected = scores.rejected - scores.ref_rejected
    if config.loss in ("ipo", "sigmoid_norm"):
        # Means per token; a side cut to nothing has a sum of 0, and must not become 0 / 0.
        chosen = chosen / scores.chosen_tokens.clamp(min=1)
        rejected = rejected / scores.rejected_tokens.clamp(min=1)
    delta = chosen - rejected
    if config.loss == "ipo":
        return (delta - 1 / (2 * config.beta)) ** 2
    if config.loss == "hinge":
        return torch.relu(1 - config.beta * delta)
    smoothing = config.label_smoothing
    return -(1 - smoothing) * F.logsigmoid(config.beta * delta) - smoothing * F.logsigmoid(-config.beta * delta)


def in_nll_scope(is_step: Tensor, scope: Literal["step", "full", "all"]) -> Tensor:
    """Which pairs the NLL term looks at, [P] bool."""
    if scope == "all":
        return torch.ones_like(is_step)
    return is_step if scope == "step" else ~is_step


def rise_loss(scores: PairScores, counts: Counts, config: TrainingConfig) -> Outcome:
    """This micro-batch's share of the optimizer batch's loss.

    The gate of the NLL term is read from detached log-ratios: a gated pair counts in the term's mean but adds nothing.
    """
    preference = preference_loss(scores, config)
    # Detached: the gate is a switch, and the figures are read only. Neither may send a gradient.
    chosen_ratio = (scores.chosen - scores.ref_chosen).detach()
    rejected_ratio = (scores.rejected - scores.ref_rejected).detach()
    scope = in_nll_scope(scores.is_step, config.nll_scope)
    # Closed where the chosen side is as likely as at the start: there is nothing to hold up.
    gate = scope & (chosen_ratio < 0) if config.nll_gate else scope
    nll, nll_share = _nll(scores, counts, config, gate)
    share = _pair_shares(scores, counts, config)
    loss = (preference * share).sum() + config.nll_weight * nll_share
    figures = {
        "loss": preference.detach(),
        "margin": config.beta * (chosen_ratio - rejected_ratio),
        "nll": nll.detach(),
        "gate": gate,
        "reward_chosen": config.beta * chosen_ratio,
        "reward_rejected": config.beta * rejected_ratio,
    }
    return Outcome(loss, figures)


def _pair_shares(scores: PairScores, counts: Counts, config: TrainingConfig) -> Tensor:
    if config.mean == "all-pairs":
        step_count = full_count = counts.step + counts.full
    else:
        step_count, full_count = counts.step, counts.full
    # Of the optimizer batch, not of this micro-batch: how a batch is cut must not change its loss.
    step = config.step_weight / max(step_count, 1)
    full = config.full_weight / max(full_count, 1)
    shares = scores.chosen.new_full(scores.is_step.shape, full).masked_fill(scores.is_step, step)
    return shares if scores.weight is None else shares * scores.weight


def _nll(scores: PairScores, counts: Counts, config: TrainingConfig, gate: Tensor) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood of the chosen side per pair, normalised, and this micro-batch's share of its mean."""
    per_token = -scores.chosen / scores.chosen_tokens.clamp(min=1)
    kept = gate if scores.weight is None else gate * scores.weight
    if config.nll_normalization == "batch":
        return per_token, (-scores.chosen * kept).sum() / max(counts.nll_tokens, 1)
    nll = per_token if config.nll_normalization == "token" else -scores.chosen
    pairs = {"step": counts.step, "full": counts.full, "all": counts.step + counts.full}[config.nll_scope]
    return nll, (nll * kept).sum() / max(pairs, 1)


def sft_loss(chosen: Tensor, counts: Counts) -> Tensor:
    """A control's share: negative log-likelihood per token of the optimizer batch; ``chosen`` sums tokens, [P]."""
    return -chosen.sum() / max(counts.nll_tokens, 1)


def count(pairs: Sequence[Pair], config: TrainingConfig) -> Counts:
    """The counts of an optimizer batch that the objective's means are over."""
    if config.objective != "dpo":
        return Counts(0, len(pairs), sum(pair.scored(0) for pair in pairs))
    scope = in_nll_scope(torch.tensor([pair.is_step for pair in pairs]), config.nll_scope).tolist()
    return Counts(
        step=sum(pair.is_step for pair in pairs),
        full=sum(not pair.is_step for pair in pairs),
        nll_tokens=sum(pair.scored(0) for pair, inside in zip(pairs, scope, strict=True) if inside),
    )


def _figure_rows(pairs: Sequence[Pair], figures: dict[str, Tensor]) -> list[FigureRow]:
    columns = {name: column.tolist() for name, column in figures.items()}  # one copy from the device per figure
    rows: list[FigureRow] = []
    for index, pair in enumerate(pairs):
        values = {name: float(column[index]) for name, column in columns.items()}
        values["accuracy"] = float(values["margin"] > 0)
        rows.append(("step" if pair.is_step else "full", pair.error_kind if pair.is_step else None, values))
    return rows


def summarize(rows: Iterable[FigureRow]) -> dict[str, Any]:
    """Means over an optimizer batch, as ``step/margin``, ``full/accuracy``, ``kind/operator/accuracy``, and counts."""
    values_of: dict[str, list[float]] = defaultdict(list)
    for kind, error_kind, values in rows:
        for name, value in values.items():
            values_of[f"{kind}/{name}"].append(value)
            if name in ("accuracy", "margin"):
                values_of[name].append(value)
                if error_kind:
                    values_of[f"kind/{error_kind}/{name}"].append(value)
    figures: dict[str, Any] = {name: sum(values) / len(values) for name, values in values_of.items()}
    counts = {
        f"{kind}/pairs": float(len(values_of[f"{kind}/loss"])) for kind in ("step", "full") if f"{kind}/loss" in figures
    }
    return {**figures, **counts}
