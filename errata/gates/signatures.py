"""What is kept of each question while near-duplicates are sought: four digests, its MinHash bands, its numbers.

That is 160 bytes, and 12 for each number in it.

A text has two signatures: its tokens as they are, with numbers masked, and its tokens with names and letters masked as
well. Sentences are shingled apart, so their order does not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

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


@dataclass(frozen=True)
class Signed:
    """The signatures of a list of texts; digests are ``[texts]``.

    ``raw``: of the texts as they are; ``form``: of their tokens; ``kin``: of their tokens without names and order;
    ``template``: of their tokens without numbers. ``bands``: ``[2 * BANDS, texts]``. ``variants``: of each number of a
    text digests of all that the text says beside this number, of which two texts that differ in one number alone share
    one; ``variant_of``: the text of each.
    """

    raw: Hashes
    form: Hashes
    kin: Hashes
    template: Hashes
    bands: NDArray[np.uint32]
    variants: Hashes
    variant_of: NDArray[np.uint32]


class Signatures:
    """The signatures of texts in the order they are added. Memory: that of ``Signed`` and one batch of texts."""

    def __init__(self) -> None:
        self._parts: list[Signed] = []
        self._held: list[Canonical] = []

    def add(self, text: str) -> None:
        """Add one text."""
        self._held.append(canonical(text))
        if len(self._held) >= _BATCH:
            self._flush()

    def finish(self) -> Signed:
        """The signatures of all texts. What was held is given away."""
        self._flush()
        if not self._parts:
            none = np.zeros(0, np.uint64)
            return Signed(none, none, none, none, np.zeros((2 * BANDS, 0), np.uint32), none, np.zeros(0, np.uint32))
        parts, self._parts = self._parts, []
        counts = np.cumsum([0, *(len(part.raw) for part in parts)])
        bands = np.empty((2 * BANDS, int(counts[-1])), np.uint32)
        for at, part in zip(counts.tolist(), parts, strict=False):
            bands[:, at : at + part.bands.shape[1]] = part.bands
        raw, form, kin, template = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("raw", "form", "kin", "template")
        )
        owners = [part.variant_of + np.uint32(at) for at, part in zip(counts.tolist(), parts, strict=False)]
        variants = np.concatenate([part.variants for part in parts])
        return Signed(raw, form, kin, template, bands, variants, np.concatenate(owners))

    def _flush(self) -> None:
        held, self._held = self._held, []
        if not held:
            return
        raw, form, kin = (np.array([digest(told(text)) for text in held], np.uint64) for told in (_raw, _form, _kin))
        plain = [_numberless(text) for text in held]
        template = np.array([digest("\x1f".join(chain.from_iterable(text))) for text in plain], np.uint64)
        bands = np.concatenate([_bands(plain), _bands([text.masked for text in held])])
        self._parts.append(Signed(raw, form, kin, template, bands, *_variants(held, template)))


def _raw(text: Canonical) -> str:
    return text.raw


def _form(text: Canonical) -> str:
    return "\x1f".join(text.flat)


def _variants(texts: Sequence[Canonical], template: Hashes) -> tuple[Hashes, NDArray[np.uint32]]:
    """For each different number of each text a digest of the text with all its places open, or one of several; whose.

    Twice the same digest of one text does no harm.
    """
    told = [(at, place, token_hash(number)) for at, text in enumerate(texts) for place, number in _numbers(text)]
    if not told:
        return np.zeros(0, np.uint64), np.zeros(0, np.uint32)
    of, places, values = (np.array(column, np.uint64) for column in zip(*told, strict=True))
    order = np.lexsort((values, of))
    of, places, values = of[order], places[order], values[order]
    opened = mixed(places * _MIX + _STEP)
    # A sum over places: what a number adds to it can be taken out again.
    terms = mixed(opened ^ (values * _STEP))
    owners = np.unique(of)
    whole = np.add.reduceat(terms, np.searchsorted(of, owners))[np.searchsorted(owners, of)]
    starts = np.flatnonzero(np.concatenate([[True], (of[1:] != of[:-1]) | (values[1:] != values[:-1])]))
    several = np.repeat(np.diff([*starts, len(of)]), np.diff([*starts, len(of)])) > 1
    everywhere = whole[starts] + np.add.reduceat(opened - terms, starts)
    once = (whole + opened - terms)[several]
    text_of = np.concatenate([of[starts], of[several]])
    rest = mixed(np.concatenate([everywhere, once]))
    return mixed(template[text_of.astype(np.int64)] * _STEP + rest), text_of.astype(np.uint32)


def _numbers(text: Canonical) -> Iterator[tuple[int, str]]:
    """The numbers of a text with their places among its tokens."""
    tokens = chain.from_iterable(text.sentences)
    return ((place, token.text) for place, token in enumerate(tokens) if token.kind == "number")


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
