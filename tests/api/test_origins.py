"""Licence and source of a problem set, told by whoever uploads it."""

from __future__ import annotations

import pytest

from tests.api.conftest import PROBLEMS, CheckedClient

ORIGIN = {"license": "MIT", "source_url": "https://example.org/sums"}


def test_licence_and_source_are_kept(client: CheckedClient) -> None:
    document = {"name": "sums", "problems": PROBLEMS, **ORIGIN}
    answers = [
        client.post("/v1/problem-sets", json=document),
        client.post(
            "/v1/problem-sets",
            params={"name": "raw", **ORIGIN},
            content=b'{"question": "1+1?", "gold_answer": "2"}\n',
            headers={"content-type": "application/x-ndjson"},
        ),
        client.post(
            "/v1/problem-sets",
            data={"name": "form", **ORIGIN},
            files={"file": ("p.jsonl", b'{"question": "1+1?", "gold_answer": "2"}\n')},
        ),
    ]
    for answer in answers:
        assert answer.status_code == 201, answer.text
        assert answer.json().items() >= ORIGIN.items()
        assert client.get(f"/v1/problem-sets/{answer.json()['id']}").json().items() >= ORIGIN.items()
    untold = client.post("/v1/problem-sets", json={"name": "untold", "problems": PROBLEMS}).json()
    assert (untold["license"], untold["source_url"]) == (None, None)


def test_what_was_told_first_stays(client: CheckedClient) -> None:
    """The same problems under another licence are the same set; what the set does not tell yet is added."""
    document = {"name": "sums", "problems": PROBLEMS}
    first = client.post("/v1/problem-sets", json=document).json()
    told = [
        client.post("/v1/problem-sets", json={**document, **more})
        for more in ({"license": "MIT"}, {"license": "GPL", "source_url": ORIGIN["source_url"]}, {}, {"license": "GPL"})
    ]
    assert {(answer.status_code, answer.json()["id"]) for answer in told} == {(200, first["id"])}
    assert [answer.json()["license"] for answer in told] == ["MIT"] * 4
    assert [answer.json()["source_url"] for answer in told] == [None, *[ORIGIN["source_url"]] * 3]
    # Other content under a key of its own: a changed licence is another request.
    keyed = {"headers": {"idempotency-key": "one"}}
    assert client.post("/v1/problem-sets", json={**document, "license": "MIT"}, **keyed).status_code in (200, 201)
    assert client.post("/v1/problem-sets", json={**document, "license": "GPL"}, **keyed).status_code == 422


@pytest.mark.parametrize("url", ["example.org", "javascript:alert(1)", "https://a b"])
def test_a_source_is_an_address(local: CheckedClient, url: str) -> None:
    answer = local.post("/v1/problem-sets", json={"name": "sums", "problems": PROBLEMS, "source_url": url})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "source_url")


def test_the_form_of_the_page_asks_for_both(client: CheckedClient) -> None:
    shown = client.get("/upload").text
    assert all(f'name="{name}"' in shown for name in ORIGIN)
    file = {"file": ("sums.jsonl", b'{"question": "1+1?", "gold_answer": "2"}\n')}
    sent = {"data": {**ORIGIN, "name": "by form"}, "files": file, "headers": {"origin": "http://127.0.0.1:8000"}}
    client.post("/upload", **sent)
    [made] = client.get("/v1/problem-sets").json()["data"]
    assert (made["name"], made["license"], made["source_url"]) == ("by form", *ORIGIN.values())
    page = client.get(f"/problem-sets/{made['id']}").text
    assert f'href="{ORIGIN["source_url"]}"' in page
    assert "MIT" in page
    sent["data"] = {**ORIGIN, "source_url": "javascript:alert(1)"}
    refused = client.post("/upload", **{**sent, "files": {"file": ("a.jsonl", file["file"][1])}})
    assert refused.status_code == 422
    assert "source_url" in refused.text
