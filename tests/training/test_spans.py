"""Scoring only what differs, and weighing step pairs: spans, their log-probabilities and gradients, and whole runs."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from tests.training.conftest import make_dataset, make_model, make_rows, make_tokenizer
from tests.training.test_run import make_spec, run
from tests.training.test_tree import SHAPE, build, gradients, make_pairs
from workers.training.config import TrainingConfig, resolve
from workers.training.run import scoring
from workers.training.run.data import DatasetError, Pair, encode
from workers.training.run.objective import count
from workers.training.run.packing import pack
from workers.training.run.preflight import check_pairs, examine
from workers.training.run.preview import describe
from workers.training.run.reference import reference_fingerprint
from workers.training.run.scoring import add_scoring, completion_logps, micro_batch_loss
from workers.training.run.spans import differing_spans, within

DIFFERING: dict[str, Any] = {"score": "differing"}


def spanned(pairs: list[Pair]) -> list[Pair]:
    found = []
    for pair in pairs:
        chosen, rejected = differing_spans(pair.chosen_ids, pair.rejected_ids) if pair.is_step else (None, None)
        found.append(replace(pair, chosen_spans=chosen, rejected_spans=rejected))
    return found


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        ("12+3=15.", "12+4=16.", (((3, 4), (6, 7)), ((3, 4), (6, 7)))),  # two runs
        ("12+3=15.", "12+3=150.", (((7, 8),), ((7, 8),))),  # added: the chosen side's next token stands against it
        ("1+2+4=7.", "1+2=7.", (((3, 5),), ((3, 4),))),  # dropped: the rejected side's next token
        ("12", "120", ((), ((2, 3),))),  # nothing stands behind the end
        ("ab", "xy", (((0, 2),), ((0, 2),))),
        ("same", "same", ((), ())),
        ("axb", "ayzb", (((1, 2),), ((1, 3),))),
    ],
)
def test_spans_are_the_runs_that_differ(chosen: str, rejected: str, expected: Any) -> None:
    assert differing_spans([ord(c) for c in chosen], [ord(c) for c in rejected]) == expected


def test_outside_the_spans_the_sides_are_equal() -> None:
    """Random edits: what is left of both sides, once spans go, is what they have in common."""
    rng = random.Random(1)
    for _ in range(300):
        chosen = [rng.randrange(6) for _ in range(rng.randrange(1, 12))]
        rejected = list(chosen)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(rejected) + 1)
            rejected[at : at + rng.randrange(3)] = [rng.randrange(6) for _ in range(rng.randrange(3))]
        spans = differing_spans(chosen, rejected)
        for ids, own in zip((chosen, rejected), spans, strict=True):
            assert all(start < stop <= len(ids) for start, stop in own)
            assert all(a[1] < b[0] for a, b in pairwise(own)), "spans that touch are one"
        left = [
            [token for at, token in enumerate(ids) if not any(start <= at < stop for start, stop in own)]
            for ids, own in zip((chosen, rejected), spans, strict=True)
        ]
        # A following token is scored on the side that lacks the run, and is common: it may be missing from one rest.
        assert abs(len(left[0]) - len(left[1])) <= sum(map(len, spans))
        assert bool(spans[0] or spans[1]) == (chosen != rejected)


def test_spans_are_cut_with_their_side() -> None:
    assert within(((1, 3), (5, 6)), 2) == ((1, 2),)
    assert within(None, 2) is None
    pair = spanned([Pair("a", "p", True, None, (5, 6), (10, 11, 12, 13), (10, 11, 12, 99))])[0]
    _, report = examine([pair], resolve("errata", {"max_length": 8, **DIFFERING}))
    assert (report.lost, report.scored) == (0, 2)
    long = replace(pair, prompt_ids=tuple(range(20, 25)))
    assert examine([long], resolve("errata", {"max_length": 8, **DIFFERING}))[1].lost == 1


def exact_log_probs(
    hidden: Any, weight: Any, bias: Any, target: Any, _heat: float, _chunk: int, _cap: Any, scale: float, *_: Any
) -> tuple[Any]:
    """What TRL's kernel computes, in the type of its input: the kernel itself sums in float32."""
    logits = torch.nn.functional.linear(hidden, weight, bias) * scale
    return (logits.log_softmax(-1).gather(-1, target[:, None])[:, 0],)


def both_packings(pairs: list[Pair], config: TrainingConfig, make: Any) -> list[tuple[float, torch.Tensor, Any]]:
    """Loss, gradients and figures with trees and with plain pairs."""
    found = []
    for packing in ("tree", "pairs"):
        model, reference = make(0).double(), make(1).double()
        used = config.model_copy(update={"packing": packing})
        for each in (model, reference):
            add_scoring(each)
        with torch.no_grad():
            before = completion_logps(reference, pack(pairs, used.packing))[0].view(-1, 2)
        loss, rows, _ = micro_batch_loss(model, pairs, before, count(pairs, config), used)
        loss.backward()
        found.append((loss.item(), gradients(model), rows))
    return found


