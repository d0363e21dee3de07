"""Text files as UTF-8: byte order marks, UTF-16 and UTF-32, and the 8-bit encodings that spreadsheets still write.

UTF-8 that is valid to its last byte is UTF-8. Anything else is recognised by chardet on the words that hold more than
ASCII (the English around them would hide them), with Windows-1252 where it cannot tell: Excel writes that in the West.
"""

from __future__ import annotations

import codecs
import re
import tempfile
from typing import IO, cast

import chardet

from api.http.readers.row import Unreadable

_CHUNK = 1024 * 1024
_SAMPLE = 64 * 1024
_IN_MEMORY = 1024 * 1024
_FALLBACK = "cp1252"
# The longest first: UTF-32's little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What a file without a mark is searched among: the code pages of Windows and what is common in East Asia. Macintosh and
# DOS pages would win by chance: almost every byte is a letter in them.
_LATIN = ("windows-1252", "windows-1250", "windows-1254", "windows-1257")
_OTHERS = (
    *("windows-1251", "windows-1253", "windows-1255", "windows-1256", "koi8-r"),
    *("cp932", "euc-jp", "gb18030", "big5", "cp949"),
)
# Accented letters stand alone among ASCII ones; in other scripts, and in multi-byte encodings, such bytes come in runs.
_LATIN_RUN = 1.3  # mean length
# A few words tell no language from another: the West's is the likeliest, unless it puts signs before letters (£ukasz).
_FEW_WORDS = 4
_MISREAD = re.compile("[¢£¤¥¦§¨©¬®¯±²³´¶¸¹¼½¾×÷\ufffd][a-zß-ÿ]")
_RUN = re.compile(rb"[\x80-\xff]+")
_WORD = re.compile(rb"[^\s,;|\"]*[\x80-\xff][^\s,;|\"]*")


def known_charset(name: str) -> bool:
    """Whether ``name`` is an encoding of text that we can read."""
    try:
        return codecs.lookup(name)._is_text_encoding
    except (LookupError, ValueError):
        return False


def as_utf8(file: IO[bytes], charset: str = "", *, guess: bool) -> IO[bytes]:
    """The text in UTF-8 without a mark, from its first byte: the file itself where it already is.

    ``charset``: what the sender says it is; "" to recognise it. ``guess``: whether a file that is not UTF-8 and has no
    mark may be in another encoding; otherwise it is left as it is. Raises Unreadable.
    """
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    marked = next((name for mark, name in _MARKS if start.startswith(mark)), None)
    found = marked or charset or _without_mark(file, start, guess)
    if codecs.lookup(found).name == "utf-8":
        return file
    if found == "utf-8-sig":
        file.seek(len(codecs.BOM_UTF8))
        return file
    return _transcoded(file, found)


def _without_mark(file: IO[bytes], start: bytes, guess: bool) -> str:
    # Text begins with ASCII in every format here: UTF-16 shows by its zeros.
    if len(start) >= 2 and start[1] == 0 and start[0]:
        return "utf-16-le"
    if len(start) >= 2 and start[0] == 0 and start[1]:
        return "utf-16-be"
    if not guess:
        return "utf-8"
    sample = _foreign_sample(file)
    return "utf-8" if sample is None else _recognised(sample)


def _foreign_sample(file: IO[bytes]) -> bytes | None:
    """Words with more than ASCII, from about where UTF-8 ends; None where the whole file is UTF-8. It is rewound."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while chunk := file.read(_CHUNK):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                return _words(chunk[max(0, error.start - _CHUNK // 2) :] + file.read(_CHUNK))
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            file.seek(-min(file.tell(), _CHUNK), 1)
            return _words(file.read(_CHUNK))
    finally:
        file.seek(0)
    return None


def _words(data: bytes) -> bytes:
    found, size = [], 0
    for match in _WORD.finditer(data):
        found.append(match.group()[:_SAMPLE])
        size += len(found[-1])
        if size > _SAMPLE:
            break
    return b" ".join(found)


def _recognised(words: bytes) -> str:
    runs = _RUN.findall(words)
    latin = sum(map(len, runs)) / max(len(runs), 1) <= _LATIN_RUN
    if latin and len(set(words.split())) < _FEW_WORDS and not _MISREAD.search(words.decode(_FALLBACK, "replace")):
        return _FALLBACK
    among = _LATIN if latin else (*_LATIN, *_OTHERS)
    found = chardet.detect(words, include_encodings=among, no_match_encoding=_FALLBACK)["encoding"]
    return found if found and known_charset(found) else _FALLBACK


def _transcoded(file: IO[bytes], encoding: str) -> IO[bytes]:
    plain = cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while chunk := file.read(_CHUNK):
            plain.write(decoder.decode(chunk).encode())
        plain.write(decoder.decode(b"", final=True).encode())
    except UnicodeError as error:  # also a lone surrogate, which UTF-16 can hold and UTF-8 cannot
        plain.close()
        raise Unreadable(f"not {encoding} text: {str(error)[:200]}; save the file as UTF-8") from None
    plain.seek(0)
    return plain
