"""The commands that care for what is stored, as docs/operations.md gives them: each of its lines runs here."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from cli.main import main
from models import migrate
from models.backup import BackupError, back_up, restore
from models.base import Base
from models.files import FileStore
from models.folders import fingerprint, list_files, write_manifest
from models.session import Database
from models.settings import StoreSettings
from models.stored import verify_files
from models.workspace_deletion import WorkspaceInUse, delete_workspace
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel, Workspace
from tests.processes import environment

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
OWNED = ("problem_sets", "injection_jobs", "datasets", "training_runs", "language_models", "api_keys", "events")
Shell = Callable[[str], str]


def commands(heading: str) -> list[list[str]]:
    """The lines of each code block of a section of the document."""
    section = re.split(r"(?m)^#{2,3} ", DOCUMENT.split(f"# {heading}\n")[1])[0]
    return [block.strip().splitlines() for block in re.findall(r"(?s)```sh\n(.*?)```", section)]


def publish(store: StoreSettings, folder: str, content: str) -> tuple[dict[str, Any], str]:
    """Store a folder of one file; its manifest, and the manifest's SHA-256."""
    files = FileStore(store.files)
    with files.scratch() as built:
        (built / "data.jsonl").write_text(content)
        manifest = {"files": list_files(built)}
        digest = hashlib.sha256(write_manifest(built, manifest)).hexdigest()
        files.publish(built, folder)
    return manifest, digest


def fill(db: Database, store: StoreSettings, owner: str) -> None:
    """Give a workspace, named and made here, a job with its dataset, a run with a checkpoint and a model, and a key."""
    ids = {name: f"{name}_{owner}" for name in ("ws", "pset", "job", "ds", "train", "model", "base", "key")}
    of = {"workspace_id": ids["ws"]}
    data, data_digest = publish(store, f"datasets/{ids['ds']}-0123", "pairs")
    checkpoint, _ = publish(store, f"training/{ids['train']}/checkpoints/step-1", "weights")
    model, _ = publish(store, f"models/{ids['train']}", "more weights")
    root = Path(store.files)
    path = root / "models" / ids["train"]
    rows: dict[str, list[dict[str, Any]]] = {
        "workspaces": [{"id": ids["ws"], "name": owner}],
        "api_keys": [{**of, "id": ids["key"], "name": "k", "secret_sha256": "0", "scopes": ["read"]}],
        "problem_sets": [{**of, "id": ids["pset"], "name": "p", "domain": "math", "content_sha256": "0"}],
        "problems": [{"id": f"prob_{owner}", "problem_set_id": ids["pset"], "position": 0, "question": "?",
                      "gold_answer": "2"}],
        "injection_jobs": [{**of, "id": ids["job"], "problem_set_id": ids["pset"], "state": "succeeded", "config": {}}],
        "job_summaries": [{"job_id": ids["job"], "counts": {}}],
        "shards": [{"id": f"shard_{owner}", "injection_job_id": ids["job"], "position": 0, "stage": "pair",
                    "state": "done"}],
        "problem_errors": [{"shard_id": f"shard_{owner}", "problem_id": f"prob_{owner}", "stage": "grade",
                            "type": "E", "message": "m", "trace": "t"}],
        "datasets": [{**of, "id": ids["ds"], "name": "d", "config": {}, "state": "succeeded", "manifest": data,
                      "folder": f"datasets/{ids['ds']}-0123", "sha256": data_digest}],
        "dataset_sources": [{"dataset_id": ids["ds"], "job_id": ids["job"]}],
        "language_models": [
            {**of, "id": ids["base"], "name": "base", "engine": "transformers", "config": {"path": "hub/name"}},
            {**of, "id": ids["model"], "name": "rise", "engine": "transformers", "base_model_id": ids["base"],
             "config": {"path": str(path)}, "training_run_id": ids["train"], "fingerprint": fingerprint(model)},
        ],
        "training_runs": [{**of, "id": ids["train"], "dataset_id": ids["ds"], "base_model_id": ids["base"],
                           "output_model_id": ids["model"], "output_name": "rise", "state": "succeeded", "config": {}}],
        "checkpoints": [{"id": f"ckpt_{owner}", "run_id": ids["train"], "step": 1, "size_bytes": 7,
                         "path": str(root / "training" / ids["train"] / "checkpoints/step-1"), "manifest": checkpoint}],
        "events": [{**of, "subject_id": ids["job"], "type": "t"}],
        "tags": [{**of, "subject_id": ids["job"], "tag": "x"}],
    }  # fmt: skip
    with db.begin() as session:
        for table, values in rows.items():
            for row in values:
                session.execute(Base.metadata.tables[table].insert(), row)


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Iterator[StoreSettings]:
    """A service's database, migrated, and files, with what one workspace has."""
    migrate.upgrade(database_url)
    store = StoreSettings(ERRATA_HOME=tmp_path / "home", DATABASE_URL=database_url)
    db = Database(database_url)
    fill(db, store, "acme")
    yield store
    db.dispose()


