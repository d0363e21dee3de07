"""What a dataset would hold is told before it is frozen: rows by shape, the default, and what to do about none."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from models.jobs import PairRow
from models.session import Database
from tests.api.conftest import CheckedClient
from tests.api.outputs import job_with_pairs

PROGRAM = {"kind": "program", "chosen": " \\boxed{1}", "rejected": " \\boxed{2}"}
STAYS = {"chosen": " \\boxed{1}", "rejected": " \\boxed{1}", "why": "answer_stays"}


def test_a_preview_counts_rows_says_what_helps_and_refuses_as_a_freeze_does(
    client: CheckedClient, database: Database
) -> None:
    """The job has five solutions, four step pairs and a full pair."""
    job = job_with_pairs(client, database)
    body: dict[str, Any] = {"name": "d", "jobs": [job]}
    unknown = client.post("/v1/datasets/preview", json=body).json()
    assert (unknown["unknown"], unknown["exact"], unknown["notes"]) == (5, False, [])
    with database.begin() as session:
        session.execute(update(PairRow).where(PairRow.job_id == job).values(rest=STAYS))
    told = client.post("/v1/datasets/preview", json=body).json()
    assert (told["pairs"], told["whole"], told["left_out"]) == ({"full": 1, "step": 4}, {}, {"answer_stays": 5})
    assert told["rows"] == {"steps_and_full": 5, "whole_conversational": 0, "sft": 5, "sft_conversational": 5}
    assert (told["default_shape"], told["exact"]) == ("sft_conversational", True)
    assert "None of the 5 pairs have a whole form" in told["notes"][0]
    assert "no preferences" in told["notes"][0]
    assert "whole_right_answers: true" in told["notes"][1]
    allowed = {**body, "config": {"whole_right_answers": True, "shapes": ["whole_kto", "kto", "critique"]}}
    more = client.post("/v1/datasets/preview", json=allowed).json()
    assert more["rows"] == {"steps_and_full": 5, "whole_kto": 10, "kto": 10, "critique": 4}
    assert more["notes"] == []
    made = client.post("/v1/datasets", json=body).json()
    assert made["notes"] == told["notes"], "the answer to the freeze says the same"
    with database.begin() as session:
        first = session.scalars(select(PairRow).where(PairRow.type == "step").limit(1)).one()
        first.rest, first.review = PROGRAM, "accepted"
    body |= {"config": {"reviews": "accepted", "max_pairs": 3}}
    told = client.post("/v1/datasets/preview", json=body).json()
    assert (told["pairs"], told["whole"], told["exact"], told["notes"]) == ({"step": 1}, {"step": 1}, False, [])
    assert told["default_shape"] == "whole_conversational"
    wrong = client.post("/v1/datasets/preview", json={**body, "config": {"kinds": ["calcluation"]}})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "config.kinds.0")
    nothing = {**body, "config": {"reviews": "accepted", "distance": {"min": 900}}}
    for path in ("/v1/datasets/preview", "/v1/datasets"):
        refused = client.post(path, json=nothing)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "config")
        assert "no pair of these jobs passes" in refused.json()["errors"][0]["message"]
    assert [row["id"] for row in client.get("/v1/datasets").json()["data"]] == [made["id"]], "previews make nothing"
