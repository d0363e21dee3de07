"""Injection jobs and pairs: accepting, refusing, watching, ending."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete, select, update

from errata.funnel import Funnel
from errata.kinds import replace_custom
from errata.kinds.custom import CustomKind
from models.base import db_now, new_id
from models.jobs import EditRow, InjectionJob, JobSummary, PairRow, Shard, SolutionRow
from models.leases import claim
from models.session import Database
from models.states import JobState, ShardState, Stage, move
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel, ProblemRow
from tests.api.conftest import RULES, CheckedClient, KeptHints, bring, post_job, post_problems


def add_model(database: Database, name: str = "tiny", **more: Any) -> str:
    row = {"id": new_id("model"), "workspace_id": DEFAULT_WORKSPACE, "engine": "transformers", "config": {"path": "/x"}}
    with database.begin() as session:
        model = LanguageModel(name=name, **{**row, **more})
        session.add(model)
        session.flush()
        return model.id


def test_a_job_is_rows_and_hints(client: CheckedClient, database: Database, hints: KeptHints) -> None:
    set_id = post_problems(client)
    bring(client, set_id)
    config = {"sampling": {"source": "brought"}, "shard_size": 2}
    answer = client.post(
        "/v1/injection-jobs", json={"problem_set": set_id, "preset": "rules", "config": config, "name": "first"}
    )
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/injection-jobs/{job['id']}"
    assert int(answer.headers["retry-after"]) >= 1
    assert (job["state"], job["preset"], job["name"], job["language_model"]) == ("queued", "rules", "first", None)
    assert job["config"]["editing"]["editor"] == "rules", "the preset, resolved"
    assert job["config"]["seed"] == 0, "and complete"
    assert job["progress"]["shards"]["total"] == 3
    assert job["progress"]["queue_position"] == 1
    assert job["progress"]["problems_total"] == 5
    assert len({hint.shard_id for hint in hints.hints}) == 3
    with database.read() as session:
        spans = session.execute(select(Shard.start, Shard.stop).order_by(Shard.position)).all()
    assert [tuple(span) for span in spans] == [(0, 2), (2, 4), (4, 5)]
    assert client.get(answer.headers["location"]).json()["id"] == job["id"]


def test_a_job_with_a_language_model_names_its_prompts(client: CheckedClient, database: Database) -> None:
    set_id = post_problems(client)
    add_model(database)
    job = client.post("/v1/injection-jobs", json={"problem_set": set_id, "language_model": "tiny"}).json()
    assert (job["language_model"], job["preset"]) == ("tiny", "errata")
    assert set(job["prompt_versions"]) == {"solve", "edit", "slip", "examples"}
    assert "/x" not in str(job), "where a model is stored is not told"


def test_another_model_may_edit(client: CheckedClient, database: Database) -> None:
    set_id = post_problems(client)
    bring(client, set_id)
    add_model(database, "other")
    config = {"sampling": {"source": "brought"}, "editing": {"editor_model": "other"}}
    answer = client.post("/v1/injection-jobs", json={"problem_set": set_id, "config": config})
    assert answer.status_code == 202, "brought solutions and another editor need no model that solves"
    assert answer.json()["config"]["editing"]["editor_model"] == "other"
    assert answer.json()["language_model"] is None
    solving = {"problem_set": set_id, "config": {"editing": {"editor_model": "other"}}}
    assert client.post("/v1/injection-jobs", json=solving).json()["errors"][0]["field"] == "language_model"


def test_a_job_keeps_the_version_of_an_operators_kind(client: CheckedClient, database: Database) -> None:
    entry = {"name": "wrong_unit", "instruction": "Use a wrong unit in this step.", "check": "contradiction"}
    kind = CustomKind.model_validate(entry)
    set_id = post_problems(client)
    add_model(database)
    replace_custom([kind.kind()])
    try:
        body = {"problem_set": set_id, "language_model": "tiny"}
        named = {**body, "config": {"editing": {"kinds": {"wrong_unit": 1.0}}}}
        job = client.post("/v1/injection-jobs", json=named).json()
        assert job["prompt_versions"]["kind:wrong_unit"] == kind.version
        assert set(client.post("/v1/injection-jobs", json=body).json()["prompt_versions"]) == {
            "solve",
            "edit",
            "slip",
            "examples",
        }
        by_rule = {**body, "config": {"editing": {"editor": "rules", "kinds": {"wrong_unit": 1.0}}}}
        assert "has no rule" in client.post("/v1/injection-jobs", json=by_rule).json()["errors"][0]["message"]
    finally:
        replace_custom([])


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"problem_set": None}, "problem_set", "string"),
    ({"problem_set": "pset_unknown"}, "problem_set", "no such problem set"),
    ({"problem_set": "inj_abc"}, "problem_set", "id of an injection job"),
    ({"colour": "red"}, "colour", "not permitted"),
    ({"preset": "nope"}, "preset", "no preset"),
    ({"preset": 3}, "preset", "string"),
    ({"config": []}, "config", "dictionary"),
    ({"config": {"samplign": {}}}, "config.samplign", "not permitted"),
    ({"config": {"sampling": {"samples": 0}}}, "config.sampling.samples", "greater"),
    ({"config": {"sampling": {"samples": "many"}}}, "config.sampling.samples", "integer"),
    ({"config": {"sampling": 5}}, "config.sampling", "dictionary"),
    ({"config": {"preset": "paper"}}, "config.preset", "preset"),
    ({"config": {"pairs": {"step": False, "full": False}}}, "config.pairs", "at least one"),
    ({"config": {"editing": {"kinds": {"entity": 1}}}}, "config.editing.kinds", "no kind 'entity'"),
    ({"config": {"editing": {"kinds": {}}}}, "config.editing.kinds", "above 0"),
    ({"config": {"sampling": {"source": "brought"}}}, "config.sampling.source", "no solutions were brought"),
    ({"config": {"editing": {"editor_model": "nope"}}}, "config.editing.editor_model", "no language model"),
    (
        {"config": {"editing": {"editor": "rules", "editor_model": "tiny"}}},
        "config.editing.editor_model",
        "asks no model",
    ),
    (
        {"config": {"editing": {"editor": "rules", "fallback": ["slip"]}}},
        "config.editing.fallback",
        "nobody edits behind",
    ),
    ({"preset": "slip", "config": {"editing": {"fallback": ["slip"]}}}, "config.editing.fallback", "may occur once"),
    ({"config": {"editing": {"fallback": ["model"]}}}, "config.editing.fallback.0", "slip"),
    ({"config": {"editing": {"slips": {"positions": []}}}}, "config.editing.slips.positions", "at least 1"),
    ({"config": {"editing": {"slips": {"positions": ["sign", "sign"]}}}}, "config.editing.slips.positions", "once"),
    ({"config": {"editing": {"slips": {"alternatives": 20}}}}, "config.editing.slips.alternatives", "less than"),
    (
        {"config": {"editing": {"slips": {"min_probability": 0.5, "max_probability": 0.1}}}},
        "config.editing.slips",
        "min_",
    ),
    (
        {"preset": "mined", "config": {"proof": {"continuations": {"k": 4}}}},
        "config.proof.continuations.k",
        "at least 8",
    ),
    (
        {"preset": "mined", "config": {"editing": {"fallback": ["rules"]}}},
        "config.editing.fallback",
        "nobody edits behind",
    ),
    ({"preset": "mined", "config": {"editing": {"mined": {"k": 1}}}}, "config.editing.mined.k", "greater"),
    ({"preset": "slip", "language_model": "hosted"}, "config.editing.editor", "no log-probabilities"),
    ({"preset": "slip", "config": {"editing": {"editor_model": "hosted"}}}, "config.editing.editor", "'hosted'"),
    ({"language_model": None}, "language_model", "none is named"),
    ({"language_model": "unknown"}, "language_model", "no language model"),
    ({"language_model": "../../etc/passwd"}, "language_model", "match"),
    ({"language_model": "http://evil/model"}, "language_model", "match"),
    ({"name": ""}, "name", "at least 1"),
    ({"name": "x\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace") * 200}, "name", "at most 200"),
]


def test_refused_jobs_name_field_and_remedy(client: CheckedClient, database: Database) -> None:
    add_workspace(client)
    add_model(database)
    add_model(database, "hosted", engine="openai", config={"base_url": "http://localhost:1/v1", "model": "m"})
    good = {"problem_set": post_problems(client), "language_model": "tiny"}
    for change, field, message in REFUSED:
        answer = client.post("/v1/injection-jobs", json={**good, **change})
        assert answer.status_code == 422, (change, answer.text)
        errors = answer.json()["errors"]
        assert [error["field"] for error in errors] == [field], change
        assert message in errors[0]["message"], change
        assert errors[0]["remedy"]
    with database.read() as session:
        assert session.scalars(select(InjectionJob.id)).all() == []
    assert client.post("/v1/injection-jobs", json=good).status_code == 202


def test_mined_errors_are_refused_where_nothing_is_calculated(client: CheckedClient, database: Database) -> None:
    add_workspace(client)
    add_model(database)
    problem = {"question": "Write f.", "gold_answer": "def f(x): return x", "meta": {"tests": ["assert f(1) == 1"]}}
    answer = client.post("/v1/problem-sets", json={"name": "c", "domain": "code", "problems": [problem]})
    body = {"problem_set": answer.json()["id"], "language_model": "tiny", "preset": "mined"}
    [error] = client.post("/v1/injection-jobs", json=body).json()["errors"]
    assert error["field"] == "config.editing.editor"
    assert "domain 'code' has neither" in error["message"]


def add_workspace(client: CheckedClient) -> None:
    """The default workspace comes with the first keyless request."""
    assert client.get("/v1/problem-sets").status_code == 200


def test_lists_and_filters(client: CheckedClient) -> None:
    sets = [post_problems(client), post_problems(client)]
    for set_id in sets:
        bring(client, set_id)
    jobs = [post_job(client, sets[n % 2])["id"] for n in range(4)]
    listed = client.get("/v1/injection-jobs").json()
    assert [job["id"] for job in listed["data"]] == jobs[::-1]
    assert [job["progress"]["queue_position"] for job in listed["data"]] == [4, 3, 2, 1]
    one_set = client.get(f"/v1/injection-jobs?problem_set={sets[0]}").json()["data"]
    assert [job["id"] for job in one_set] == [jobs[2], jobs[0]]
    client.post(f"/v1/injection-jobs/{jobs[0]}/cancel")
    assert [job["id"] for job in client.get("/v1/injection-jobs?state=cancelled").json()["data"]] == [jobs[0]]
    assert client.get("/v1/injection-jobs?state=done").status_code == 422
    assert client.get("/v1/injection-jobs?sate=queued").json()["errors"][0]["field"] == "sate"
    assert client.get(f"/v1/injection-jobs?problem_set={jobs[0]}").json()["errors"][0]["field"] == "problem_set"


def test_progress_adds_up(client: CheckedClient, database: Database) -> None:
    set_id = post_problems(client)
    bring(client, set_id)
    config = {"sampling": {"source": "brought"}, "shard_size": 1}
    job_id = post_job(client, set_id, config=config)["id"]
    funnel = Funnel().add("problems", "total").add("problems", "kept").add_tokens("edit", 10, 4, 2)
    with database.begin() as session:
        shards = session.scalars(select(Shard).order_by(Shard.position)).all()
        assert move(session, InjectionJob, job_id, JobState.RUNNING)
        changes = [
            {"state": ShardState.DONE, "stage": Stage.PAIR, "ledger": {"funnel": funnel.to_dict()}},
            {"state": ShardState.DONE, "stage": Stage.PAIR, "ledger": {"funnel": funnel.to_dict()}},
            {"state": ShardState.RUNNING, "stage": Stage.PROVE},
            {"state": ShardState.QUARANTINED, "stage": Stage.EDIT, "error": "boom"},
            {},
        ]
        for shard, change in zip(shards, changes, strict=True):
            if change:
                session.execute(update(Shard).where(Shard.id == shard.id).values(**change))
        # Ledgers written past their stages: the job is counted from them, as one of an earlier version.
        session.execute(delete(JobSummary))
        started = update(InjectionJob).values(started_at=db_now(-10))
        session.execute(started)
    job = client.get(f"/v1/injection-jobs/{job_id}").json()
    progress = job["progress"]
    assert progress["fraction"] == pytest.approx((3 + 4 / 6) / 5, abs=1e-4)
    assert progress["shards"] == {
        "total": 5,
        "queued": 1,
        "running": 1,
        "done": 2,
        "quarantined": 1,
        "cancelled": 0,
        "skipped": 0,
        "stages": {"prove": {"running": 1}, "sample": {"queued": 1}},
    }
    assert (progress["problems_done"], progress["queue_position"]) == (2, None)
    assert progress["eta_seconds"] == pytest.approx(progress["elapsed_seconds"] * (1 - 0.7333) / 0.7333, rel=1e-3)
    assert progress["problems_per_second"] == pytest.approx(2 / progress["elapsed_seconds"])
    assert progress["tokens"] == {"prompt": 20, "completion": 8, "cached": 4, "reused": 0}
    assert job["quarantined"] == [{"position": 3, "stage": "edit", "error": "boom"}]
    counts = client.get(f"/v1/injection-jobs/{job_id}/funnel").json()
    assert (counts["complete"], counts["problems"]["total"], counts["problems"]["kept"]) == (False, 2, 2)
    retried = client.post(f"/v1/injection-jobs/{job_id}/retry")
    assert retried.status_code == 202
    assert retried.json()["progress"]["shards"]["quarantined"] == 0
    assert client.post(f"/v1/injection-jobs/{job_id}/retry").status_code == 409


def test_cancel(client: CheckedClient, database: Database) -> None:
    set_id = post_problems(client)
    bring(client, set_id)
    idle = post_job(client, set_id)["id"]
    answer = client.post(f"/v1/injection-jobs/{idle}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled"), "nothing runs: it ends at once"
    assert client.post(f"/v1/injection-jobs/{idle}/cancel").status_code == 409
    busy = post_job(client, set_id)["id"]
    with database.begin() as session:
        shard_id = session.scalars(select(Shard.id).where(Shard.injection_job_id == busy)).one()
        assert claim(session, shard_id, "w", 60) is not None
    assert client.post(f"/v1/injection-jobs/{busy}/cancel").json()["state"] == "cancelling"
    assert client.post(f"/v1/injection-jobs/{busy}/cancel").status_code == 202, "asking twice changes nothing"


def add_outputs(database: Database, job_id: str, workspace_id: str = DEFAULT_WORKSPACE) -> list[str]:
    """One solution with an edit and a step pair per problem, and one full pair; returns the pairs' ids."""
    pairs = []
    with database.begin() as session:
        shard = session.scalars(select(Shard).where(Shard.injection_job_id == job_id)).first()
        assert shard is not None
        for n, problem in enumerate(session.scalars(select(ProblemRow).order_by(ProblemRow.position))):
            ids = {"job_id": job_id, "shard_id": shard.id, "problem_id": problem.id}
            solution = SolutionRow(id=new_id("sol"), sample_index=0, source="a", text="1 = 1", verdict="correct", **ids)
            session.add(solution)
            session.flush()
            edit = EditRow(
                id=new_id("edit"), solution_id=solution.id, step_index=0, kind="calculation", start=0, end=5,
                original="1 = 1", edited="1 = 2", evidence_kind="contradiction", **ids,
            )  # fmt: skip
            session.add(edit)
            session.flush()
            pair = PairRow(
                id=new_id("pair"), workspace_id=workspace_id, solution_id=solution.id, pair_key=f"p{n}",
                type="step" if n else "full", question=problem.question, chosen="1 = 1", rejected="1 = 2", source="a",
                error_kind="calculation" if n else None, evidence_kind="contradiction" if n else None,
                edit_id=edit.id if n else None, **ids,
            )  # fmt: skip
            session.add(pair)
            pairs.append(pair.id)
    return pairs


