"""The same import again is the same dataset: at once, in another workspace, and behind a request that was quicker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from fastapi.testclient import TestClient
from sqlalchemy import update

from api.imports.routes import add_import, again_behind_another, existing_import
from models.files import FileStore
from models.outputs import Dataset
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import DEFAULT_WORKSPACE, Workspace
from tests.api.conftest import CheckedClient
from tests.api.imports.conftest import Finish, send
from tests.api.imports.test_imports import openai_row
from tests.api.plain_clients import local

__all__ = ["local"]  # a fixture


def test_other_workspaces_see_nothing_of_it(client: CheckedClient, finish: Finish, database: Database) -> None:
    """Equal files of two workspaces are two datasets."""
    own = send(client, [openai_row(0)]).json()["id"]
    with database.begin() as session:
        session.add(Workspace(id="ws_other", name="other"))
        session.flush()
        session.execute(update(Dataset).where(Dataset.id == own).values(workspace_id="ws_other"))
    again = send(client, [openai_row(0)])
    assert (again.status_code, again.json()["id"] != own) == (202, True)
    assert client.get(f"/v1/datasets/{own}").status_code == 404


def test_equal_imports_at_once_are_one_dataset(client: CheckedClient, store: StoreSettings) -> None:
    rows = [openai_row(at) for at in range(50)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: send(client, rows), range(4)))
    assert {answer.status_code for answer in answers} <= {200, 202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len({name.split("/")[0] for name in FileStore(store.files).names("imports")}) == 1


def test_an_import_that_another_request_added_meanwhile_keeps_its_key(
    local: TestClient, sqlite_database: Database
) -> None:
    """One that had looked before the other's commit takes nothing away from it: it collides, and looks again."""
    found = send(local, [openai_row(0)]).json()["id"]
    with sqlite_database.read() as session:
        key = str(session.get_one(Dataset, found).import_key)
    late = Dataset(id="ds_late", workspace_id=DEFAULT_WORKSPACE, name="late", import_key=key, config={})

    def attempt() -> str:
        attempts.append(key)
        with sqlite_database.begin() as session:
            known = existing_import(session, DEFAULT_WORKSPACE, key) if len(attempts) > 1 else None
            return known or add_import(session, late, key)[0].id

    attempts: list[str] = []
    assert again_behind_another(attempt) == found
    assert len(attempts) == 2
