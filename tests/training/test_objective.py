"""The objective against a naive loop over pairs, written from the formulas."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch

from workers.training.config import TrainingConfig, resolve
from workers.training.run.objective import Counts, PairScores, rise_loss, sft_loss


def make_scores(seed: int, pairs: int = 13) -> PairScores:
    generator = torch.Generator().manual_seed(seed)
    logps = -torch.rand(4, pairs, generator=generator, dtype=torch.float64) * 20
    lengths = torch.randint(1, 30, (2, pairs), generator=generator)
    is_step = torch.rand(pairs, generator=generator) < 0.6
    logps.requires_grad_()
    weight = torch.rand(pairs, generator=generator, dtype=torch.float64) * 4
    return PairScores(logps[0], logps[1], logps[2], logps[3], lengths[0], lengths[1], is_step, weight)


def counts_of(scores: PairScores, scope: str) -> Counts:
    step = int(scores.is_step.sum())
    inside = [scope == "all" or (scope == "step") == bool(s) for s in scores.is_step]
    tokens = sum(int(n) for n, i in zip(scores.chosen_tokens, inside, strict=True) if i)
    return Counts(step, len(scores.is_step) - step, tokens)


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))


def naive(scores: PairScores, c: TrainingConfig) -> float:
    terms: dict[str, list[float]] = {"step": [], "full": [], "nll": []}
    nll_tokens = 0
    for i in range(len(scores.is_step)):
        kind = "step" if scores.is_step[i] else "full"
        chosen, rejected = scores.chosen[i].item(), scores.rejected[i].item()
        up, down = chosen - scores.ref_chosen[i].item(), rejected - scores.ref_rejected[i].item()
        n, m = int(scores.chosen_tokens[i]), int(scores.rejected_tokens[i])
        delta = c.beta * (up - down) if c.loss in ("sigmoid", "hinge") else up / n - down / m
        if c.loss == "ipo":
            value = (delta - 1 / (2 * c.beta)) ** 2
        elif c.loss == "hinge":
            value = max(0.0, 1 - delta)
        else:
            z = delta if c.loss == "sigmoid" else c.beta * delta
            value = -(1 - c.label_smoothing) * log_sigmoid(z) - c.label_smoothing * log_sigmoid(-z)
        weight = 1.0 if scores.weight is None else scores.weight[i].item()
        terms[kind].append(weight * value)
        if c.nll_scope in ("all", kind):
            open_gate = not c.nll_gate or up < 0
            per = -chosen / n if c.nll_normalization == "token" else -chosen
            terms["nll"].append(weight * per if open_gate else 0.0)
            nll_tokens += n
    sizes = {k: len(v) for k, v in terms.items()}
    if c.mean == "all-pairs":
        sizes["step"] = sizes["full"] = sizes["step"] + sizes["full"]
    if c.nll_normalization == "batch":
        sizes["nll"] = nll_tokens
    mean = {k: sum(v) / sizes[k] if v else 0.0 for k, v in terms.items()}
    return c.step_weight * mean["step"] + c.full_weight * mean["full"] + c.nll_weight * mean["nll"]


@pytest.mark.parametrize("loss", ["sigmoid", "sigmoid_norm", "ipo", "hinge"])
@pytest.mark.parametrize("mean", ["per-term", "all-pairs"])
@pytest.mark.parametrize("scope", ["step", "full", "all"])
@pytest.mark.parametrize("normalization", ["token", "sum", "batch"])
def test_equals_a_loop_over_pairs(loss: str, mean: str, scope: str, normalization: str) -> None:
    rng = random.Random(f"{loss}{mean}{scope}{normalization}")
    config = resolve(
        "errata",
        {
            "loss": loss,
            "mean": mean,
            "nll_scope": scope,
            "nll_normalization": normalization,
            "nll_gate": rng.random() < 0.5,
            "nll_weight": rng.uniform(0.1, 3),
            "beta": rng.uniform(0.05, 1),
            "label_smoothing": rng.choice([0.0, 0.1]),
            "step_weight": rng.uniform(0.5, 2),
            "full_weight": rng.uniform(0.5, 2),
        },
    )
    for seed in range(5):
        scores = make_scores(seed)
        counts = counts_of(scores, scope)
        assert rise_loss(scores, counts, config).loss.item() == pytest.approx(naive(scores, config), rel=1e-9)


def test_shares_of_micro_batches_add_up_to_the_batch() -> None:
    config = resolve("errata", {"nll_weight": 1.0})
    scores = make_scores(3)
    counts = counts_of(scores, "step")
    whole = rise_loss(scores, counts, config).loss
    parts = []
    for part in torch.arange(13).split(4):
        fields = {name: getattr(scores, name)[part] for name in PairScores.__dataclass_fields__}
        parts.append(rise_loss(PairScores(**fields), counts, config).loss)
    assert sum(parts).item() == pytest.approx(whole.item(), rel=1e-12)


def test_a_term_without_pairs_is_zero() -> None:
    scores = make_scores(1)
    fields: dict[str, Any] = {name: getattr(scores, name) for name in PairScores.__dataclass_fields__}
    only_full = PairScores(**{**fields, "is_step": torch.zeros(13, dtype=torch.bool)})
    base = {"nll_weight": 1.0, "nll_scope": "step"}
    counts = Counts(0, 13, 0)
    loss = rise_loss(only_full, counts, resolve("errata", base)).loss
    assert loss.item() == rise_loss(only_full, counts, resolve("errata", {**base, "nll_weight": 0.0})).loss.item()
    assert torch.isfinite(loss)


def test_the_gate_closes_where_the_chosen_side_gained() -> None:
    up = torch.tensor([-1.0, -3.0], requires_grad=True)
    reference, ones = torch.tensor([-2.0, -2.0]), torch.ones(2, dtype=torch.long)
    scores = PairScores(up, reference, reference, reference, ones, ones, torch.ones(2, dtype=torch.bool))
    config = resolve("errata", {"step_weight": 0.0, "full_weight": 0.0, "nll_weight": 1.0})
    outcome = rise_loss(scores, Counts(2, 0, 2), config)
    outcome.loss.backward()
    assert outcome.figures["gate"].tolist() == [False, True]
    assert up.grad is not None
    assert up.grad.tolist() == [0.0, -0.5]


def test_sft_is_the_mean_over_the_tokens_of_the_batch() -> None:
    assert sft_loss(torch.tensor([-6.0, -4.0]), Counts(0, 2, 5)).item() == pytest.approx(2.0)


@pytest.mark.parametrize("preset", ["errata", "paper", "scripts", "sft"])
def test_presets_resolve_and_round_trip(preset: str) -> None:
    config = resolve(preset)
    assert TrainingConfig.model_validate_json(config.model_dump_json()) == config


def test_unknown_and_impossible_settings_are_refused() -> None:
    for bad in (
        {"betta": 0.1},
        {"beta": 0.0},
        {"learning_rate": float("nan")},
        {"micro_batch": 64, "batch_size": 8},
        {"step_weight": 0.0, "full_weight": 0.0, "nll_weight": 0.0},
    ):
        with pytest.raises(ValueError, match=next(iter(bad))):
            resolve("errata", bad)
    with pytest.raises(KeyError):
        resolve("dpo-but-misspelt")