def test_what_a_job_wrote_can_be_browsed(client: CheckedClient, database: Database) -> None:
    set_id = post_problems(client)
    bring(client, set_id)
    job_id = post_job(client, set_id)["id"]
    pairs = add_outputs(database, job_id)
    base = f"/v1/injection-jobs/{job_id}"
    assert len(client.get(f"{base}/solutions").json()["data"]) == 5
    assert client.get(f"{base}/solutions?verdict=incorrect").json()["data"] == []
    assert len(client.get(f"{base}/edits?kind=calculation&evidence=contradiction").json()["data"]) == 5
    assert {pair["id"] for pair in client.get(f"{base}/pairs").json()["data"]} == set(pairs)
    assert [pair["id"] for pair in client.get("/v1/pairs?type=full").json()["data"]] == [pairs[0]]
    assert len(client.get(f"/v1/pairs?error_kind=calculation&evidence=contradiction&job={job_id}").json()["data"]) == 4
    problem = client.get(f"/v1/pairs/{pairs[2]}").json()["problem"]
    assert [pair["id"] for pair in client.get(f"/v1/pairs?problem={problem}").json()["data"]] == [pairs[2]]
    assert client.get("/v1/pairs?type=half").status_code == 422
    assert client.get("/v1/pairs?job=inj_none").json()["errors"][0]["field"] == "job"
    assert client.get(f"/v1/pairs?job={set_id}").json()["errors"][0]["field"] == "job"
    assert client.get("/v1/pairs/pair_none").status_code == 404
    assert "problem set" in client.get(f"/v1/pairs/{set_id}").json()["detail"]


