"""Files over `openai`: kept as sent, listed page by page, checked when they come, deleted with their content."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from models.files import FileStore
from models.stored import orphans, verify_files
from tests.api.openai_routes.conftest import Service, chat, lines, preference

Uploaded = Callable[..., str]


def test_a_file_is_kept_as_it_was_sent_until_it_is_deleted(service: Service, sdk: openai.OpenAI) -> None:
    sent = lines([preference(at) for at in range(3)])
    made = sdk.files.create(file=("my rows \u00e9.jsonl", sent), purpose="fine-tune")
    assert made.id.startswith("file-")
    assert (made.filename, made.bytes, made.purpose, made.status) == (
        "my rows \u00e9.jsonl", len(sent), "fine-tune", "processed",
    )  # fmt: skip
    assert sdk.files.retrieve(made.id) == made
    assert sdk.files.content(made.id).content == sent
    assert verify_files(service.db, service.store).faults == []
    assert orphans(service.db, service.store, older_than=0) == []
    gone = sdk.files.delete(made.id)
    assert (gone.id, gone.deleted, gone.object) == (made.id, True, "file")
    assert FileStore(service.store.files).children("uploads") == []
    for ask in (sdk.files.retrieve, sdk.files.content, sdk.files.delete):
        with pytest.raises(openai.NotFoundError, match="no such file"):
            ask(made.id)


def test_files_are_listed_page_by_page(sdk: openai.OpenAI, uploaded: Uploaded) -> None:
    made = [uploaded([chat(at)], f"{at}.jsonl") for at in range(3)]
    assert [file.id for file in sdk.files.list(limit=2)] == made[::-1]
    assert [file.id for file in sdk.files.list(limit=1, order="asc")] == made
    first = sdk.files.list(limit=2)
    assert (first.has_more, len(first.data)) == (True, 2)
    assert [file.id for file in sdk.files.list(purpose="fine-tune")] == made[::-1]
    assert sdk.files.list(purpose="batch").data == []
    with pytest.raises(openai.BadRequestError, match="no row of this id") as refused:
        sdk.files.list(after="file-0000")
    assert refused.value.param == "after"


def test_bad_files_are_refused_naming_what_is_wrong(service: Service, sdk: openai.OpenAI) -> None:
    def refused(content: bytes, **more: Any) -> Any:
        with pytest.raises(openai.BadRequestError) as error:
            sdk.files.create(file=("x.jsonl", content), **{"purpose": "fine-tune", **more})
        assert error.value.type == "invalid_request_error"
        return error.value

    good = preference(1)
    worse = refused(lines([good, {**good, "preferred_output": []}]))
    assert (worse.param, "preferred_output" in worse.message) == ("line 2", True)
    assert refused(lines([{"a": 1}])).param == "file"
    assert "weight 0" in refused(lines([chat(1, weight=0)])).message
    assert "tool calls" in refused(lines([chat(1, tool_calls=[{"id": "c"}])])).message
    assert refused(b"").param == "file"
    assert refused(lines([good]), purpose="batch").param == "purpose"
    kept = refused(lines([good]), expires_after={"anchor": "created_at", "seconds": 3600})
    assert (kept.param.startswith("expires_after"), "kept until" in kept.message) == (True, True)
    assert service.http.post("/v1/files", json={}).json()["error"]["param"] == "file"
    assert sdk.files.list().data == []
    assert FileStore(service.store.files).children("uploads") == []


def test_the_same_upload_again_is_the_same_file(sdk: openai.OpenAI, service: Service) -> None:
    def send(rows: bytes) -> str:
        headers = {"Idempotency-Key": "upload-1"}
        return sdk.files.create(file=("x.jsonl", rows), purpose="fine-tune", extra_headers=headers).id

    file_id = send(lines([chat(1)]))
    assert send(lines([chat(1)])) == file_id
    with pytest.raises(openai.BadRequestError, match="another body"):
        send(lines([chat(2)]))
    assert len(FileStore(service.store.files).children("uploads")) == 1
    sdk.files.delete(file_id)
    assert send(lines([chat(2)])) != file_id, "a deleted file gives its key away"
    for file in sdk.files.list():
        sdk.files.delete(file.id)
