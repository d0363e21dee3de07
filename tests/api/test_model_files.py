"""Downloading a trained language model: what its manifest lists, whole or in parts, and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

from models.base import new_id
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel, Workspace
from tests.api.conftest import CheckedClient
from workers.training.folders import write_folder

CARD, WEIGHTS = "# Card\n", bytes(range(256)) * 40


def trained(
    database: Database, store: StoreSettings, name: str = "tiny-rise", workspace: str = DEFAULT_WORKSPACE
) -> str:
    """A registered result of a training run with real files; the answer is its folder."""

    def fill(folder: Path) -> None:
        (folder / "README.md").write_text(CARD)
        (folder / "model.safetensors").write_bytes(WEIGHTS)

    run_id = new_id("train")
    folder = Path(store.files) / "models" / run_id
    write_folder(folder, fill, {"run_id": run_id})
    (folder / "secret.txt").write_text("not in the manifest")
    with database.begin() as session:
        if session.get(Workspace, workspace) is None:
            session.add(Workspace(id=workspace, name=workspace))
            session.flush()
        entry = {"engine": "transformers", "config": {"path": str(folder)}, "training_run_id": run_id}
        session.add(LanguageModel(id=new_id("model"), workspace_id=workspace, name=name, **entry))
    return str(folder)


def test_every_file_comes_whole_and_in_parts(client: CheckedClient, database: Database, store: StoreSettings) -> None:
    folder = trained(database, store)
    files = {row["path"]: row for row in client.get("/v1/models/tiny-rise/files").json()["data"]}
    assert set(files) == {"README.md", "model.safetensors", "manifest.json"}
    assert folder not in str(files), "where it is stored is not told"
    for row in files.values():
        answer = client.get(row["url"])
        assert (answer.status_code, len(answer.content)) == (200, row["bytes"])
        assert hashlib.sha256(answer.content).hexdigest() == row["sha256"]
        assert answer.headers["etag"] == f'"{row["sha256"]}"'
    part = client.get(files["model.safetensors"]["url"], headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, WEIGHTS[100:200])


def test_nothing_else_comes(client: CheckedClient, database: Database, store: StoreSettings) -> None:
    folder = trained(database, store)
    trained(database, store, "theirs", "ws_other")
    with database.begin() as session:
        own = {"workspace_id": DEFAULT_WORKSPACE, "engine": "transformers", "config": {"path": folder}}
        session.add(LanguageModel(id=new_id("lm"), name="operators", **own))
    for path in ("secret.txt", "../../errata.db", "%2e%2e/x", "README.md/", "nothing"):
        assert client.get(f"/v1/models/tiny-rise/files/{path}").status_code == 404, path
    for name in ("operators", "theirs", "unknown"):
        refused = client.get(f"/v1/models/{name}/files")
        assert refused.status_code == 404, name
    assert "operator's" in client.get("/v1/models/operators/files").json()["detail"]
    Path(folder, "manifest.json").unlink()
    assert client.get("/v1/models/tiny-rise/files").status_code == 404
