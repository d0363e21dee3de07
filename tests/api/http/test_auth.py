"""API keys, scopes, workspaces, and what loopback allows without a key."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi import APIRouter
from sqlalchemy import update

from api.http.auth import SCOPES, BindingRefused, Scope, check_binding, create_key, revoke_key
from api.settings import ApiSettings
from errata.study_config import ArmConfig, CampaignConfig, StudyConfig
from models.base import db_now, new_id
from models.outputs import Dataset, Evaluation, Rejudging, TrainingRun
from models.session import Database
from models.studies import Campaign, Study
from models.uploads import FineTuningJob, UploadedFile
from models.workspaces import ApiKey, LanguageModel
from tests.api.conftest import CheckedClient, KeptHints, bring, post_job, post_problems
from tests.api.test_injection_jobs import add_outputs


def make_key(database: Database, workspace: str = "default", **more: Any) -> tuple[str, dict[str, str]]:
    with database.begin() as session:
        key, token = create_key(session, "test", workspace=workspace, **more)
    return key.id, {"authorization": f"Bearer {token}"}


def test_a_key_opens_its_workspace_until_it_is_revoked(client: CheckedClient, database: Database) -> None:
    key_id, headers = make_key(database)
    assert client.get("/v1/pairs", headers=headers).status_code == 200
    with database.read() as session:
        row = session.get_one(ApiKey, key_id)
    assert row.last_used_at is not None
    assert headers["authorization"].split("_")[-1] not in str(vars(row)), "the secret is kept nowhere"
    with database.begin() as session:
        assert revoke_key(session, key_id)
        assert not revoke_key(session, key_id)
    refused = client.get("/v1/pairs", headers=headers)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")


def test_expired_and_wrong_keys(client: CheckedClient, database: Database) -> None:
    key_id, headers = make_key(database, expires_in=timedelta(hours=1))
    assert client.get("/v1/pairs", headers=headers).status_code == 200
    with database.begin() as session:
        session.execute(update(ApiKey).where(ApiKey.id == key_id).values(expires_at=db_now(-1)))
    token = headers["authorization"].removeprefix("Bearer ")
    wrong = [
        token,
        token[:-1] + "x",
        token + "x",
        "errata_x_y",
        "errata__",
        "errata_a_b_c",
        "sk-1",
        "\u00e9",
        "errata_\x00_x",
    ]
    for value in wrong:
        sent = {"authorization": f"Bearer {value}".encode("latin-1")}
        assert client.get("/v1/pairs", headers=sent).status_code == 401, value
    for value in ("Basic YTpi", "Bearer", "errata_a_b"):
        assert client.get("/v1/pairs", headers={"authorization": value}).status_code == 401, value


def test_keyless_requests_end_with_the_first_key(client: CheckedClient, database: Database) -> None:
    assert client.get("/v1/pairs").status_code == 200
    make_key(database, "elsewhere")
    assert client.get("/v1/pairs").status_code == 401
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "errata.evil.example"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"host": "127.0.0.1.evil.example:8000"},
        {"host": "10.0.0.7:8000"},
    ],
)
def test_other_sites_cannot_use_a_visitors_browser(local: CheckedClient, headers: dict[str, str]) -> None:
    answer = local.post("/v1/problem-sets", json={"name": "x"}, headers=headers)
    assert answer.status_code == 403


def test_own_pages_may(local: CheckedClient) -> None:
    assert local.get("/v1/pairs", headers={"origin": "http://127.0.0.1:8000"}).status_code == 200
    assert (
        local.get("/v1/pairs", headers={"host": "localhost:8000", "origin": "http://localhost:8000"}).status_code == 200
    )


def test_keys_may_be_asked_for_always(make_client: Callable[..., CheckedClient]) -> None:
    assert make_client(require_key="always").get("/v1/pairs").status_code == 401
    assert make_client(host="0.0.0.0").get("/v1/pairs").status_code == 401


SCOPED: list[tuple[Scope, str, str, int]] = [
    ("read", "GET", "/v1/pairs", 200),
    ("read", "POST", "/v1/injection-jobs", 403),
    ("read", "POST", "/v1/training-jobs", 403),
    ("write", "GET", "/v1/pairs", 200),
    ("write", "POST", "/v1/injection-jobs", 422),
    ("write", "POST", "/v1/training-jobs", 403),
    ("train", "POST", "/v1/training-jobs", 422),
    ("write", "POST", "/v1/training-jobs:preview", 403),
    ("train", "POST", "/v1/training-jobs:preview", 422),
    ("train", "POST", "/v1/datasets", 403),
    ("admin", "POST", "/v1/training-jobs", 422),
    ("admin", "POST", "/v1/problem-sets", 422),
]


def test_scopes(local: CheckedClient, sqlite_database: Database) -> None:
    for scope, method, path, status in SCOPED:
        _, headers = make_key(sqlite_database, scopes=[scope])
        answer = local.request(method, path, headers=headers, json={} if method == "POST" else None)
        assert answer.status_code == status, (scope, path, answer.text)
        if status == 403:
            assert "lacks the scope" in answer.json()["detail"]


def test_unknown_scopes_are_refused(sqlite_database: Database) -> None:
    with sqlite_database.begin() as session:
        for scopes in ([], ["root"]):
            with pytest.raises(ValueError, match="scopes must be"):
                create_key(session, "x", scopes=scopes)  # type: ignore[arg-type]


def test_binding_beyond_loopback_needs_a_usable_key(database: Database) -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9"):
        check_binding(ApiSettings(host=host), database)
    with pytest.raises(BindingRefused, match="errata keys create"):
        check_binding(ApiSettings(host="0.0.0.0"), database)
    key_id, _ = make_key(database)
    check_binding(ApiSettings(host="0.0.0.0"), database)
    with database.begin() as session:
        revoke_key(session, key_id)
    for host in ("0.0.0.0", "::", "10.1.2.3", "errata.example"):
        with pytest.raises(BindingRefused):
            check_binding(ApiSettings(host=host), database)


def add_rows(database: Database, workspace_id: str, job_id: str) -> dict[str, str]:
    """A dataset, training run and evaluation of a workspace, by the prefix of their ids."""
    with database.begin() as session:
        model = LanguageModel(
            id=new_id("model"), workspace_id=workspace_id, name="own", engine="transformers", config={}
        )
        model.training_run_id = "train_before"  # its own, even where the workspace is the default one
        dataset = Dataset(
            id=new_id("ds"), workspace_id=workspace_id, name="d", config={"jobs": [job_id]}, state="succeeded",
            folder="datasets/x", manifest={"files": [{"path": "README.md", "bytes": 3, "sha256": "00" * 32}]},
        )  # fmt: skip
        session.add_all([model, dataset])
        session.flush()
        run = TrainingRun(
            id=new_id("train"), workspace_id=workspace_id, dataset_id=dataset.id, base_model_id=model.id,
            output_name="out", config={},
        )  # fmt: skip
        session.add(run)
        session.flush()
    return {"ds": dataset.id, "train": run.id, "model": model.id}


def add_openai_rows(database: Database, workspace_id: str, run_id: str) -> dict[str, str]:
    """An uploaded file, and the training run as a fine-tuning job, by the parameters of their paths."""
    with database.begin() as session:
        file = UploadedFile(
            id=new_id("file"), workspace_id=workspace_id, name="f", purpose="fine-tune", size=0, sha256="0", report={}
        )
        session.get_one(TrainingRun, run_id).config = {"seed": 0}
        job = FineTuningJob(run_id=run_id, training_file="file-x", method="dpo", hyperparameters={})
        session.add_all([file, job])
    return {"file_id": file.id.replace("_", "-"), "fine_tuning_job_id": run_id.replace("train_", "ftjob-")}


def add_studies(database: Database, workspace_id: str, set_id: str, model_id: str) -> dict[str, str]:
    """A study and a campaign, by the parameters of their paths."""
    common: dict[str, Any] = {"workspace_id": workspace_id, "problem_set_id": set_id, "language_model_id": model_id}
    config = StudyConfig(arms=[ArmConfig(name="a")]).model_dump(mode="json")
    study = Study(id=new_id("study"), test_set_id=set_id, config=config, **common)
    config = CampaignConfig().model_dump(mode="json")
    campaign = Campaign(id=new_id("camp"), evaluation_set_id=set_id, config=config, **common)
    with database.begin() as session:
        session.add_all([study, campaign])
    return {"study_id": study.id, "campaign_id": campaign.id}


LISTS = (
    "problem-sets",
    "injection-jobs",
    "pairs",
    "datasets",
    "training-jobs",
    "evaluations",
    "studies",
    "campaigns",
    "models",
    "estimates",
    "rejudgings",
    "webhooks",
    "files",
    "fine_tuning/jobs",
)


def test_workspace_matrix(client: CheckedClient, database: Database, hints: KeptHints) -> None:
    """Every operation with an id, with another workspace's key: 404, the same as for an id that never was."""
    _, mine = make_key(database, "mine", scopes=SCOPES)
    _, theirs = make_key(database, "theirs", scopes=SCOPES)
    client.headers.update(mine)
    set_id = post_problems(client)
    bring(client, set_id)
    job_id = post_job(client, set_id)["id"]
    workspace_id = client_workspace(database, mine)
    ids = {"problem_set_id": set_id, "job_id": job_id, "pair_id": add_outputs(database, job_id, workspace_id)[0]}
    rows = add_rows(database, workspace_id, job_id)
    ids |= {"dataset_id": rows["ds"], "run_id": rows["train"], "name": "own", "path": "README.md"}
    ids["step"] = "4"  # of the run's checkpoints
    with database.begin() as session:
        evaluation = Evaluation(id=new_id("eval"), workspace_id=workspace_id, problem_set_id=set_id, config={})
        evaluation.language_model_id = rows["model"]
        session.add(evaluation)
    ids["evaluation_id"] = evaluation.id
    ids |= add_studies(database, workspace_id, set_id, rows["model"])
    ids["retraction_id"] = client.post(f"/v1/injection-jobs/{job_id}/retract", json={"reason": "r"}).json()["id"]
    ids["other_id"] = rows["ds"]
    pilot = {"problem_set": set_id, "preset": "rules", "config": {"sampling": {"source": "brought"}}}
    ids["estimate_id"] = client.post("/v1/injection-jobs:estimate", json=pilot).json()["id"]
    with database.begin() as session:
        rejudging = Rejudging(
            id=new_id("rejudge"), workspace_id=workspace_id, injection_job_id=job_id, verifier="math/1"
        )
        session.add(rejudging)
    ids["rejudging_id"] = rejudging.id
    ids |= {"key_id": "key_" + mine["authorization"].split("_")[1], "workspace": "mine"}
    ids["webhook_id"] = client.post("/v1/webhooks", json={"url": "https://example.com/hooks"}).json()["id"]
    ids["delivery_id"] = client.post(f"/v1/webhooks/{ids['webhook_id']}/test").json()["id"]
    ids |= add_openai_rows(database, workspace_id, rows["train"])
    operations = routes_with_ids(client.app, set(ids))
    assert len(operations) >= 40, "the list is the application's own"
    for method, path in operations:
        seen = [_ask(client, method, path, known, theirs) for known in (ids, {k: _fake(v) for k, v in ids.items()})]
        assert [status for status, _ in seen] == [404, 404], (method, path, seen)
        assert seen[0][1].keys() == seen[1][1].keys()
        assert seen[0][1]["detail"] == seen[1][1]["detail"], (method, path)
    for path in LISTS:
        assert client.get(f"/v1/{path}", headers=theirs).json()["data"] == [], path
        assert len(client.get(f"/v1/{path}", headers=mine).json()["data"]) >= 1, path
    body = {"problem_set": set_id, "preset": "rules", "config": {"sampling": {"source": "brought"}}}
    assert client.post("/v1/injection-jobs", json=body, headers=theirs).json()["errors"][0]["field"] == "problem_set"
    body = {"dataset": rows["ds"], "base_model": "own", "output_name": "n"}
    assert client.post("/v1/training-jobs", json=body, headers=theirs).json()["errors"][0]["field"] == "dataset"
    del body["output_name"]
    for dataset in (rows["ds"], _fake(rows["ds"])):  # known and never there: the same answer
        refused = client.post("/v1/training-jobs:preview", json={**body, "dataset": dataset}, headers=theirs).json()
        assert [(e["field"], e["message"]) for e in refused["errors"]] == [("dataset", "there is no such dataset")]