def neox(seed: int) -> Any:
    """A model whose every operation keeps float64: Llama's kin normalise in float32."""
    torch.manual_seed(seed)
    shape: dict[str, Any] = {name: SHAPE[name] for name in SHAPE if name != "num_key_value_heads"}
    config = GPTNeoXConfig(**shape)
    config._attn_implementation = "sdpa"
    return GPTNeoXForCausalLM(config)


SETTINGS = {**DIFFERING, "beta": 0.3, "nll_weight": 0.7, "nll_gate": False}


@pytest.mark.parametrize("loss", ["sigmoid", "sigmoid_norm", "ipo"])
def test_trees_and_plain_pairs_give_equal_gradients(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64 throughout, so that only the same sum can agree so closely."""
    monkeypatch.setattr(scoring, "_log_probs", exact_log_probs)
    pairs = spanned(make_pairs(4, problems=3))
    tree, plain = both_packings(pairs, resolve("errata", {**SETTINGS, "loss": loss}), neox)
    assert tree[1].dtype == torch.float64
    assert tree[0] == pytest.approx(plain[0], rel=1e-12)
    assert ((tree[1] - plain[1]).norm() / plain[1].norm()).item() < 1e-12
    for (_, _, one), (_, _, other) in zip(tree[2], plain[2], strict=True):
        assert one == pytest.approx(other, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3"])
def test_so_do_they_with_the_kernel_that_runs(family: str) -> None:
    pairs = spanned(make_pairs(4, problems=3))
    tree, plain = both_packings(pairs, resolve("errata", SETTINGS), lambda seed: build(family, seed))
    assert ((tree[1] - plain[1]).norm() / plain[1].norm()).item() < 2e-6


def test_log_probabilities_are_those_of_the_differing_tokens() -> None:
    """Against a plain forward pass of each sequence, token by token."""
    model, pairs = build("llama").double(), spanned(make_pairs(3))
    packed = pack(pairs, "tree")
    expected, lengths = [], []
    for pair in pairs:
        for ids, spans in pair.sides:
            sequence = torch.tensor([pair.prompt_ids + ids])
            with torch.no_grad():
                logps = model(input_ids=sequence).logits[0, :-1].log_softmax(-1).gather(-1, sequence[0, 1:, None])[:, 0]
            own = logps[len(pair.prompt_ids) - 1 :]
            every = ((0, len(ids)),) if spans is None else spans
            expected.append(sum(own[start:stop].sum().item() for start, stop in every))
            lengths.append(sum(stop - start for start, stop in every))
    add_scoring(model)
    with torch.no_grad():
        total, divergent = completion_logps(model, packed)
    assert total.tolist() == pytest.approx(expected, rel=1e-6)
    assert packed.lengths.tolist() == lengths
    steps = [2 * at + side for at, pair in enumerate(pairs) if pair.is_step for side in (0, 1)]
    assert divergent[steps].tolist() == pytest.approx(total[steps].tolist()), "both sides are reported"


def test_fewer_tokens_go_through_the_head() -> None:
    pairs = make_pairs(4, problems=3)
    assert len(pack(spanned(pairs), "tree").score_target) < len(pack(pairs, "tree").score_target)


def test_references_are_told_apart_by_what_is_scored() -> None:
    config, pairs = resolve("errata"), make_pairs(2)
    assert reference_fingerprint("m", pairs, config) != reference_fingerprint("m", spanned(pairs), config)


def encoded(rows: list[dict[str, Any]], **overrides: Any) -> tuple[list[Pair], TrainingConfig]:
    config = resolve("errata", overrides)
    return encode(rows, make_tokenizer(), config), config


def test_step_pairs_have_spans_and_full_pairs_are_scored_whole() -> None:
    pairs, _ = encoded(make_rows(), **DIFFERING)
    for pair in pairs:
        if pair.is_step:
            assert pair.scored(1) == 2, "the made error adds a space and a digit"
            assert pair.scored(0) == 1, "the byte that stands there instead"
        else:
            assert (pair.chosen_spans, pair.rejected_spans) == (None, None)


def rated(rates: list[float | None]) -> list[dict[str, Any]]:
    rows = make_rows(problems=len(rates), steps=1)
    return [{**row, "error_rate": rates[at // 2] if row["type"] == "step" else None} for at, row in enumerate(rows)]


def test_weights_are_rates_over_their_mean_and_capped() -> None:
    rates = [0.05, 0.05, 0.05, 0.05, 0.05, 0.95, None]
    pairs, config = encoded(rated(rates), weight_by="error_rate")
    trained, report = check_pairs(pairs, config)
    mean = sum(rate for rate in rates if rate is not None) / 6
    expected = [0.05 / mean] * 5 + [4.0, 1.0]
    assert 0.95 / mean > 4
    assert [pair.weight for pair in trained if pair.is_step] == pytest.approx(expected)
    assert all(pair.weight == 1 for pair in trained if not pair.is_step)
    assert report.unweighted == 0
    pairs, config = encoded(rated([0.0, 0.5]), weight_by="error_rate")
    assert check_pairs(pairs, config)[1].unweighted == 1, "a step that the model never gets wrong weighs nothing"
    pairs, config = encoded(rated([0.0, 0.5]))
    assert {pair.weight for pair in check_pairs(pairs, config)[0]} == {1.0}


def test_without_rates_a_run_that_wants_them_is_refused() -> None:
    pairs, config = encoded(rated([None, 0.0]), weight_by="error_rate")
    with pytest.raises(DatasetError, match="no step pair of the dataset has an error rate above 0"):
        check_pairs(pairs, config)


@pytest.mark.parametrize("overrides", [{"loss": "sigmoid"}, {"objective": "step-nll"}, {"nll_normalization": "sum"}])
def test_a_weighted_batch_is_the_sum_of_its_weighted_pairs(overrides: dict[str, Any]) -> None:
    """The loss of a batch is linear in the weights: as many copies of a pair weigh as much as one of that weight."""
    config = resolve("errata", {**overrides, "weight_by": "error_rate", "full_weight": 0.0, "nll_weight": 0.5})
    model = build("llama").double()
    add_scoring(model)
    pairs = [pair for pair in make_pairs(3) if pair.is_step]
    if config.objective == "step-nll":
        pairs = [replace(pair, rejected_ids=()) for pair in pairs]
    counts = count(pairs, config)
    reference = torch.zeros(len(pairs), 2, dtype=torch.float64)

    def loss(weights: list[float]) -> float:
        weighed = [replace(pair, weight=weight) for pair, weight in zip(pairs, weights, strict=True)]
        return micro_batch_loss(model, weighed, reference, counts, config)[0].item()

    ones = [float(at == k) for k in range(len(pairs)) for at in range(len(pairs))]
    singles = [loss(ones[k * len(pairs) : (k + 1) * len(pairs)]) for k in range(len(pairs))]
    weights = [0.3 + k for k in range(len(pairs))]
    assert loss(weights) == pytest.approx(sum(w * s for w, s in zip(weights, singles, strict=True)), rel=1e-6)
    assert len({round(single, 6) for single in singles}) > 1


def test_step_nll_trains_on_the_chosen_steps_alone() -> None:
    pairs, config = encoded(make_rows(), objective="step-nll")
    trained, report = check_pairs(pairs, config)
    assert all(pair.is_step and not pair.rejected_ids for pair in trained)
    assert (report.trained, report.unweighted) == (24, 8), "full pairs have no weight in it"
    assert count(trained, config).nll_tokens == sum(len(pair.chosen_ids) for pair in trained)
    spans, _ = encoded(make_rows(), objective="step-nll", **DIFFERING)
    assert [pair.scored(0) for pair in spans if pair.is_step] == [1] * 24


def test_a_preview_marks_what_is_trained(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, **DIFFERING)
    answer = describe(spec, 3, 100)
    step = answer["examples"][0]
    assert [sum(stop - start for start, stop in step[side]["scored"]) for side in ("chosen", "rejected")] == [1, 2]
    assert answer["examples"][2]["chosen"]["scored"] == [[0, len(answer["examples"][2]["chosen"]["tokens"])]]
    whole = describe(make_spec(tmp_path), 3, 100)
    assert answer["report"]["scored"] < whole["report"]["scored"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_run_starts_at_its_reference_and_learns(dtype: str, tmp_path: Path) -> None:
    """Policy and reference are scored alike, whatever they are computed in."""
    options: dict[str, Any] = {**DIFFERING, "full_weight": 0.0, "batch_size": 24, "micro_batch": 12, "epochs": 6}
    told = [message["values"] for message in run(make_spec(tmp_path, dtype=dtype, **options)).of("metrics")]
    assert told[0]["step/margin"] == 0.0
    assert told[-1]["step/margin"] > 0
    assert told[0]["step/logp_chosen"] < 0 > told[0]["step/logp_rejected"]


@pytest.mark.parametrize("overrides", [DIFFERING, {"objective": "step-nll"}, {"weight_by": "error_rate", **DIFFERING}])
def test_stopped_and_resumed_equals_unbroken(overrides: dict[str, Any], tmp_path: Path) -> None:
    make_model(tmp_path / "base")
    rows = [{**row, "error_rate": (at % 5) / 5} for at, row in enumerate(make_rows())]
    make_dataset(tmp_path / "dataset", rows)
    options = {**overrides, "max_steps": 6, "checkpoint_every": 2}
    whole = run(make_spec(tmp_path, "whole", **options))
    broken = make_spec(tmp_path, "broken", **options)
    stopped = run(broken, stop_at=2)
    again = run(broken)
    assert again.of("resumed")[0]["step"] == 3
    assert stopped.of("metrics") + again.of("metrics") == whole.of("metrics")
