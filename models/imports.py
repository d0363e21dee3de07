"""Where the checked rows of an import lie until a worker has made a dataset of them."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.files import FileStore
from models.outputs import Dataset
from models.states import TERMINAL

ROWS = "rows.jsonl"
_FOLDER = "imports"


def staged_folder(dataset_id: str) -> str:
    """The folder of a dataset's checked rows in the file store."""
    return f"{_FOLDER}/{dataset_id}"


def staged_rows(dataset_id: str) -> str:
    """The file with a dataset's checked rows, one JSON object per line."""
    return f"{staged_folder(dataset_id)}/{ROWS}"


def sweep_staged(session: Session, files: FileStore) -> int:
    """Delete the checked rows of imports that have ended; how many there were.

    Rows of a dataset that is not known stay: its import may be about to commit.
    """
    staged = {name.split("/")[0] for name in files.names(_FOLDER)}
    ended = session.scalars(select(Dataset.id).where(Dataset.id.in_(staged), Dataset.state.in_(sorted(TERMINAL))))
    found = list(ended)
    for dataset_id in found:
        files.remove(staged_folder(dataset_id))
    return len(found)
