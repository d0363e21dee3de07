"""Figures of the pages: yields, distributions, lineage, tokens of a preview, comparisons of the same problems."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from api.pages import lineage, pairs, yields
from api.pages.preview import shown
from api.training.schemas import TrainingPreviewOut
from errata.distributions import MOST_STEPS, Distributions
from models.jobs import EditRow, SolutionRow
from models.outputs import Dataset, Evaluation, TrainingRun
from models.session import Database
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel
from tests.api.test_page_rows import client, rows
from tests.api.test_pages import get
from tests.dashboard_rows import Filled
from workers.stages.dataset_files import Tally

__all__ = ["client", "rows"]  # fixtures


def test_a_job_tells_its_yield_by_kind_form_and_step_and_lists_what_it_counts(
    client: TestClient, rows: Filled, sqlite_database: Database
) -> None:
    base = f"/jobs/{rows.finished}"
    with sqlite_database.begin() as session:
        solution = session.get_one(SolutionRow, "sol_finished_0")
        solution.role, solution.plan = "correct", {"edits": [[0, "operator"]], "skipped": ["answer_step"]}
        same: dict[str, Any] = {
            "job_id": rows.finished,
            "shard_id": solution.shard_id,
            "problem_id": solution.problem_id,
        }
        same |= {"solution_id": solution.id, "start": 0, "end": 5, "original": "1 + 1 = 2"}
        made = {"edited": "1 - 1 = 2", "evidence_kind": "replay"}
        session.add_all(
            [
                EditRow(id="edit_a", step_index=0, kind="operator", **made, **same),
                EditRow(id="edit_b", step_index=0, kind="order", form="consistent", reason="no_change", **same),
                EditRow(id="edit_c", step_index=2, kind="order", form="stands", **same),
            ]
        )
    with sqlite_database.read() as session:
        found = [(each.label, each.edits, each.proven, each.pairs) for each in yields.by_step(session, rows.finished)]
    assert found == [("step 1", 2, 1, 1), ("step 3", 1, 0, 0)]
    page = get(client, base)
    assert {f"{base}/edits?step=1", f"{base}/edits?evidence=contradiction", f"{base}/solutions?role=drawn"} <= set(
        page.links()
    )
    assert "generated tokens per second" in page.text
    counted = (("step=1", 2), ("step=2", 0), ("form=stands", 2), ("form=consistent", 1), ("evidence=replay", 1))
    for query, count in counted:
        assert get(client, f"{base}/edits?{query}").text.count("problem 0, step") == count, query
    steps = " ".join(get(client, f"{base}/steps?reason=answer_step").text.split())
    assert "1 edited · 1 skipped: The step only states the final answer." in steps
    assert "Nothing here" in get(client, f"{base}/steps?reason=over_quota").text
    assert get(client, f"{base}/solutions?role=drawn").text.count("sample 0") == 1
    assert "Nothing here" in get(client, f"{base}/solutions?role=incorrect").text


def test_yields_of_a_funnel_are_added_up_over_kinds() -> None:
    counts = {
        "edits": {
            "by_kind": {
                "order": {"total": 4, "proven": 1, "pairs": 1},
                "operator": {"total": 6, "proven": 5, "pairs": 3},
            },
            "by_form": {"stands": {"order": {"total": 4, "pairs": 1}, "operator": {"total": 5, "pairs": 2}}},
        }
    }
    assert [(each.label, each.edits, each.share) for each in yields.by_kind(counts)] == [
        ("operator", 6, 0.5),
        ("order", 4, 0.25),
    ]
    assert [(each.label, each.edits, each.pairs, each.query) for each in yields.by_form(counts)] == [
        ("stands", 9, 3, "form=stands")
    ]
    assert yields.tokens_per_second({"completion": 90}, 30.0) == 3
    assert yields.tokens_per_second({"completion": 90}, None) is None


def test_distributions_count_steps_one_by_one_and_lengths_in_bins() -> None:
    found = Distributions()
    found.add("step", [1, 1, MOST_STEPS + 9, MOST_STEPS + 90])
    found.add("distance", [0, 1, 2, 3, 4, 1000])
    assert found.as_dict() == {
        "step": [{"low": 1, "high": 1, "pairs": 2}, {"low": MOST_STEPS + 1, "high": None, "pairs": 2}],
        "distance": [
            {"low": 0, "high": 0, "pairs": 1},
            {"low": 1, "high": 1, "pairs": 1},
            {"low": 2, "high": 3, "pairs": 2},
            {"low": 4, "high": 7, "pairs": 1},
            {"low": 512, "high": 1023, "pairs": 1},
        ],
    }
    with pytest.raises(ValueError, match="below 0"):
        found.add("distance", [-1])


def test_a_freeze_measures_what_it_counts() -> None:
    columns: dict[str, Any] = {
        name: ["x", "x"] for name in ("type", "error_kind", "form", "editor", "evidence", "source")
    }
    columns |= {"step_index": [0, None], "distance": [3, None], "chosen": ["ab", "ü" * 5], "rejected": ["abcd", ""]}
    tally = Tally()
    tally.add(pa.table(columns), "train")
    told = tally.distributions.as_dict()
    assert told["step"] == [{"low": 1, "high": 1, "pairs": 1}]
    assert told["distance"] == [{"low": 2, "high": 3, "pairs": 1}]
    assert told["chosen_characters"] == [{"low": 2, "high": 3, "pairs": 1}, {"low": 4, "high": 7, "pairs": 1}]
    assert [each["low"] for each in told["rejected_characters"]] == [0, 4]


def test_a_datasets_page_draws_its_distributions(client: TestClient, rows: Filled, sqlite_database: Database) -> None:
    with sqlite_database.begin() as session:
        dataset = session.get_one(Dataset, rows.dataset)
        told = {"step": [{"low": 31, "high": None, "pairs": 3}], "distance": [{"low": 4, "high": 7, "pairs": 9}]}
        counts = {"pairs": 4, "error_kind": {"operator": 4}}
        dataset.manifest = {**(dataset.manifest or {}), "distributions": told, "counts": counts}
    page = get(client, f"/datasets/{rows.dataset}")
    assert page.by_tag["h3"] == ["Error kind", "Wrong step", "Edit distance"]
    assert {"from 31", "4 to 7", "operator"} <= set(page.by_tag["span"])
    assert f"/datasets/{rows.dataset}/archive.zip" in page.links()


def test_the_overview_shows_a_pair_only_of_a_sound_solution(rows: Filled, sqlite_database: Database) -> None:
    with sqlite_database.read() as session:
        found = pairs.sound_step_pair(session, [rows.running, rows.finished])
    assert found is not None
    assert found.row.id == rows.step_pairs[0]
    with sqlite_database.begin() as session:
        solution = session.get_one(SolutionRow, "sol_finished_0")
        solution.text = solution.text.replace("6 * 12 = 72", "6 * 12 = 71")  # right in the end, and yet wrong
    with sqlite_database.read() as session:
        assert pairs.sound_step_pair(session, [rows.finished]) is None


def test_the_graph_has_what_was_trained_from_a_model_and_what_still_is(
    client: TestClient, rows: Filled, sqlite_database: Database
) -> None:
    with sqlite_database.begin() as session:
        session.get_one(LanguageModel, "lm_tuned").training_run_id = rows.training
        session.get_one(LanguageModel, "lm_tuned").base_model_id = "lm_tiny"
        further = {"workspace_id": DEFAULT_WORKSPACE, "dataset_id": rows.dataset, "base_model_id": "lm_tuned"}
        session.add(TrainingRun(id="train_next", output_name="third", config={"objective": "dpo"}, **further))
    with sqlite_database.read() as session:
        row, root = (session.get_one(LanguageModel, each) for each in ("lm_tuned", "lm_tiny"))
        found = lineage.graph(session, row, root, DEFAULT_WORKSPACE)
        assert lineage.graph(session, root, root, "ws_other") is None, "another workspace's runs are not drawn"
    assert found is not None
    drawn = {node.title: (node.x, node.y, node.current, node.open) for node in found.nodes}
    assert {title for title, told in drawn.items() if told[3]} == {"tiny-again", "third"}
    assert [title for title, told in drawn.items() if told[2]] == ["tiny-tuned"]
    assert drawn["tiny"][0] < drawn["tiny-tuned"][0] < drawn["third"][0]
    assert len({told[:2] for told in drawn.values()}) == 4, "no node lies on another"
    assert len(found.edges) == 3
    page = get(client, "/models/tiny-tuned")
    assert {"/models/tiny", "/training/train_next"} <= set(page.links())


def test_the_figures_of_further_temperatures_are_told_one_by_one(
    client: TestClient, rows: Filled, sqlite_database: Database
) -> None:
    before, *_ = rows.evaluations
    with sqlite_database.begin() as session:
        row = session.get_one(Evaluation, before)
        told = [{"temperature": at, "accuracy": at / 2, "pass_at_k": {"4": 0.75}} for at in (0.5, 1.0)]
        row.result = {**(row.result or {}), "accuracy": 0.25, "temperatures": told}
    text = get(client, f"/evaluations/{before}").text
    assert "T = 1.0: pass_at_k.4" in text
    assert "{'" not in text, "no value is told as Python writes it"


def test_evaluations_over_other_problems_stand_apart(
    client: TestClient, rows: Filled, sqlite_database: Database
) -> None:
    before, after, _ = rows.evaluations
    with sqlite_database.begin() as session:
        for row_id, count in ((before, 60), (after, 200)):
            row = session.get_one(Evaluation, row_id)
            row.result = {**(row.result or {}), "problems": count}
    page = get(client, f"/evaluations/{after}")
    assert "On other problems of the set" in page.text
    assert "of 60 problems" in page.text
    drawn = [a["aria-label"] for tag, a in page.elements if tag == "svg" and a.get("class") == "whisker"]
    assert len(drawn) == 1, "a 60-problem accuracy is not drawn beside one of 200"
    assert f"/evaluations/{before}/compare/{after}" in page.links()
    assert "/compare" in get(client, "/evaluations").links()
    options = [a["value"] for tag, a in get(client, "/compare").elements if tag == "option"]
    assert set(options) == {before, after}, "what has not ended cannot be compared"
    chosen = client.get("/compare", params={"before": before, "after": after})
    assert chosen.headers["location"] == f"/evaluations/{before}/compare/{after}"
    assert "one and the same" in get(client, f"/compare?before={before}&after={before}").text


def test_a_preview_marks_the_differing_tokens_of_both_sides() -> None:
    def tokens(*texts: str) -> list[dict[str, object]]:
        return [{"id": at, "text": text} for at, text in enumerate(texts)]

    sides = {
        side: {
            "tokens": tokens("2", word, "\u202e"),
            "omitted": 1,
            "scored": [[1, 3]],
            "divergent": [1, 2],
            "eos": [2],
            "ends_with_eos": True,
        }
        for side, word in (("chosen", "+"), ("rejected", "-"))
    }
    prompt = {"tokens": tokens("Q"), "omitted": 0}
    pair = {"pair_id": "pair_1", "type": "step", "error_kind": "operator", "prompt": prompt, **sides}
    found = shown(
        TrainingPreviewOut.model_validate(
            {
                "refused": None,
                "config": {},
                "rows": 3,
                "examples": [pair],
                "seconds": {"per_gpu": 0.2, "per_cpu_core": 90},
            }
        )
    )
    assert found.times == (("On one large GPU", "less than 1 s"), ("On one CPU core", "1 min 30 s"))
    asked, chosen, rejected = found.examples[0].sides
    assert [token.trained for token in asked.tokens] == [False]
    assert [(token.text, token.differs, token.eos) for token in rejected.tokens] == [
        ("2", False, False),
        ("-", True, False),
        ("[U+202E]", False, True),
    ]
    assert (chosen.tokens[1].text, chosen.omitted) == ("+", 1)
    assert [token.trained for token in chosen.tokens] == [False, True, True]