@pytest.fixture
def shell(
    store: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """Run a line of the document in an empty folder; what it printed. ``errata`` runs in this process: it is faster."""
    for name, value in environment(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DATABASE_URL", store.database_url.replace("+psycopg", ""))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(line: str) -> str:
        found = re.fullmatch(r"((?:[A-Z_]+=\S* )*)errata (.*)", line)
        if found is None:
            return subprocess.run(["bash", "-c", line], check=True, capture_output=True, text=True).stdout
        with monkeypatch.context() as patch:
            for setting in found[1].split():
                patch.setenv(*setting.split("=", 1))
            patch.setattr(sys, "argv", ["errata", *found[2].split()])
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
        said = capsys.readouterr()
        assert not ended.value.code, f"{line}: {said.out} {said.err}"
        return said.out

    return run


def refused(shell: Shell, line: str) -> str:
    """What the command that ends with an error said."""
    with pytest.raises(AssertionError) as ended:
        shell(line)
    return str(ended.value)


@pytest.fixture
def postgres_names(store: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """The document's names of servers and databases become the test's; programs are those of this machine."""
    url = make_url(store.database_url)
    new = f"{url.database}_restored"
    for name, value in (("HOST", url.host), ("PORT", url.port), ("USER", url.username), ("PASSWORD", url.password)):
        if value:
            monkeypatch.setenv(f"PG{name}", str(value))
    restored = url.set(drivername="postgresql", database=new).render_as_string(hide_password=False)

    def renamed(line: str) -> str:
        line = line.replace("docker compose exec -T postgres ", "").replace("-U errata", f"-U {url.username}")
        line = line.replace("postgresql://errata@localhost/errata_restored", restored)
        line = line.replace("docker compose cp api:/data/files files", 'cp -a "$ERRATA_HOME/files" files')
        return line.replace("errata_restored", new).replace("--no-owner errata >", f"--no-owner {url.database} >")

    yield renamed
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {new} WITH (FORCE)"))
    engine.dispose()


def check_restored(store: StoreSettings) -> None:
    """A restored service has the same rows, and its paths are the new ones."""
    db = Database(store.database_url)
    assert migrate.check(store.database_url) == []
    found = verify_files(db, store)
    assert (found.folders, found.faults) == (3, [])
    with db.read() as session:
        path = session.get_one(LanguageModel, "model_acme").config["path"]
        assert session.get_one(LanguageModel, "base_acme").config == {"path": "hub/name"}
    assert Path(path) == Path(store.files) / "models" / "train_acme"
    db.dispose()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_backup_and_restore_on_sqlite(shell: Shell, store: StoreSettings, tmp_path: Path) -> None:
    written, restored, _ = commands("In one command")
    said = [shell(line) for line in written]
    assert "3 folders, 3 files" in said[0]
    assert "0 faults" in said[0]
    shutil.rmtree(store.files)
    said = [shell(line.replace("ERRATA_HOME", "DATABASE_URL= ERRATA_HOME", 1)) for line in restored]
    assert "0 faults" in said[1]
    check_restored(StoreSettings(ERRATA_HOME=tmp_path / "here" / "restored", DATABASE_URL=None))
    # Neither an existing backup nor a place with something in it is written over.
    assert "is already there" in refused(shell, "errata backup backups/monday")
    assert "is not empty" in refused(shell, "DATABASE_URL= ERRATA_HOME=restored errata restore backups/monday")
    with Path("backups/monday/errata.db").open("r+b") as file:
        file.write(b"?")
    assert "is corrupt" in refused(shell, "ERRATA_HOME=other errata restore backups/monday")


@pytest.mark.services
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_backup_and_restore_on_postgres(
    shell: Shell, postgres_names: Callable[[str], str], store: StoreSettings, tmp_path: Path
) -> None:
    written, _, restored = commands("In one command")
    for line in [*written, *restored]:
        said = shell(postgres_names(line))
    assert "0 faults" in said
    url = re.findall(r"DATABASE_URL=(\S+)", postgres_names(restored[1]))[0]
    check_restored(StoreSettings(ERRATA_HOME=tmp_path / "here" / "restored", DATABASE_URL=url))
    assert "is not empty" in refused(shell, f"DATABASE_URL={url} ERRATA_HOME=more errata restore backups/monday")
    assert "the backup is of postgresql" in refused(shell, "DATABASE_URL= ERRATA_HOME=x errata restore backups/monday")
    shell(f"dropdb --force {make_url(url).database}")
    # The same by PostgreSQL's own programs, into the same place.
    dumped, brought = commands("With PostgreSQL's own programs")
    for line in [*dumped, *brought]:
        shell(postgres_names(line))
    shutil.rmtree(store.files)
    shutil.copytree("files", store.files)
    assert "0 faults" in shell(f"DATABASE_URL={url} errata verify")


def test_a_backup_of_a_newer_version_is_not_restored(tmp_path: Path) -> None:
    old = StoreSettings(ERRATA_HOME=tmp_path / "old", DATABASE_URL=None)
    migrate.upgrade(old.database_url, "0001")
    with Database(old.database_url).begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    back_up(old, tmp_path / "backup")
    with pytest.raises(BackupError, match="of a newer version"):
        restore(StoreSettings(ERRATA_HOME=tmp_path / "new", DATABASE_URL=None), tmp_path / "backup")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_verify_names_what_does_not_fit(shell: Shell, store: StoreSettings) -> None:
    root = Path(store.files)
    (root / "datasets/ds_acme-0123/data.jsonl").write_text("hairs")
    (root / "training/train_acme/checkpoints/step-1/data.jsonl").write_text("weight")
    (root / "models/train_acme/data.jsonl").unlink()
    assert "ckpt_acme: training/train_acme/checkpoints/step-1/data.jsonl has 6 of 7 bytes" in refused(
        shell, "errata verify --quick"
    )
    said = refused(shell, "errata verify")
    assert "ds_acme: datasets/ds_acme-0123/data.jsonl is corrupt" in said
    assert "model_acme: models/train_acme/data.jsonl is missing" in said
    assert "3 folders, 3 files" in said
    with Database(store.database_url).begin() as session:
        session.execute(text("UPDATE checkpoints SET path = '/elsewhere/step-1'"))
    assert "ckpt_acme: /elsewhere/step-1 lies outside the file store" in refused(shell, "errata verify --quick")
    shutil.rmtree(root / "datasets/ds_acme-0123")
    said = refused(shell, "errata verify --json")
    assert "ds_acme: datasets/ds_acme-0123/manifest.json is missing" in said


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_purge_tells_and_deletes(shell: Shell, store: StoreSettings, database_url: str) -> None:
    publish(store, "datasets/ds_gone-0123", "pairs")
    old = Path(store.files) / "datasets/ds_gone-0123"
    for path in (old, *old.rglob("*")):
        os.utime(path, (0, 0))
    told, *done = commands("Retention and deletion")[0]
    assert "to delete, without a row: datasets/ds_gone-0123" in shell(told)
    assert old.exists()
    assert "deleted, without a row: datasets/ds_gone-0123" in shell(done[0])
    assert not old.exists()
    assert "events: 0 deleted" in shell(f"ERRATA_EVENT_DAYS=1 {done[1]}")
    assert json.loads(shell("errata purge --json")) == {
        "deleted": False, "rows": {"idempotency_keys": 0, "sessions": 0, "audit": 0, "answers": 0},
        "hidden": 0, "folders": []
    }  # fmt: skip


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_workspace_is_counted_and_deleted(shell: Shell, store: StoreSettings) -> None:
    db = Database(store.database_url)
    fill(db, store, "other")
    listed, told, done = commands("Retention and deletion")[1]
    assert "acme" in shell(listed)
    assert re.search(r"checkpoints\s+1\s", shell(told))
    shell(done)
    assert "there is no workspace 'acme'" in refused(shell, done)
    db.dispose()


def test_a_deleted_workspace_leaves_nothing(database: Database, tmp_path: Path) -> None:
    store = StoreSettings(ERRATA_HOME=tmp_path / "home", DATABASE_URL=database.url)
    fill(database, store, "acme")
    with pytest.raises(WorkspaceInUse, match="it has the only API keys"):
        delete_workspace(database, store, "acme")
    fill(database, store, "other")
    with database.begin() as session:
        session.execute(text("UPDATE injection_jobs SET state = 'running' WHERE id = 'job_acme'"))
    with pytest.raises(WorkspaceInUse, match="job_acme is still running; cancel what runs"):
        delete_workspace(database, store, "acme")
    with database.begin() as session:
        assert session.scalar(text("SELECT revoked_at FROM api_keys WHERE id = 'key_acme'")) is None
        session.execute(text("UPDATE injection_jobs SET state = 'succeeded' WHERE id = 'job_acme'"))
    delete_workspace(database, store, "acme")
    with database.read() as session:
        rows = {t.name: session.execute(t.select()).all() for t in Base.metadata.sorted_tables}
    assert "acme" not in repr(rows), "no row of any table names it or anything of it"
    assert all(rows[name] for name in OWNED), "the other workspace keeps its own"
    assert not [path for path in Path(store.files).rglob("*") if "acme" in path.name]
    assert verify_files(database, store).faults == []


def test_the_default_workspace_stays(sqlite_database: Database, tmp_path: Path) -> None:
    with sqlite_database.begin() as session:
        session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
    with pytest.raises(WorkspaceInUse, match="the default workspace holds the operator's models"):
        delete_workspace(sqlite_database, StoreSettings(ERRATA_HOME=tmp_path), "default")
    with pytest.raises(LookupError, match="there is no workspace"):
        delete_workspace(sqlite_database, StoreSettings(ERRATA_HOME=tmp_path), "(deleted)")