def test_rules_preset_is_the_default_body(client: CheckedClient) -> None:
    presets = {preset["name"]: preset["config"] for preset in client.get("/v1/presets").json()["data"]}
    assert {"errata", "paper", "scripts", "rules", "full-only", "step-only", "random-token"} <= set(presets)
    assert presets[str(RULES["preset"])]["editing"]["editor"] == "rules"


def test_limits_that_nobody_sets_are_the_domains(client: CheckedClient, database: Database) -> None:
    problems = [
        {"question": "Write f.", "gold_answer": "def f(x): return x + 1", "meta": {"tests": ["assert f(1) == 2"]}}
    ]
    answer = client.post("/v1/problem-sets", json={"name": "c", "domain": "code", "problems": problems})
    assert answer.status_code == 201, answer.text
    add_model(database)
    body = {"problem_set": answer.json()["id"], "language_model": "tiny"}
    config = client.post("/v1/injection-jobs", json=body).json()["config"]
    assert (config["sampling"]["max_tokens"], config["editing"]["max_tokens"]) == (2048, 128)
    own = client.post("/v1/injection-jobs", json={**body, "config": {"editing": {"max_tokens": 99}}}).json()["config"]
    assert (own["sampling"]["max_tokens"], own["editing"]["max_tokens"]) == (2048, 99)
