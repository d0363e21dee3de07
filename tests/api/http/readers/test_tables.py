"""Tables as programs write them: every dialect in every encoding gives the same rows."""

from __future__ import annotations

import csv
import io
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.http.readers import Unreadable, read_rows
from api.http.readers.row import Format

COLUMNS = ("question", "gold_answer", "q", "final")


def read(data: bytes, file_format: Format = "csv", **options: Any) -> list[Any]:
    """The rows, or the reasons why they are none."""
    return [
        row.value or row.error for row in read_rows(io.BytesIO(data), file_format, 1 << 30, columns=COLUMNS, **options)
    ]


# What prose and LaTeX bring along: every delimiter, quotes, line breaks, backslashes.
CELL = (
    st.tuples(
        st.text(st.sampled_from("abc xyz019,;\t|'\"\\\n{}$"), min_size=1, max_size=30),
        st.sampled_from(["", " Jörg's café", " – 5 €"]),  # alone, a few bytes would be letters of any script
    )
    .map("".join)
    .filter(str.strip)
)
ROWS = st.lists(st.fixed_dictionaries({"question": CELL, "gold_answer": CELL}), min_size=2, max_size=6)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]


@given(
    rows=ROWS,
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(ENCODINGS),
)
def test_what_csv_writer_writes_is_read(
    rows: list[dict[str, str]], delimiter: str, quoting: Any, end: str, encoding: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["question", "gold_answer"], delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    assert read(text.getvalue().encode(encoding)) == rows


@settings(max_examples=25)
@given(rows=ROWS, delimiter=st.sampled_from(",;\t|"), encoding=st.sampled_from(["utf-8", "cp1252", "utf-16"]))
def test_what_pandas_writes_is_read(rows: list[dict[str, str]], delimiter: str, encoding: str) -> None:
    written = pd.DataFrame(rows).to_csv(sep=delimiter)  # with its index, an unnamed column
    assert read(written.encode(encoding)) == rows


def test_a_backslash_before_a_quote_is_known_by_its_rows() -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, doublequote=False, escapechar="\\", quoting=csv.QUOTE_ALL)
    writer.writerows([["question", "gold_answer"], ['Say "hi", \\frac{1}{2}', "1"]])
    assert read(text.getvalue().encode()) == [{"question": 'Say "hi", \\frac{1}{2}', "gold_answer": "1"}]


# One word or sign that is not ASCII is all there is to go by in many English files.
WORDS = {
    "cp1252": [
        "Jörg's café",
        "£5 each",
        "3½ dozen",
        "x² + y²",
        "naïve “quotes”",
        "5 €",
        "El niño compró 3 piñas",
        "à Noël",
    ],
    "cp1250": ["Łukasz", "Ile jabłek ma Łukasz, jeśli kupił pięć?", "Kolik jablek má Jiří, když koupil pět žlutých?"],
    "cp1251": ["Сколько яблок у Маши, если у неё было 5?"],
    "cp1253": ["Πόσα μήλα έχει ο Γιάννης;"],
    "cp1254": ["Ayşe'nin kaç elması var? Işık şöyle"],
    "cp932": ["太郎はりんごを５個持っています。全部で何個ですか。"],
    "gb18030": ["小明有五个苹果，又买了三个，一共有多少个？"],
    "big5": ["小明有五個蘋果，又買了三個，一共有多少個？"],
    "cp949": ["철수는 사과를 다섯 개 가지고 있다. 모두 몇 개인가?"],
}


@pytest.mark.parametrize(("encoding", "text"), [(name, text) for name, texts in WORDS.items() for text in texts])
def test_the_encoding_is_recognised(encoding: str, text: str) -> None:
    lines = ["question;gold_answer", *["How many apples are there?;5"] * 30, f'"{text}";5']
    rows = read("\r\n".join(lines).encode(encoding))
    assert rows[-1] == {"question": text, "gold_answer": "5"}


def test_a_late_character_decides_the_encoding_of_a_long_file() -> None:
    data = b"question,gold_answer\n" + b"How many?,5\n" * 110_000 + "Jörg?,5\n".encode("cp1252")
    assert read(data)[-1] == {"question": "Jörg?", "gold_answer": "5"}
    assert read(data + "Zoë,5\n".encode(), charset="cp1252")[-1] == {"question": "ZoÃ«", "gold_answer": "5"}


EXCEL = [
    (b"sep=;\r\nquestion;gold_answer\r\nWhat, then?;3,5\r\n", [{"question": "What, then?", "gold_answer": "3,5"}]),
    (b"question;gold_answer;;\r\nq;5;;\r\n;;;\r\n", [{"question": "q", "gold_answer": "5"}]),
    (b"\xef\xbb\xbf question , gold_answer \r\nq,5\r\n", [{"question": "q", "gold_answer": "5"}]),
    (b"question,gold_answer\rq,5\r", [{"question": "q", "gold_answer": "5"}]),
    (b"q|final\na, b, c|1\nd, e, f|2\n", [{"q": "a, b, c", "final": "1"}, {"q": "d, e, f", "final": "2"}]),
    (b"question,gold_answer\na,1,2\nb,3\n", ["3 columns, but the header has 2", {"question": "b", "gold_answer": "3"}]),
]


@pytest.mark.parametrize(("data", "expected"), EXCEL)
def test_what_spreadsheets_write(data: bytes, expected: list[Any]) -> None:
    assert read(data) == expected


def test_quotes_between_tabs_may_be_quotes() -> None:
    data = b'question\tgold_answer\n"Hi" she said\t7\n"only at the start\t8\n'
    assert [row["question"] for row in read(data, "tsv")] == ['"Hi" she said', '"only at the start']


@pytest.mark.parametrize("data", [b"", b"\n\n", b"a,a\n1,2\n", b'question,gold_answer\n"open,1\n', b"\xff\xfeq"])
def test_a_table_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable):
        read(data)


def test_the_header_is_told_before_the_first_row() -> None:
    header: list[str] = []
    rows = read_rows(io.BytesIO(b"q,level,final\na,,1\n"), "csv", 1 << 30, header=header)
    assert next(rows).value == {"q": "a", "final": "1"}
    assert header == ["q", "level", "final"]


def test_lines_without_text_above_the_header_are_no_header() -> None:
    assert read(b"\n ,\nquestion,gold_answer\na,1\n") == [{"question": "a", "gold_answer": "1"}]


@pytest.mark.parametrize(
    ("data", "told"),
    [(b"", "the file is empty"), (b"\n\n", "empty"), (b"q,final,q\na,1,b\n", "'q' stands there twice")],
)
def test_what_is_wrong_with_a_header_is_told(data: bytes, told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        read(data)