def routes_with_ids(app: Any, known: set[str]) -> list[tuple[str, str]]:
    """Method and path of every route below ``/v1`` that names a row. Fails by name where no row stands for an id."""
    found = []
    for route in _routes_of(app):
        names = set(re.findall(r"{(\w+)(?::\w+)?}", route.path))
        if not route.path.startswith("/v1") or not names:
            continue
        unknown = names - known
        assert not unknown, f"{route.path}: add a row for {', '.join(sorted(unknown))} to the workspace matrix"
        found += [(method, route.path) for method in sorted(route.methods - {"HEAD"})]
    return found


def _routes_of(app: Any) -> list[Any]:
    """The routes of the application and of what is included or mounted, also those that OpenAPI does not show."""
    found: list[Any] = []
    for route in app.routes:
        below = getattr(route, "original_router", None) or (route if hasattr(route, "routes") else None)
        found += _routes_of(below) if below is not None else [route] if hasattr(route, "methods") else []
    return found


def test_a_new_route_without_a_row_fails_the_matrix_by_name(client: CheckedClient) -> None:
    router = APIRouter(prefix="/v1")

    @router.get("/novelties/{novelty_id}", include_in_schema=False)
    def get_novelty(novelty_id: str) -> str:
        return novelty_id

    app: Any = client.app
    app.include_router(router)
    with pytest.raises(AssertionError, match=r"novelties.*add a row for novelty_id to the workspace matrix"):
        routes_with_ids(app, {"job_id", "problem_set_id", "pair_id", "dataset_id", "run_id", "evaluation_id", "name",
                              "path", "rejudging_id", "estimate_id", "other_id", "retraction_id", "step", "key_id",
                              "workspace", "webhook_id", "delivery_id", "file_id", "fine_tuning_job_id", "study_id",
                              "campaign_id"})  # fmt: skip


