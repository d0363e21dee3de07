"""What the `openai` package sends again: it has no idempotency key, and numbers its tries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest
from sqlalchemy import update

from models.base import db_now
from models.workspaces import IdempotencyKey
from tests.api.openai_routes.conftest import Service, preference
from tests.api.plain_clients import URL

DPO: Any = {"type": "dpo"}


class Losing(httpx2.BaseTransport):
    """Requests reach the service; the first so many answers are lost on their way back, as behind a broken proxy."""

    def __init__(self, service: Service) -> None:
        self._through, self.lose = service.http, 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer, or the loss of it."""
        told = self._through.request(
            request.method, str(request.url), content=request.read(), headers=request.headers.multi_items()
        )
        if self.lose:
            self.lose -= 1
            raise httpx2.ReadError("the answer was lost", request=request)
        return httpx2.Response(told.status_code, headers=told.headers.multi_items(), content=told.content)


@pytest.fixture
def lossy(service: Service) -> Iterator[tuple[openai.OpenAI, Losing]]:
    """The package with its own tries, over a connection that can lose answers."""
    transport = Losing(service)
    with openai.OpenAI(
        base_url=f"{URL}/v1", api_key="sk-any", max_retries=2, http_client=httpx2.Client(transport=transport)
    ) as client:
        yield client, transport


def test_an_answer_that_was_lost_makes_no_second_job(
    service: Service, lossy: tuple[openai.OpenAI, Losing], uploaded: Callable[..., str]
) -> None:
    client, transport = lossy
    file_id = uploaded([preference(at) for at in range(300, 304)])
    before = {job.id for job in client.fine_tuning.jobs.list(limit=100)}
    asked: Any = {"model": "tiny", "training_file": file_id, "method": DPO}
    transport.lose = 1
    job = client.fine_tuning.jobs.create(**asked)
    assert transport.lose == 0
    assert {each.id for each in client.fine_tuning.jobs.list(limit=100)} - before == {job.id}
    # The same again is another job: only a second try of one request is recognized.
    other = client.fine_tuning.jobs.create(**asked)
    transport.lose = 2
    changed = client.fine_tuning.jobs.create(**asked, seed=1)
    made = {each.id for each in client.fine_tuning.jobs.list(limit=100)} - before
    assert made == {job.id, other.id, changed.id}
    with service.db.begin() as session:
        session.execute(update(IdempotencyKey).values(created_at=db_now(-3600)))
    late = client.fine_tuning.jobs.create(**asked, extra_headers={"X-Stainless-Retry-Count": "1"})
    assert late.id not in made, "what was asked for an hour ago was another request"
    for each in (*made, late.id):
        client.fine_tuning.jobs.cancel(each)


def test_a_lost_answer_to_an_upload_makes_no_second_file(lossy: tuple[openai.OpenAI, Losing]) -> None:
    client, transport = lossy
    content = b'{"messages": [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "lost once"}]}\n'
    before = {file.id for file in client.files.list()}
    transport.lose = 1
    file = client.files.create(file=("lost.jsonl", content), purpose="fine-tune")
    assert {each.id for each in client.files.list()} - before == {file.id}
    client.files.delete(file.id)
