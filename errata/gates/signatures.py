"""What is kept of each question while near-duplicates are sought: three digests and its MinHash bands, 152 bytes.

A text has two signatures: its tokens as they are, with numbers masked, and its tokens with names and letters masked as
well. Sentences are shingled apart, so their order does not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

from errata.gates.canonical import Canonical, Token, Tokens, canonical, masked_text

PERMUTATIONS = 64
ROWS = 4  # of a band: texts that share 0.7 of their shingles meet with 0.988, texts that share 0.1 with 0.002
BANDS = PERMUTATIONS // ROWS
_SEED = 42
_BATCH = 1_000
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_END = 0  # between sentences, and between texts

Hashes = NDArray[np.uint64]


def digest(text: str) -> int:
    """64 bits of a text; the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


@lru_cache(maxsize=1 << 17)
def token_hash(token: str) -> int:
    """64 bits of a token, never 0."""
    return digest(token) or 1


class Signatures:
    """The signatures of texts in the order they are added. Memory: 152 bytes a text and one batch of texts."""

    def __init__(self) -> None:
        self.raw: list[Hashes] = []
        self.form: list[Hashes] = []
        self.kin: list[Hashes] = []
        self.bands: list[NDArray[np.uint32]] = []
        self._held: list[Canonical] = []

    def add(self, text: str) -> None:
        """Add one text."""
        self._held.append(canonical(text))
        if len(self._held) >= _BATCH:
            self._flush()

    def finish(self) -> tuple[Hashes, Hashes, Hashes, NDArray[np.uint32]]:
        """Digests of the raw texts, of their tokens, and of their tokens without names and order; and the bands.

        The digests are ``[texts]``, the bands ``[2 * BANDS, texts]``. What was held is given away.
        """
        self._flush()
        if not self.raw:
            none = np.zeros(0, np.uint64)
            return none, none, none, np.zeros((2 * BANDS, 0), np.uint32)
        digests = [np.concatenate(column) for column in (self.raw, self.form, self.kin)]
        bands = np.empty((2 * BANDS, len(digests[0])), np.uint32)
        at = 0
        for part in self.bands:  # one array and its parts, never two whole copies with the parts
            bands[:, at : at + part.shape[1]] = part
            at += part.shape[1]
        self.raw, self.form, self.kin, self.bands = [], [], [], []
        return digests[0], digests[1], digests[2], bands

    def _flush(self) -> None:
        held, self._held = self._held, []
        if not held:
            return
        self.raw.append(np.array([digest(text.raw) for text in held], np.uint64))
        self.form.append(np.array([digest("\x1f".join(text.flat)) for text in held], np.uint64))
        self.kin.append(np.array([digest(_kin(text)) for text in held], np.uint64))
        plain = _bands([_numberless(text) for text in held])
        self.bands.append(np.concatenate([plain, _bands([text.masked for text in held])]))


def _numberless(text: Canonical) -> list[Tokens]:
    return [tuple("0" if token.kind == "number" else token.text for token in s) for s in text.sentences]


def _kin(text: Canonical) -> str:
    return "\x1e".join(sorted("\x1f".join(masked_names(sentence)) for sentence in text.sentences))


def masked_names(sentence: Iterable[Token]) -> Iterator[str]:
    """The texts of tokens, with names, letters and pronouns as marks and numbers as they are."""
    for token in sentence:
        yield "N" if token.kind == "name" else token.text if token.kind == "number" else masked_text(token)


def _bands(texts: Iterable[Iterable[Tokens]]) -> NDArray[np.uint32]:
    """The band hashes of a batch of texts, ``[BANDS, texts]``."""
    flat: list[int] = []
    ends: list[int] = []
    for sentences in texts:
        for sentence in sentences:
            flat.extend(map(token_hash, sentence))
            flat.append(_END)
        ends.append(len(flat))
    flat.append(_END)
    hashes = np.array(flat, np.uint64)
    # A shingle is a token and the next one. At the end of a sentence the next is none; an end begins no shingle.
    shingles = mixed(hashes[:-1] * _STEP + mixed(hashes[1:]))
    kept = hashes[:-1] != _END
    text_of = np.repeat(np.arange(len(ends)), np.diff([0, *ends]))
    lengths = np.bincount(text_of[kept], minlength=len(ends))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint64)
    found = RMinHash.digest_matrix_from_flat_token_hashes(shingles[kept], offsets, PERMUTATIONS, _SEED)
    rows = np.array(found.to_rows(), np.uint64).reshape(len(ends), BANDS, ROWS)
    total = np.zeros((len(ends), BANDS), np.uint64)
    for at in range(ROWS):
        total = mixed(total * _STEP + rows[:, :, at])
    return np.ascontiguousarray((total >> np.uint64(32)).astype(np.uint32).T)


def mixed(values: Hashes) -> Hashes:
    """The bits of each value spread (splitmix64's finaliser)."""
    values = (values ^ (values >> np.uint64(30))) * _MIX
    return values ^ (values >> np.uint64(27))