def client_workspace(database: Database, headers: dict[str, str]) -> str:
    key_id = "key_" + headers["authorization"].split("_")[1]
    with database.read() as session:
        return session.get_one(ApiKey, key_id).workspace_id


def _fake(row_id: str) -> str:
    prefix, mark, rest = row_id.partition("_")
    return f"{prefix}_{'0' * len(rest)}" if mark else row_id[::-1]


#: What operations with an id need as their body, by method and end of the path.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("post", "/solutions"): {"solutions": [{"problem": 0, "source": "s", "text": "t"}]},
    ("put", "/review"): {"verdict": "accepted"},
    ("post", "{job_id}/retract"): {"reason": "r"},
    ("post", "{problem_set_id}/retract"): {"reason": "r", "problem": "p"},
    ("post", "{job_id}/extend"): {"problems": "rest"},
    ("put", "{job_id}/stop"): {"accepted_pairs": 1},
    ("post", "{step}/resume"): {},
    ("post", "{step}/model"): {"name": "m"},
    ("patch", "{webhook_id}"): {"enabled": False},
    ("patch", ""): {"tags": ["t"]},
    ("put", "/quota"): {"jobs": 1},
}


def _ask(
    client: CheckedClient, method: str, path: str, ids: dict[str, str], headers: dict[str, str]
) -> tuple[int, dict[str, Any]]:
    url = path
    for name, row_id in ids.items():
        url = re.sub(r"{" + name + r"(:\w+)?}", row_id, url)
    assert "{" not in url, url
    if path.endswith("/comparison"):
        url += "?with=" + ids["evaluation_id"]
    body = next((body for (verb, end), body in BODIES.items() if verb == method.lower() and path.endswith(end)), None)
    answer = client.request(method.upper(), url, headers=headers, json=body)
    return answer.status_code, answer.json()
