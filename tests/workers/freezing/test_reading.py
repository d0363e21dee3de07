"""Reading rows in bulk: every text comes back as it was stored, in order, however a job is cut; and reading ahead."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.pq import TransactionStatus
from sqlalchemy import Float, Integer, Text, cast, literal, null, select, text, union_all, update
from sqlalchemy.exc import DBAPIError

from errata.seeds import Split
from models.base import JSONValue
from models.jobs import PairRow, Shard
from models.session import Database, passing
from tests.workers.freezing.conftest import PROBLEMS
from workers.stages import dataset_rows
from workers.stages.binary_rows import BinaryRows
from workers.stages.bulk_reading import ahead, canonical_json, fetch, table_of, value_list
from workers.stages.dataset_rows import JobRows, begin_reading, pair_columns

told = st.none() | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
awkward = st.sampled_from(
    ['"', '""', "\\N", "\\.", "\n", "\r\n", "\r", ",", "", "NULL", "null", "\t", "a\\", "\ufeff", " "]
)
TWO = pa.schema([("number", pa.int64()), ("text", pa.string())])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.none() | st.integers(1 - 2**31, 2**31 - 1), told | awkward), max_size=8))
def test_every_value_comes_back(database: Database, rows: list[tuple[int | None, str | None]]) -> None:
    places = [(at, *row) for at, row in enumerate(rows)] or [(0, None, None)]
    table = union_all(
        *(
            select(
                literal(at, Integer).label("at"),
                literal(number, Integer).label("number"),
                literal(t, Text).label("text"),
            )
            for at, number, t in places
        )
    ).subquery()
    with database.read() as session:
        found = fetch(session, select(table.c.number, table.c.text).order_by(table.c.at))
        assert found.count == len(places)
        assert table_of(found, TWO).to_pylist() == [{"number": number, "text": said} for _, number, said in places]
        none = fetch(session, select(table.c.number, table.c.text).where(table.c.at < 0))
        assert table_of(none, TWO).num_rows == none.count == 0


def all_pairs(database: Database) -> list[dict[str, Any]]:
    with database.read() as session:
        job = JobRows(session, "inj_1", session.scalars(text("SELECT id FROM problem_sets")).one())
        return [row for _, table in job.pairs(pair_columns()) for row in table.to_pylist()]


@pytest.mark.parametrize(("rows", "first"), [(1, 1), (7, 3), (50, 5), (4_000, 4), (4_000, 64)])
def test_ranges_do_not_show(
    database: Database, job: str, monkeypatch: pytest.MonkeyPatch, rows: int, first: int
) -> None:
    """Whole shards at a time or parts of one: the same pairs in the same order."""
    whole = all_pairs(database)
    assert len(whole) == 3 * PROBLEMS
    keys = [(row["position"], row["type"] == "full", row["step_index"] or 0) for row in whole]
    assert keys == sorted(keys)
    monkeypatch.setattr(dataset_rows, "_ROWS", rows)
    monkeypatch.setattr(dataset_rows, "_FIRST", first)
    monkeypatch.setattr(dataset_rows, "_LEAST", 2)
    assert all_pairs(database) == whole


def test_equal_places_are_ordered_by_what_they_say(database: Database, job: str) -> None:
    """Two pairs of one step and kind: the rejected side decides, and only then the id."""
    with database.begin() as session:
        session.execute(update(PairRow).where(PairRow.type == "step").values(step_index=0, error_kind="operator"))
    found = [row for row in all_pairs(database) if row["type"] == "step"]
    keys = [(row["position"], row["rejected"]) for row in found]
    assert keys == sorted(keys)


def test_rows_outside_their_shards_are_not_lost_silently(
    database: Database, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_rows, "_ROWS", 7)
    monkeypatch.setattr(dataset_rows, "_FIRST", 8)
    with database.begin() as session:
        session.execute(update(Shard).where(Shard.position == 2).values(start=0, stop=0))
    with pytest.raises(RuntimeError, match="problems outside their shards"):
        all_pairs(database)


def test_a_range_is_found_by_index(database: Database, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of pairs is never read whole for one job: what the ranges ask is explained."""
    asked: list[Any] = []
    monkeypatch.setattr(dataset_rows, "fetch", lambda session, query: (asked.append(query), fetch(session, query))[1])
    monkeypatch.setattr(dataset_rows, "_ROWS", 7)
    monkeypatch.setattr(dataset_rows, "_FIRST", 3)
    all_pairs(database)
    assert len(asked) > 10
    with database.read() as session:
        if database.is_postgres:
            session.execute(text("SET LOCAL enable_seqscan = off"))  # a table this small is read whole all the same
        for query in asked:
            said = query.compile(session.connection(), compile_kwargs={"literal_binds": True})
            explain = "EXPLAIN" if database.is_postgres else "EXPLAIN QUERY PLAN"
            plan = " ".join(str(row) for row in session.execute(text(f"{explain} {said}".replace(":", "\\:"))))
            assert "Seq Scan" not in plan
            assert "SCAN pairs" not in plan


