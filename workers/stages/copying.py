"""COPY out of PostgreSQL in bulk: all rows that have come are taken whenever the connection is waited for.

psycopg's own ``Copy`` waits once for each row. Of rows of a kilobyte the waiting costs more than all else that a client
does. This reads through psycopg's libpq wrapper (``psycopg.pq``), and leaves waiting to the connection, which bounds
it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.waiting import Wait

Waiting = Generator[Wait, int, Any]


def copied(connection: psycopg.Connection[Any], query: str, values: Mapping[str, Any]) -> tuple[bytearray, list[int]]:
    """What the query gives in COPY's binary format, and the size of each message: workers.stages.binary_rows reads it.

    It runs in the connection's transaction. All of it is held in memory. Raises psycopg.Error; the connection is then
    as after any statement that failed.
    """
    if connection.info.encoding != "utf-8":
        encoding = connection.info.parameter_status("client_encoding")
        raise psycopg.NotSupportedError(
            f"the connection's encoding is {encoding}: set client_encoding to UTF8 in DATABASE_URL or for its role"
        )
    if connection.info.transaction_status is TransactionStatus.IDLE:
        connection.execute("")  # begins a transaction, as every first statement does that psycopg sends
    with psycopg.ClientCursor(connection) as cursor:  # COPY takes no parameters
        statement = cursor.mogrify(f"COPY ({query}) TO STDOUT (FORMAT binary)", values)
    connection.wait(_begun(connection.pgconn, statement.encode()))
    data, sizes = bytearray(), list[int]()
    while not connection.wait(_messages(connection.pgconn, data, sizes)):
        continue
    connection.wait(_result(connection.pgconn, ExecStatus.COMMAND_OK))
    return data, sizes


def _begun(pgconn: Any, statement: bytes) -> Waiting:
    """Send the statement and wait until its rows begin to come."""
    pgconn.send_query(statement)
    while pgconn.flush():
        yield Wait.W
    yield from _result(pgconn, ExecStatus.COPY_OUT)


def _messages(pgconn: Any, data: bytearray, sizes: list[int]) -> Waiting:
    """Append the messages that have come, one at least unless there are no more. Whether all have come."""
    before = len(sizes)
    while True:
        size, message = pgconn.get_copy_data(1)
        if size > 0:
            data += message  # one by one: thousands of small messages kept together cost three times as much
            sizes.append(size)
        elif size < 0 or len(sizes) > before:
            return bool(size < 0)
        else:
            yield from _news(pgconn)


def _result(pgconn: Any, wanted: ExecStatus) -> Waiting:
    """Wait for the result of what was sent. Raises psycopg.Error where it is another one than is wanted."""
    result = yield from _next(pgconn)
    if wanted == ExecStatus.COPY_OUT and result is not None and result.status == wanted:
        return  # there is no next one before all rows are taken
    # Until the last result is taken the connection takes no other statement.
    while (yield from _next(pgconn)) is not None:
        pass
    if result is None or result.status != wanted:
        raise error_from_result(result) if result is not None else psycopg.OperationalError("the server said nothing")


def _next(pgconn: Any) -> Waiting:
    while pgconn.is_busy():
        yield from _news(pgconn)
    return pgconn.get_result()


def _news(pgconn: Any) -> Waiting:
    """Wait until something has come, and take it."""
    while not (yield Wait.R):
        continue
    pgconn.consume_input()
