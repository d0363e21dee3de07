"""What the suite says of docs/reliability.md at its end."""

from __future__ import annotations

from tests.rows import lines_of, rows_of

TABLE = """
| row | what holds | test |
|---|---|---|
| zombie | refused | `tests/chaos/test_zombie.py::test_zombie` (chaos), `tests/models/test_leases.py::test_zombie` |
| storm | none lost | `tests/chaos/test_storm.py::test_storm` (chaos) |
| other | nothing | `tests/chaos/test_storm.py::test_other` |
"""


def test_each_row_of_which_a_test_ran_is_named_with_what_did_not_pass() -> None:
    rows = rows_of(TABLE)
    assert list(rows) == ["zombie", "storm", "other"]
    outcomes = {
        "tests/chaos/test_zombie.py::test_zombie": ["passed", "passed"],
        "tests/chaos/test_storm.py::test_storm": ["passed", "failed"],
    }
    assert list(lines_of(rows, outcomes)) == [
        "zombie: 2 passed",
        "storm: 1 passed; tests/chaos/test_storm.py::test_storm failed",
    ]