def test_a_reading_session_may_wait_between_two_reads(database: Database) -> None:
    """Questions are clustered between two reads: a server that ends idle transactions would fail a large freeze."""
    if not database.is_postgres:
        return
    asked = text("SELECT current_setting('idle_in_transaction_session_timeout')")
    with database.read() as session:
        usual = session.scalar(asked)
    with database.read() as session:
        begin_reading(session)
        assert session.scalar(asked) == "0" != usual
    with database.read() as session:
        assert session.scalar(asked) == usual


def test_values_of_columns_are_pythons_own() -> None:
    table = pa.table(
        {
            "text": pa.array(["a", None, "", "é\x00"]),
            "number": pa.array([1, None, -(2**62), 2**62], pa.int64()),
            "whole": pa.array([1, 2, 3, 4], pa.int64()),
            "turns": pa.array([[{"role": "user"}], None, [], [{"role": None}]]),
        }
    )
    chunked = pa.concat_tables([table, table.slice(1, 2)])
    for column in chunked.columns:
        found = value_list(column)
        assert found == column.to_pylist()
        assert [type(value) for value in found] == [type(value) for value in column.to_pylist()]


def test_a_broken_query_raises_what_the_runner_knows(database: Database) -> None:
    with database.read() as session, pytest.raises(DBAPIError) as raised:
        fetch(session, select(text("missing")).select_from(text("nowhere")))
    assert not passing(raised.value)


def test_rows_of_every_size_come_whole(database: Database) -> None:
    """Rows that come in many pieces, and many rows that come in one."""
    sizes = [1, 3_000_000, *range(300), 70_000]
    parts = [
        select(literal(at, Integer).label("at"), literal("é" * n, Text).label("text")) for at, n in enumerate(sizes)
    ]
    rows = union_all(*parts).subquery()
    with database.read() as session:
        found = fetch(session, select(rows.c.at, rows.c.text).order_by(rows.c.at))
        assert found.count == len(sizes)
        assert [len(said) for said in table_of(found, TWO)["text"].to_pylist()] == sizes


def test_an_error_amid_the_rows_is_raised_and_the_connection_goes_on(tables_url: str) -> None:
    database = Database(tables_url)
    with database.read() as session:
        for _ in range(2):
            with pytest.raises(DBAPIError, match="division by zero") as raised:
                fetch(session, select(text("1 / (9000 - g), g")).select_from(text("generate_series(1, 10000) g")))
            assert not raised.value.connection_invalidated
            session.rollback()
            found = table_of(fetch(session, select(text("1, 'again'"))), TWO)
            assert found.to_pylist() == [{"number": 1, "text": "again"}]
    database.dispose()


def test_rows_are_read_in_the_sessions_transaction(tables_url: str) -> None:
    """Also where the reading is the first that the session does."""
    database = Database(tables_url)
    with database.read() as session:
        fetch(session, select(text("1")))
        state = session.connection().connection.driver_connection.info.transaction_status  # type: ignore[union-attr]
        assert state is TransactionStatus.INTRANS
    database.dispose()


def test_a_connection_lost_amid_the_rows_is_told_as_lost(tables_url: str) -> None:
    database = Database(tables_url)
    ends_itself = "CASE WHEN g = 9000 THEN pg_terminate_backend(pg_backend_pid())::text ELSE 'text' END"
    with pytest.raises(DBAPIError) as raised, database.read() as session:
        fetch(session, select(text(f"g, {ends_itself}")).select_from(text("generate_series(1, 10000) g")))
    assert passing(raised.value)
    database.dispose()


