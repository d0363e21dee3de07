"""``/v1/models/{name}/files``: downloading what a training job made: weights or adapter, tokenizer, card, lineage."""

from __future__ import annotations

import hashlib
import json
from urllib.parse import quote

from fastapi import Request, Response

from api.http.auth import Reader
from api.http.downloads import FILE_RESPONSES, StoredFile, manifest_files, send_listed
from api.http.errors import NotFound, documented
from api.http.routing import Api, ApiDep
from api.http.routing import router as make_router
from api.http.rows import Listing
from api.registry import find_model
from api.schemas.outputs import FileOut
from models.files import MANIFEST, FileStore, UnsafePath

router = make_router("/v1/models", "language models")


def _files(api: Api, name: str, workspace_id: str) -> list[StoredFile]:
    """The manifest's files and the manifest. An operator's entry has none here: its weights are the operator's."""
    with api.db.read() as session:
        row = find_model(session, name, workspace_id)
    if row is None:
        raise NotFound("there is no such language model; see GET /v1/models")
    if row.training_run_id is None:
        raise NotFound("this language model is the operator's; those that a training job made can be downloaded")
    folder = f"models/{row.training_run_id}"
    try:
        data = FileStore(api.store.files).read_bytes(f"{folder}/{MANIFEST}")
    except (FileNotFoundError, UnsafePath):
        raise NotFound("the language model's files are no longer in the file store") from None
    own = StoredFile(folder, MANIFEST, len(data), hashlib.sha256(data).hexdigest())
    return [*manifest_files(folder, json.loads(data)), own]


@router.get("/{name}/files", responses=documented(404))
def list_model_files(caller: Reader, api: ApiDep, name: str) -> Listing[FileOut]:
    """Every file of a trained language model, with size and SHA-256."""
    files = _files(api, name, caller.workspace_id)
    data = [FileOut.of(file, f"/v1/models/{name}/files/{quote(file.path)}") for file in files]
    return Listing(data=data, has_more=False, next=None)


@router.head("/{name}/files/{path:path}", include_in_schema=False)
@router.get("/{name}/files/{path:path}", responses=FILE_RESPONSES, response_class=Response)
def download_model_file(request: Request, caller: Reader, api: ApiDep, name: str, path: str) -> Response:
    """A file, or a range of it. Only paths the model's manifest lists exist."""
    return send_listed(request, FileStore(api.store.files), _files(api, name, caller.workspace_id), path)
