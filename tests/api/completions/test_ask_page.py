"""The page that asks two models: as a plain form, as a stream, and what it says where something is wrong."""

from __future__ import annotations

import json
import re

import httpx

from tests.api.completions.conftest import Live

FORM = {"question": "What is 3 + 4? <b>\u202e", "left": "served", "right": "turns", "max_tokens": "8"}


def browser(live: Live) -> httpx.Client:
    """A browser that signed in."""
    return httpx.Client(base_url=live.url, cookies={"errata_key": live.key}, timeout=60)


def test_both_answers_come_whole_and_as_they_grow(live: Live) -> None:
    with browser(live) as client:
        page = client.get("/ask")
        assert page.text.count('<option value="served"') == 2
        assert 'aria-current="page">Ask' in page.text
        answered = client.post("/ask", data=FORM)
        assert answered.status_code == 200
        whole = re.findall(r"<pre[^>]*data-text>(.*?)</pre>", answered.text, re.DOTALL)
        assert len(whole) == 2
        assert whole[0] == whole[1] != "", "one model behind two entries, one seed"
        assert "tokens" in answered.text
        assert "What is 3 + 4? &lt;b&gt;" in answered.text
        streamed = client.post("/ask/stream", data=FORM)
    told = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: ")]
    for side in (0, 1):
        mine = [each for each in told if each["side"] == side]
        assert "".join(each.get("text", "") for each in mine) != ""
        assert mine[-1]["end"] in ("stop", "length")
        assert mine[-1]["status"].startswith(f"{mine[-1]['tokens']} tokens")


def test_one_side_fails_alone_and_a_wrong_form_says_why(live: Live) -> None:
    with browser(live) as client:
        half = client.post("/ask", data={**FORM, "right": "nobody"})
        assert half.status_code == 200
        assert "does not exist" in half.text
        alone = client.post("/ask", data={**FORM, "right": ""})
        assert alone.text.count("data-side hidden") == 1
        for wrong in (
            {"question": ""},
            {"left": ""},
            {"temperature": "hot"},
            {"temperature": "3"},
            {"max_tokens": "0"},
        ):
            refused = client.post("/ask", data={**FORM, **wrong})
            assert (refused.status_code, 'role="alert"' in refused.text) == (422, True), wrong
        other = client.post("/ask", data=FORM, headers={"origin": "https://elsewhere.example"})
        assert other.status_code == 403