def test_reading_ahead_keeps_order_and_passes_errors_on() -> None:
    def items() -> Iterator[int]:
        yield from range(20)
        raise KeyError("end")

    found = ahead(items())
    assert [next(found) for _ in range(20)] == list(range(20))
    with pytest.raises(KeyError):
        next(found)
    assert list(ahead([])) == []


def test_reading_ahead_ends_with_its_reader() -> None:
    made = []

    def items() -> Iterator[int]:
        for at in range(1000):
            made.append(at)
            yield at

    before = threading.active_count()
    found = ahead(items(), depth=2)
    assert next(found) == 0
    found.close()
    assert threading.active_count() == before
    assert len(made) < 10


said = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@given(st.dictionaries(said, st.none() | st.integers(-9, 9) | said))
def test_evidence_has_one_text(detail: dict[str, Any]) -> None:
    forms = [json.dumps(detail), json.dumps(dict(reversed(detail.items())), ensure_ascii=False), None, "null"]
    one, other, *none = canonical_json(pa.chunked_array([pa.array(forms, pa.string())])).to_pylist()
    assert one == other
    assert json.loads(one) == detail
    assert none == [None, None]


def test_a_side_of_a_split_does_not_keep_the_other_in_memory(database: Database, job: str) -> None:
    """The few test rows of each table are held until they fill a row group: slices would hold all tables whole."""

    def side(question: str) -> Split:
        return "test" if question == min(questions) else "train"

    with database.read() as session:
        rows = JobRows(session, "inj_1", session.scalars(text("SELECT id FROM problem_sets")).one())
        whole = [table for _, table in rows.pairs(pair_columns())]
        questions = {question for table in whole for question in table["question"].to_pylist()}
        parts = list(rows.pairs(pair_columns(), side))
    assert {split for split, _ in parts} == {"train", "test"}
    for _, table in parts:
        held = sum(buffer.size for column in table.columns for chunk in column.chunks for buffer in _buffers(chunk))
        assert held < 2 * table.nbytes + 64 * 2 * table.num_columns


def _buffers(array: Any) -> Iterator[Any]:
    yield from (buffer for buffer in array.buffers() if buffer is not None)


def test_doubles_and_jsonb_come_back(database: Database) -> None:
    """A jsonb has a byte before its text, also where a text begins with that byte."""
    told = literal('{"a": [1]}', Text)
    detail = cast(told, JSONValue) if database.is_postgres else told
    kinds = (cast(literal(1.5), Float), cast(null(), Float), literal("\x01a", Text), detail)
    schema = pa.schema([("x", pa.float64()), ("none", pa.float64()), ("text", pa.string()), ("json", pa.string())])
    with database.read() as session:
        asked = select(*(each.label(name) for each, name in zip(kinds, schema.names, strict=True)))
        (row,) = table_of(fetch(session, asked), schema).to_pylist()
    assert json.loads(row.pop("json")) == {"a": [1]}
    assert row == {"x": 1.5, "none": None, "text": "\x01a"}


HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
ROW, END = struct.pack("!hi2s", 1, 2, b"ab"), struct.pack("!h", -1)


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([b"a\tb\n", END], "no header"),
        ([HEADER + ROW], "do not end"),
        ([HEADER + ROW + ROW, END], "do not hold a row each"),
        ([HEADER + ROW, struct.pack("!hii", 2, -1, -1), END], "do not hold a row each"),
    ],
)
def test_what_is_no_binary_copy_is_refused(messages: list[bytes], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        BinaryRows(bytearray(b"".join(messages)), [len(each) for each in messages])


def test_a_column_of_another_type_is_refused() -> None:
    rows = BinaryRows(bytearray(HEADER + struct.pack("!hi3s", 1, 3, b"abc") + END), [len(HEADER) + 9, 2])
    assert rows.column(0, pa.string()).to_pylist() == ["abc"]
    with pytest.raises(ValueError, match="no numbers"):
        rows.column(0, pa.int64())
    with pytest.raises(ValueError, match="another version"):
        BinaryRows(bytearray(HEADER + struct.pack("!hi3s", 1, 3, b"\2{}") + END), [len(HEADER) + 9, 2], jsonb=[0])
