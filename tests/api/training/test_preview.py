"""``POST /v1/training-jobs:preview`` on a real dataset and tokenizer, and what a job does that a preview refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from sqlalchemy import select

from errata_client import ApiError, Errata
from models.outputs import Dataset, TrainingRun
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel
from tests.api.conftest import CheckedClient, post_problems
from tests.api.test_injection_jobs import add_model
from tests.training.conftest import make_dataset, make_model, make_rows
from workers.training.supervise.daemon import TrainerDaemon
from workers.training.supervise.settings import TrainerSettings

PREVIEW = "/v1/training-jobs:preview"
BODY: dict[str, Any] = {"dataset": "ds_1", "base_model": "tiny"}


@pytest.fixture
def frozen(client: CheckedClient, database: Database, tmp_path: Path) -> None:
    """A dataset of 32 pairs and a tiny model."""
    post_problems(client)  # the workspace
    add_model(database, config={"path": str(make_model(tmp_path / "base")), "dtype": "float32", "max_context": 512})
    folder = make_dataset(tmp_path / "dataset", make_rows())
    common = {"workspace_id": DEFAULT_WORKSPACE, "config": {}, "sha256": "0" * 64}
    with database.begin() as session:
        session.add(Dataset(**common, id="ds_1", name="pairs", folder=str(folder), state="succeeded"))
        session.add(Dataset(**common, id="ds_2", name="later", folder=None, state="running"))


@pytest.mark.usefixtures("frozen")
def test_what_would_be_trained(client: CheckedClient, database: Database) -> None:
    answer = client.post(PREVIEW, json={**BODY, "config": {"batch_size": 8}, "examples": 2})
    assert answer.status_code == 200, answer.text
    seen = answer.json()
    assert (seen["refused"], seen["rows"], seen["examined"], seen["steps"]) == (None, 32, 32, 4)
    assert (seen["report"]["trained"], seen["report"]["lost"], seen["config"]["batch_size"]) == (32, 0, 8)
    assert seen["tokens"]["ratio"] > 2
    assert seen["memory_bytes"] > 16 * seen["parameters"]
    step, other = seen["examples"]
    assert (step["type"], step["error_kind"], other["error_kind"]) == ("step", "calculation", "operator")
    start, stop = step["rejected"]["divergent"]
    tokens = [token["text"] for token in step["rejected"]["tokens"]]
    assert "".join(tokens[start:stop]).strip() == "1", "the made error, to the token"
    assert not step["chosen"]["ends_with_eos"]
    with database.read() as session:
        assert session.scalar(select(TrainingRun)) is None, "nothing was started"


@pytest.mark.usefixtures("frozen")
def test_what_would_be_refused_is_counted(client: CheckedClient) -> None:
    seen = client.post(PREVIEW, json={**BODY, "config": {"max_length": 130}}).json()
    assert "of 32 pairs have no gradient" in seen["refused"]
    assert seen["report"]["lost"] > 0
    seen = client.post(PREVIEW, json={**BODY, "config": {"max_length": 8, "ineffective": "drop"}}).json()
    assert "nothing" in seen["refused"]
    assert (seen["report"]["trained"], seen["examples"], seen["steps"]) == (0, [], None)


@pytest.mark.usefixtures("frozen")
def test_refused_previews(client: CheckedClient, database: Database) -> None:
    add_model(database, "remote", engine="openai", config={"base_url": "http://127.0.0.1:1/v1", "model": "m"})
    refused: list[tuple[dict[str, Any], str]] = [
        ({"dataset": "ds_0"}, "dataset"),
        ({"dataset": "../../etc"}, "dataset"),
        ({"base_model": "remote"}, "base_model"),
        ({"base_model": "/etc/passwd"}, "base_model"),
        ({"preset": "x"}, "preset"),
        ({"config": {"preset": "paper"}}, "config.preset"),
        ({"config": {"beta": 0}}, "config.beta"),
        ({"examples": 11}, "examples"),
        ({"output_name": "n"}, "output_name"),
    ]
    for change, field in refused:
        answer = client.post(PREVIEW, json={**BODY, **change})
        assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [field]), change
    assert client.post(PREVIEW, json={**BODY, "dataset": "ds_2"}).status_code == 409


@pytest.mark.usefixtures("frozen")
def test_paths_are_not_told(client: CheckedClient, database: Database, tmp_path: Path) -> None:
    with database.begin() as session:
        model = session.scalars(select(LanguageModel).where(LanguageModel.name == "tiny")).one()
        model.config = {"path": str(tmp_path / "gone")}
    seen = client.post(PREVIEW, json=BODY).json()
    assert "does not exist" in seen["refused"]
    assert str(tmp_path) not in str(seen)


@pytest.mark.usefixtures("frozen")
def test_it_is_bounded_in_time_and_number(make_client: Callable[..., CheckedClient]) -> None:
    hasty = make_client(previews=1, preview_seconds=0.01)
    answer = hasty.post(PREVIEW, json=BODY)
    assert (answer.status_code, "longer than 0.01 s" in answer.json()["detail"]) == (409, True)
    assert hasty.post(PREVIEW, json=BODY).status_code == 409, "the slot is free again"
    slots = hasty.app.state.api.previews  # type: ignore[attr-defined]
    assert slots.acquire(blocking=False)
    busy = hasty.post(PREVIEW, json=BODY)
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "2")


@pytest.mark.usefixtures("frozen")
def test_from_the_client(client: CheckedClient) -> None:
    def forward(request: httpx.Request) -> httpx.Response:
        headers = {"content-type": "application/json"}
        answer = client.request(request.method, request.url.path, content=request.read(), headers=headers)
        return httpx.Response(answer.status_code, headers={"content-type": answer.headers["content-type"]},
                              content=answer.content)  # fmt: skip

    with Errata("http://127.0.0.1:8000", transport=httpx.MockTransport(forward)) as errata:
        seen = errata.training_jobs.preview("ds_1", base_model="tiny", config={"epochs": 3}, examples=1)
        assert (seen.refused, seen.config["epochs"], len(seen.examples)) == (None, 3, 1)
        with pytest.raises(ApiError, match="no such dataset"):
            errata.training_jobs.preview("ds_9", base_model="tiny")


@pytest.mark.slow
@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"max_length": 130}, "of 32 pairs have no gradient"),
        ({"max_length": 8, "ineffective": "drop"}, "nothing to train on"),
    ],
)
def test_such_a_job_fails_at_its_start(
    client: CheckedClient, database: Database, store: StoreSettings, config: dict[str, Any], why: str
) -> None:
    run = client.post("/v1/training-jobs", json={**BODY, "output_name": "new", "config": config}).json()
    daemon = TrainerDaemon(database, store, TrainerSettings(threads=1))
    assert daemon.run_once(threading.Event())
    after = client.get(f"/v1/training-jobs/{run['id']}").json()
    assert (after["state"], after["failures"], after["step"]) == ("failed", 1, 0)
    assert why in after["error"]
