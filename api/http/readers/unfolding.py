"""Compressed files (gzip, Zstandard), recognised by their first bytes and unfolded within two limits.

A bomb never gets its size: unfolding ends at ``limit`` bytes, and for a file that says next to nothing long before.
"""

from __future__ import annotations

import re
import tempfile
from typing import IO, Any, Literal, cast

import pyarrow as pa

from api.http.errors import BadRequest, FieldError, TooLarge
from api.http.readers.row import Format, Unreadable

Packing = Literal["gzip", "zstd"]
_MAGIC: dict[bytes, Packing] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
# pzstd and seekable Zstandard put frames to be skipped between the others, also first.
_MAGIC |= {bytes((kind, 0x2A, 0x4D, 0x18)): "zstd" for kind in range(0x50, 0x60)}
_ZIP = b"PK\x03\x04"
_JSON = re.compile(rb'\{\s*"[^"]*"\s*:|\[\s*\{\s*"')
_IN_MEMORY = 1024 * 1024
_CHUNK = 256 * 1024
#: Text of problems packs 3 to 30 times smaller. Small files may be anything: their whole size is small.
RATIO_LIMIT = 200
RATIO_FREE = 32 * 1024 * 1024
_MOST_LAYERS = 2  # a .gz that was sent with Content-Encoding: gzip


def packing_of(file: IO[bytes]) -> Packing | None:
    """How the file is compressed, by its first bytes; it is rewound."""
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    return next((packing for magic, packing in _MAGIC.items() if start.startswith(magic)), None)


def unfolded(file: IO[bytes], limit: int, declared: Packing | None = None) -> IO[bytes]:
    """The plain content, from its first byte: the file itself where it is not compressed, else a file on disk.

    ``declared``: how the sender says it is compressed. Raises TooLarge beyond ``limit`` bytes or ``RATIO_LIMIT`` times
    the file's size, BadRequest for data that is damaged, cut off or not compressed as declared.
    """
    if declared and packing_of(file) != declared:
        raise _refusal(f"the file is no {declared} data", "compress it as Content-Encoding says, or leave that out")
    for _ in range(_MOST_LAYERS):
        packing = packing_of(file)
        if packing is None:
            return file
        file = _unfold(file, packing, limit)
    if packing_of(file) is not None:
        raise _refusal(f"the file is compressed more than {_MOST_LAYERS} times", "compress it once")
    return file


def sniffed_format(file: IO[bytes]) -> Format:
    """What a file without a name or type holds, by its first bytes; it is rewound."""
    file.seek(0)
    start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    file.seek(0)
    if start.startswith(b"PAR1"):
        return "parquet"
    return "json" if start[:1] in (b"{", b"[") else "csv"


def actual_format(file: IO[bytes], named: Format) -> Format:
    """What a file that claims to be ``named`` holds where its first bytes leave no doubt; it is rewound.

    Parquet and a list of JSON objects are read under any name. Raises Unreadable for a ZIP archive, which a workbook of
    Excel is, and for JSON that claims to be a table.
    """
    file.seek(0)
    start = file.read(256).removeprefix(b"\xef\xbb\xbf").lstrip()
    file.seek(0)
    if start.startswith(_ZIP):
        raise Unreadable("it is a ZIP archive or a workbook; unpack it, or save the sheet as CSV")
    if start.startswith(b"PAR1"):
        return "parquet"
    if named == "jsonl" and start.startswith(b"["):
        return "json"
    if named in ("csv", "tsv") and _JSON.match(start):
        raise Unreadable("it holds JSON and no table; name it .json or .jsonl")
    return named


def size_of(file: IO[bytes]) -> int:
    """Bytes of the file; it is rewound."""
    size = file.seek(0, 2)
    file.seek(0)
    return size


class _KeptOpen:
    """A file that its reader cannot close: Arrow closes what it has read."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Bytes from where the file stands."""
        return self._file.read(size)

    def close(self) -> None:
        """Nothing."""


def _unfold(file: IO[bytes], packing: Packing, limit: int) -> IO[bytes]:
    most = min(limit, max(RATIO_FREE, RATIO_LIMIT * size_of(file)))
    plain = cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115
    try:
        source: Any = pa.CompressedInputStream(pa.PythonFile(_KeptOpen(file), mode="r"), packing)
        while chunk := source.read(_CHUNK):
            if plain.tell() + len(chunk) > most:
                raise _too_large(most, limit)
            plain.write(chunk)
    except (OSError, pa.ArrowException):
        plain.close()
        remedy = "compress it anew, and send it whole"
        raise _refusal(
            f"the file is not complete {packing} data: cut off, damaged, or more behind it", remedy
        ) from None
    except TooLarge:
        plain.close()
        raise
    plain.seek(0)
    return plain


def _refusal(message: str, remedy: str) -> BadRequest:
    return BadRequest(f"{message}; {remedy}", [FieldError(field="file", message=message, remedy=remedy)])


def _too_large(most: int, limit: int) -> TooLarge:
    message, remedy = f"the file unfolds to more than {limit} bytes", "send it in parts"
    if most != limit:
        message, remedy = f"the file unfolds to more than {RATIO_LIMIT} times its size", "send it less compressed"
    return TooLarge(f"{message}; {remedy}", [FieldError(field="file", message=message, remedy=remedy)])
