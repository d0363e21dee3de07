"""What a job settles about its prompts when it is accepted, and which examples and templates are refused."""

from __future__ import annotations

from typing import Any

import pytest

from errata.prompt_config import DEFAULT_FEW_SHOT
from models.session import Database
from tests.api.conftest import CheckedClient
from tests.api.test_injection_jobs import add_model, bring, post_problems

EXAMPLE = {
    "question": "Ann has 3 bags of 4 pens. How many pens?",
    "solution": "Step 1: Ann has 3 * 4 = 12 pens.\nStep 2: The answer is \\boxed{12}.",
    "step": 1,
    "kind": "operator",
    "edited": "Ann has 3 + 4 = 12 pens.",
}


def post(client: CheckedClient, database: Database, config: dict[str, Any], entry: dict[str, Any] | None = None) -> Any:
    set_id = post_problems(client)
    add_model(database, config={"path": "/x", **(entry or {})})
    return client.post("/v1/injection-jobs", json={"problem_set": set_id, "language_model": "tiny", "config": config})


@pytest.mark.parametrize(
    ("editing", "entry", "settled"),
    [
        ({}, {}, DEFAULT_FEW_SHOT),
        ({}, {"few_shot": 0}, 0),
        ({"few_shot": 2}, {"few_shot": 0}, 2),
        ({"editor": "rules"}, {}, 0),
    ],
)
def test_the_number_of_examples_is_settled_and_stored(
    client: CheckedClient, database: Database, editing: dict[str, Any], entry: dict[str, Any], settled: int
) -> None:
    job = post(client, database, {"editing": editing}, entry).json()
    assert job["config"]["editing"]["few_shot"] == settled
    version = "edit-errata/3" if settled else "edit-errata/2"
    assert job["prompt_versions"].get("edit") == (None if editing.get("editor") else version)
    assert ("examples" in job["prompt_versions"]) is bool(settled)


def test_the_model_that_edits_says_how_many(client: CheckedClient, database: Database) -> None:
    set_id = post_problems(client)
    bring(client, set_id)
    add_model(database, "own", config={"path": "/x", "few_shot": 1})
    config = {"sampling": {"source": "brought"}, "editing": {"editor_model": "own"}}
    job = client.post("/v1/injection-jobs", json={"problem_set": set_id, "config": config}).json()
    assert job["config"]["editing"]["few_shot"] == 1


def test_own_examples_and_templates_are_stored_with_the_job(client: CheckedClient, database: Database) -> None:
    template = "{question} {solution} {unit} {instruction}"
    config = {"editing": {"few_shot": 1, "examples": [EXAMPLE], "template": template}, "sampling": {"few_shot": 2}}
    job = post(client, database, config).json()
    assert job["config"]["editing"]["examples"] == [EXAMPLE]
    assert job["prompt_versions"]["edit"].startswith("edit-errata-own/")
    assert job["prompt_versions"]["examples"] == "examples/1", "the solver's are ours"


@pytest.mark.parametrize(
    ("config", "field", "told"),
    [
        ({"editing": {"examples": [EXAMPLE, {**EXAMPLE, "step": 9}]}}, "config.editing.examples.1.step", "2 steps"),
        ({"editing": {"examples": [{**EXAMPLE, "kind": "typo"}]}}, "config.editing.examples.0.kind", "no kind 'typo'"),
        (
            {"editing": {"examples": [{**EXAMPLE, "edited": "Ann has 3 * 4 = 12 pens."}]}},
            "config.editing.examples.0.edited",
            "nothing is changed",
        ),
        ({"editing": {"template": "{question}"}}, "config.editing.template", "is missing"),
        ({"sampling": {"template": "{problem}"}}, "config.sampling.template", "unknown field {problem}"),
        ({"editing": {"few_shot": 9}}, "config.editing.few_shot", "less than or equal to 8"),
        ({"editing": {"structured": "perhaps"}}, "config.editing.structured", "never"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(
    client: CheckedClient, database: Database, config: dict[str, Any], field: str, told: str
) -> None:
    answer = post(client, database, config)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == field
    assert told in error["message"]
    assert error["remedy"]
