"""A client of OpenAI's Batch API and of those that copy it: files and batches of one server."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any
from urllib.parse import quote

from workers.engines.base import EngineError
from workers.engines.kept import Opening
from workers.engines.openai_batch_wire import RemoteBatch, read_batch
from workers.engines.openai_http import RequestRejected, Server, Upload

log = logging.getLogger(__name__)
_MARK = "errata"
_PAGE, _MOST_PAGES = 100, 100
_CLOCKS_APART = 3600.0  # seconds that the provider's clock may differ from the database's


class BatchClient:
    """Belongs to the servers' event loop. Raises EngineError, and RequestRejected where the provider refuses."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def upload(self, name: str, content: bytes, retried: Counter[str]) -> str:
        """The provider's name of a file of requests. A try that is lost on its way leaves a file and costs nothing."""
        answer = await self._server.upload("/files", Upload(name, content, {"purpose": "batch"}), retried)
        return _id_of(answer)

    async def create(self, opening: Opening, file_id: str, path: str, window: str, retried: Counter[str]) -> str:
        """The provider's name of a new batch. Asked once: after an error it may have been made (see ``find``)."""
        marks = {_MARK: opening.id}
        body = {"input_file_id": file_id, "endpoint": f"/v1{path}", "completion_window": window, "metadata": marks}
        return _id_of(await self._server.post("/batches", body, retried, once=True))

    async def find(self, opening: Opening, retried: Counter[str]) -> RemoteBatch | None:
        """The batch that was made for it, by our mark or by its file; None where there is none, or none is listed."""
        after = ""
        for _ in range(_MOST_PAGES):
            page = await self._server.get(f"/batches?limit={_PAGE}{after}", retried)
            listed = (page or {}).get("data")
            if page is None or not isinstance(listed, list):
                log.warning("the provider lists no batches: one that was made without an answer is made again")
                return None
            batches = [read_batch(each) for each in listed if isinstance(each, dict)]
            for batch in batches:
                if batch.mark == opening.id or (opening.input_file and batch.input_file == opening.input_file):
                    return batch
            # Newest first: what is older than the opening, whatever the clocks say, is not it.
            if not batches or not page.get("has_more") or batches[-1].created_at < opening.began_at - _CLOCKS_APART:
                return None
            after = f"&after={quote(batches[-1].id)}"
        return None

    async def look(self, remote_id: str, retried: Counter[str]) -> RemoteBatch | None:
        """How far a batch is; None where the provider knows of none."""
        found = await self._server.get(f"/batches/{quote(remote_id)}", retried)
        return None if found is None else read_batch(found)

    async def content(self, file_id: str, retried: Counter[str]) -> bytes:
        """What is in a file; nothing where the provider has it no more."""
        try:
            return await self._server.content(f"/files/{quote(file_id)}/content", retried)
        except RequestRejected as refusal:
            if refusal.status in (404, 410):
                return b""
            raise

    async def cancel(self, remote_id: str, retried: Counter[str]) -> None:
        """Cancel a batch. One that has ended, or that the provider does not know, is as good as cancelled."""
        try:
            await self._server.post(f"/batches/{quote(remote_id)}/cancel", {}, retried)
        except RequestRejected as refusal:
            if refusal.status in (401, 403):
                raise

    async def delete(self, file_id: str, retried: Counter[str]) -> None:
        """Delete a file. A provider that deletes none keeps it as long as it keeps files."""
        try:
            await self._server.delete(f"/files/{quote(file_id)}", retried)
        except (RequestRejected, EngineError) as error:
            log.debug("a batch's file was not deleted: %s", error)


def _id_of(answer: dict[str, Any]) -> str:
    if not isinstance(answer.get("id"), str):
        raise EngineError("the provider's answer to a batch or its file names no id", retryable=True)
    return str(answer["id"])
