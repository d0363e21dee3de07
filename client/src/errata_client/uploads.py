# Made from _async/uploads.py by client/tools/generate.py: change that file, not this one.
"""Sending files of rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from errata_client.bodies import CONTENT_TYPES, DOCUMENT, PATIENCE, FileBody
from errata_client.transport import Transport


def post_file(transport: Transport, path: str, file: Path, fields: Mapping[str, Any]) -> Any:
    """The JSON answer to a file of rows, which is read as it is sent. ``fields``: what is told of it.

    Raises ValueError for a name whose ending tells no format, OSError for a file that cannot be read.
    """
    suffix = file.suffix.lower()
    if suffix == DOCUMENT:
        form = {key: str(each).lower() if isinstance(each, bool) else each for key, each in fields.items()}
        return post_form(transport, path, file, form)
    kind = CONTENT_TYPES.get(suffix)
    if kind is None:
        raise ValueError(f"{file.name}: give a file that ends in {', '.join((*CONTENT_TYPES, DOCUMENT))}")
    body = FileBody(file)
    headers = {"Content-Type": kind, **body.headers}
    return transport.post(path, content=body, params=dict(fields), headers=headers, timeout=PATIENCE)


def post_form(transport: Transport, path: str, file: Path, form: Mapping[str, Any]) -> Any:
    """The same as a form's file, which tells its name; httpx reads it from its beginning for each try."""
    with file.open("rb") as data:
        sent = {"file": (file.name, data)}
        return transport.post(path, data=dict(form), files=sent, timeout=PATIENCE)
