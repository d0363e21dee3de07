"""The digest of a set's content, and ids drawn together."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from api.http.uploads import rows_of
from api.problem_sets.formats import parse_problem
from api.problem_sets.ingest import Reading, read_problems
from api.settings import ApiSettings
from models.base import new_id, new_ids

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).filter(str.strip)
META = st.dictionaries(TEXT, TEXT | st.integers(0, 9) | st.booleans() | st.lists(TEXT, max_size=2), max_size=3)
ROW = st.fixed_dictionaries(
    {"question": TEXT, "gold_answer": TEXT},
    optional={
        "gold_solution": TEXT,
        "subject": TEXT,
        "level": TEXT,
        "meta": META.map(lambda meta: {"m": meta, **meta}),
    },
)


@settings(max_examples=50)
@given(rows=st.lists(ROW, min_size=1, max_size=5))
def test_the_digest_is_of_the_problems_as_sorted_json(rows: list[dict[str, Any]]) -> None:
    rows = [{**row, "meta": {f"k{key}": value for key, value in row.get("meta", {}).items()}} for row in rows]
    expected = hashlib.sha256()
    for row in rows:
        expected.update(json.dumps(parse_problem(row, 1000), sort_keys=True).encode() + b"\n")
    with read_problems(rows_of(rows), [], Reading(ApiSettings(), "report", True)) as problems:
        assert problems.content_sha256 == expected.hexdigest()
        assert problems.count == len(rows)


def test_ids_drawn_together_are_like_single_ones() -> None:
    ids = new_ids("prob", 2000)
    assert len(set(ids)) == 2000
    assert {len(one) for one in ids} == {len(new_id("prob"))}
    letters = set("".join(one.removeprefix("prob_") for one in ids))
    assert letters == set("".join(new_id("x").removeprefix("x_") for _ in range(500)))
    assert new_ids("prob", 0) == []


def test_what_orjson_writes_otherwise_than_json_does_not_change_the_digest() -> None:
    texts = ["é", "\x7f", "\x01\x1f", '"\\/', "\u2028😀", "plain\n\t"]
    rows: list[dict[str, Any]] = [{"question": text, "gold_answer": "1", "subject": text[:1] + "x"} for text in texts]
    rows.append({"question": "no subject", "gold_answer": "1"})
    for some in (rows, *([row] for row in rows)):
        expected = b"".join(json.dumps(parse_problem(row, 1000), sort_keys=True).encode() + b"\n" for row in some)
        with read_problems(rows_of(some), [], Reading(ApiSettings(), "report", True)) as problems:
            assert problems.content_sha256 == hashlib.sha256(expected).hexdigest()
