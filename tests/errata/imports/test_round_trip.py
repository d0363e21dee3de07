"""Pairs of real GSM8K solutions written in every shape of a freeze, and read back: they say the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from errata.config import resolve
from errata.imports.config import ImportConfig
from errata.imports.exports import exports
from errata.imports.formats import known_format
from errata.imports.pairing import Pairing
from errata.imports.rows import ImportedPair, ImportedSide, as_row, check
from errata.injection import plan_edits
from errata.rule_edits import rule_edit
from errata.seeds import derive_seed
from errata.shapes import SHAPES, PairRecord, SampleRecord
from errata.steps import split_steps
from errata.types import Domain, Problem

CONFIG = resolve("rules", {})
LIMIT = 100_000


def _records(line: str, at: int) -> Iterator[PairRecord]:
    """Step pairs of a row's first correct solution, edited by rule, and a full pair where another one is wrong."""
    row = json.loads(line)
    problem = Problem(row["question"], row["ground_truth"].rpartition("A: ")[2].strip())
    texts = [(v["solution"], v["is_correct"]) for v in row.values() if isinstance(v, dict)]
    right = next((text for text, is_right in texts if is_right), None)
    wrong = next((text for text, is_right in texts if not is_right), None)
    if right is None:
        return
    steps = split_steps(right)
    common = {"question": problem.question, "source": "gpt", "problem_id": f"prob_{at}", "job_id": "inj_1"}
    more = {"language_model": None, "prompt_version": None, "domain": "math", "editor": "rule", "seed": at}
    plan = plan_edits(right, steps, CONFIG, Domain.MATH, derive_seed("plan", problem.question), problem)
    for planned in plan.edits:
        step = steps[planned.step]
        place = (planned.unit, planned.form)
        edited = rule_edit(right, steps, planned.step, planned.kind, at, Domain.MATH, problem, *place)
        if edited is not None:
            yield PairRecord(
                **common,
                **more,
                pair_id=f"pair_{at}_{planned.step}",
                type="step",
                prefix=right[: step.start],
                chosen=right[step.start : step.end],
                rejected=edited,
                step_index=planned.step,
                start=step.start,
                end=step.end,
                error_kind=planned.kind,
                form=planned.form,
                distance=1,
                evidence="contradiction",
                evidence_detail='{"equation": "1 = 2"}',
            )
    if wrong is not None:
        gone = dict.fromkeys(("step_index", "start", "end", "error_kind", "form", "distance", "evidence"))
        sides = {"type": "full", "prefix": "", "chosen": right, "rejected": wrong, "evidence_detail": None}
        yield PairRecord(**common, **more, **gone, **sides, pair_id=f"pair_{at}_full")


@pytest.fixture(scope="module")
def records(shared_data: Path) -> list[PairRecord]:
    lines = (shared_data / "gsm8k" / "model-solutions-400.jsonl").read_text().splitlines()[:60]
    found = [record for at, line in enumerate(lines) for record in _records(line, at)]
    assert len({record.type for record in found}) == 2
    assert len(found) > 100
    return found


def read_back(rows: list[dict[str, Any]], **config: Any) -> list[ImportedPair]:
    """The pairs of a file, through recognition, reader and pairing."""
    known = known_format(None, rows[0].keys())
    assert known is not None
    pairing, pairs = Pairing(), []
    for row in rows:
        read = known.read(json.loads(json.dumps(row)), ImportConfig(**config))
        if isinstance(read, ImportedSide):
            read = pairing.add(read)
        if read is not None:
            check(read, LIMIT)
            pairs.append(read)
    assert pairing.left() == {"right": 0, "wrong": 0}
    return pairs


def written(records: list[PairRecord], name: str) -> list[dict[str, Any]]:
    return [row for record in records for row in SHAPES[name].rows(record)]  # type: ignore[index]


def told(record: PairRecord | ImportedPair) -> tuple[Any, ...]:
    """What a pair says: the question as a solver is asked it, and both sides as whole texts."""
    question = record.question if isinstance(record, PairRecord) else record.ask.question
    return question.strip(), record.prefix + record.chosen, record.prefix + record.rejected


def test_every_column_of_our_own_rows_comes_back(records: list[PairRecord]) -> None:
    rows = written(records, "steps_and_full")
    back = [as_row(pair) for pair in read_back(rows)]
    for row, found in zip(rows, back, strict=True):
        assert found["evidence"] == "unproven", "what others prove is not proven here"
        claimed = json.loads(found["evidence_detail"]).get("claimed", {})
        assert claimed.get("evidence") == row["evidence"]
        same = set(row) - {"evidence", "evidence_detail"}
        assert {name: found[name] for name in same} == {name: row[name] for name in same}


@pytest.mark.parametrize("name", ["trl", "trl_conversational", "step_dpo", "openai", "kto", "critique"])
def test_other_shapes_give_the_same_pairs(records: list[PairRecord], name: str) -> None:
    rows = written(records, name)
    back = read_back(rows)
    kept = [record for record in records if SHAPES[name].rows(record)]  # type: ignore[index]
    assert [told(pair) for pair in back] == [told(record) for record in kept]
    # Written once more, they are the rows they came from.
    if name in ("trl", "trl_conversational"):
        table = {each.name: each for each in exports([name], conversational=False, has_pairs=True)}[name]  # type: ignore[list-item]
        assert [row for pair in back for row in table.rows(as_row(pair))] == rows


def test_steps_with_labels_give_the_same_pairs_but_for_their_preamble(records: list[PairRecord]) -> None:
    back = read_back(written(records, "process_reward"))
    kept = [record for record in records if record.type == "step"]
    assert [(pair.chosen, pair.rejected) for pair in back] == [(each.chosen, each.rejected) for each in kept]
    assert all(record.prefix.endswith(pair.prefix) for pair, record in zip(back, kept, strict=True))


@pytest.mark.parametrize("name", ["steps_and_full", "trl", "openai", "kto"])
def test_nothing_that_stops_in_mid_solution_is_taken_for_a_whole_reply(records: list[PairRecord], name: str) -> None:
    back = read_back(written(records, name))
    for pair, record in zip(back, records, strict=True):
        if record.type == "full":
            assert not pair.is_step
        elif record.chosen.endswith("\n") and "A:" not in record.chosen:
            assert pair.is_step, told(record)
    assert all(pair.is_step for pair in read_back(written(records, "trl"), completions="step"))
    assert not any(pair.is_step for pair in read_back(written(records, "trl"), completions="whole"))


def test_samples_come_back(records: list[PairRecord]) -> None:
    full = [record for record in records if record.type == "full"]
    samples = [SampleRecord(each.question, each.chosen, each.problem_id, each.job_id, each.domain) for each in full]
    rows = [row for sample in samples for row in (SHAPES["sft"].samples or list)(sample)]
    known = known_format(None, rows[0].keys())
    assert known is not None
    for row, record in zip(rows, full, strict=True):
        sample = known.read(row, ImportConfig())
        assert isinstance(sample, ImportedSide)
        assert (sample.ask.question, sample.ask.messages, sample.text) == (record.question, None, record.chosen)
