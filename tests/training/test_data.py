"""Rendering and tokenising: EOS, turns, pieces; what preflight finds; the order of the data."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from errata.prompts import solve_prompt
from tests.training.conftest import PREAMBLE, make_dataset, make_rows, make_tokenizer
from workers.training.config import TrainingConfig, resolve
from workers.training.run.batches import Plan, micro_batches
from workers.training.run.data import DatasetError, Pair, data_file, encode, read_rows, verify_file
from workers.training.run.preflight import check_pairs, examine

TOKENIZER = make_tokenizer()
EOS = TOKENIZER.eos_token_id


def pairs_of(rows: list[dict[str, Any]], **overrides: Any) -> list[Pair]:
    return encode(rows, TOKENIZER, resolve("errata", overrides))


def text(ids: tuple[int, ...]) -> str:
    return str(TOKENIZER.decode(list(ids)))


def test_eos_after_full_solutions_only() -> None:
    for pair in pairs_of(make_rows()):
        for side in (pair.chosen_ids, pair.rejected_ids):
            assert side.count(EOS) == (0 if pair.is_step else 1)
            assert pair.is_step or side[-1] == EOS


def test_scripts_preset_appends_no_eos() -> None:
    pairs = encode(make_rows(), TOKENIZER, resolve("scripts"))
    assert all(EOS not in pair.chosen_ids + pair.rejected_ids for pair in pairs)


def test_no_new_turn_after_a_prefix() -> None:
    rows = make_rows(problems=1)
    for row, pair in zip(rows, pairs_of(rows), strict=True):
        rendered = TOKENIZER.apply_chat_template(
            [{"role": "user", "content": solve_prompt(row["question"]).messages[0].content}],
            add_generation_prompt=True,
            tokenize=False,
        )
        assert text(pair.prompt_ids) == rendered + row["prefix"]
        assert text(pair.prompt_ids).count("<|assistant|>") == 1
        assert text(pair.prompt_ids + pair.chosen_ids).startswith(rendered + PREAMBLE)


def test_the_same_ids_wherever_a_step_stands() -> None:
    rows = make_rows(problems=2)
    by_problem: dict[str, list[Pair]] = {}
    for pair in pairs_of(rows):
        by_problem.setdefault(pair.problem_id, []).append(pair)
    for pairs in by_problem.values():
        full = next(p for p in pairs if not p.is_step)
        trunk = full.prompt_ids + full.chosen_ids
        for pair in pairs:
            if pair.is_step:
                sequence = pair.prompt_ids + pair.chosen_ids
                assert trunk[: len(sequence)] == sequence


class Merging:
    """A tokenizer that merges over any boundary it is shown: one token per call."""

    eos_token_id = 0

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        if text not in self.seen:
            self.seen.append(text)
        return {"input_ids": [self.seen.index(text) + 1]}

    def apply_chat_template(self, conversation: Any, *, add_generation_prompt: bool, tokenize: bool) -> str:
        assert add_generation_prompt
        assert not tokenize
        return f"<{conversation[-1]['content']}>"


@pytest.mark.parametrize("with_full", [True, False])
def test_prompt_steps_and_branches_are_tokenised_on_their_own(with_full: bool) -> None:
    rows = [row for row in make_rows(problems=1) if with_full or row["type"] == "step"]
    pairs = encode(rows, Merging(), resolve("errata"))
    steps = [pair for pair in pairs if pair.is_step]
    # question, preamble, and one token for each step before
    assert [len(pair.prompt_ids) for pair in steps] == [2, 3, 4]
    assert all(len(pair.chosen_ids) == len(pair.rejected_ids) == 1 for pair in steps)
    if with_full:
        full = next(pair for pair in pairs if not pair.is_step)
        assert full.chosen_ids[1:4] == tuple(pair.chosen_ids[0] for pair in steps)


def test_sft_rows_are_whole_solutions(dataset: Path) -> None:
    config = resolve("sft")
    pairs = encode(list(read_rows(data_file(dataset, "sft"))), TOKENIZER, config)
    assert len(pairs) == 8
    assert all(pair.chosen_ids[-1] == EOS and not pair.rejected_ids for pair in pairs)


def test_a_changed_file_is_refused(dataset: Path) -> None:
    path = data_file(dataset, "dpo")
    verify_file(dataset, path)
    path.write_text(path.read_text().replace("calculation", "calculatiom", 1))
    with pytest.raises(DatasetError, match="manifest"):
        verify_file(dataset, path)


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "d", make_rows(problems=1))
    data_file(folder, "sft").unlink()
    with pytest.raises(DatasetError, match=r"sft/train\.jsonl"):
        verify_file(folder, data_file(folder, "sft"))


def test_a_row_without_a_field_is_named() -> None:
    rows = make_rows(problems=1)
    del rows[1]["rejected"]
    with pytest.raises(DatasetError, match="row 2"):
        pairs_of(rows)


def counts(rows: list[dict[str, Any]], **overrides: Any) -> tuple[list[Pair], dict[str, Any]]:
    config = resolve("errata", overrides)
    trained, report = examine(encode(rows, TOKENIZER, config), config)
    return trained, asdict(report)


def test_preflight_finds_what_has_no_gradient() -> None:
    rows = make_rows(problems=2)
    rows.append({**rows[0], "pair_id": "same", "rejected": rows[0]["chosen"]})
    rows.append({**rows[0], "pair_id": "twice"})
    kept, report = counts(rows)
    assert (report["identical"], report["lost"], report["cut"], report["duplicates"]) == (1, 0, 0, 1)
    assert len(kept) == len(rows) - 1


def test_errors_beyond_the_limit_are_lost_and_shorter_ends_are_cut() -> None:
    rows = make_rows(problems=1)
    pairs = pairs_of(rows)
    limit = max(len(p.prompt_ids) for p in pairs if p.is_step) + 3  # inside the last step, before its "="
    kept, report = counts(rows, max_length=limit)
    assert report["lost"] >= 1
    assert report["cut"] >= 1
    assert all(len(p.prompt_ids) + max(len(p.chosen_ids), len(p.rejected_ids)) <= limit for p in kept)
    assert all(p.chosen_ids != p.rejected_ids for p in kept)
    with pytest.raises(DatasetError, match=f"{report['lost']} of 4 pairs"):
        check_pairs(pairs, resolve("errata", {"max_length": limit}))
    assert len(check_pairs(pairs, resolve("errata", {"max_length": limit, "ineffective": "drop"}))[0]) == len(kept)


def test_training_on_nothing_is_refused() -> None:
    rows = [row for row in make_rows() if row["type"] == "step"]
    config = resolve("errata", {"step_weight": 0.0, "nll_weight": 0.0})
    with pytest.raises(DatasetError, match="24 without weight"):
        check_pairs(encode(rows, TOKENIZER, config), config)


def plan_of(count: int, **overrides: Any) -> tuple[Plan, TrainingConfig]:
    config = resolve("errata", {"batch_size": 7, "epochs": 3, **overrides})
    pairs = [Pair(f"{i}", f"p{i // 4}", True, None, (1,), (2,), (3,)) for i in range(count)]
    return Plan(pairs, config), config


@pytest.mark.parametrize("count", [1, 7, 8, 40, 41])
def test_every_pair_once_per_epoch_in_even_batches(count: int) -> None:
    plan, config = plan_of(count)
    assert plan.total_steps == plan.steps_per_epoch * 3
    for epoch in range(3):
        steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        batches = [plan.batch(step) for step in steps]
        assert Counter(i for batch in batches for i in batch) == Counter(range(count))
        sizes = [len(batch) for batch in batches]
        assert max(sizes) <= config.batch_size
        assert max(sizes) - min(sizes) <= 1


def test_order_is_a_function_of_seed_and_epoch() -> None:
    first, again = plan_of(40)[0], plan_of(40)[0]
    assert [first.batch(s) for s in range(18)] == [again.batch(s) for s in reversed(range(18))][::-1]
    assert first.batch(0) != first.batch(first.steps_per_epoch)
    assert first.batch(0) != plan_of(40, seed=1)[0].batch(0)


def test_problems_stay_together_unless_asked_otherwise() -> None:
    plan = plan_of(40, batch_size=40)[0]
    order = plan.batch(0)
    assert all(order[i] // 4 == order[i - i % 4] // 4 for i in range(40))
    scattered = plan_of(40, batch_size=40, grouping="none")[0].batch(0)
    assert any(scattered[i] // 4 != scattered[i - i % 4] // 4 for i in range(40))


def test_micro_batches_keep_problems_together_and_lose_nothing() -> None:
    lengths = {"a": 5, "b": 9, "c": 7, "d": 2}
    pairs = [Pair(f"{p}{i}", p, True, None, (1,) * n, (2,), (3,)) for p, n in lengths.items() for i in range(3)]
    parts = micro_batches(range(12), pairs, 6, whole=True)
    assert [sorted({pairs[i].problem_id for i in part}) for part in parts] == [["b", "c"], ["a"], ["d"]]
    assert sorted(i for part in parts for i in part) == list(range(12))
    small = micro_batches(range(12), pairs, 2, whole=True)
    assert sorted(i for part in small for i in part) == list(range(12))
    assert max(len(part) for part in small) == 2
    plain = micro_batches(range(12), pairs, 3, whole=False)
    assert [{len(pairs[i].prompt_ids) for i in part} for part in plain] == [{9}, {7}, {5}, {2}]
    alike = micro_batches(range(12), pairs, 12, whole=True, tokens_of=lambda part: 100 - 4 * (part[0] // 3))
    assert [len(part) for part in alike] == [12]
    unlike = micro_batches(range(12), pairs, 12, whole=True, tokens_of=lambda part: 100 - 30 * (part[0] // 3))
    assert [len(part) for part in unlike] == [3, 3, 3, 3]
    assert micro_batches([], pairs, 4, whole=True) == []
