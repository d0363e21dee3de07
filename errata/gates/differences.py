"""What two questions differ in: their writing alone, the order of their sentences, names, a few words, or a number.

The first four are near-duplicates: one problem, told twice. A number that differs makes another problem, which is told
apart (``number_variant``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rapidfuzz.distance import Levenshtein

from errata.gates.canonical import Canonical, Token, Tokens
from errata.gates.words import JOINERS, ORDINARY, PRONOUNS

DifferenceKind = Literal["exact", "format", "order", "names", "wording", "number_variant"]
KINDS: tuple[DifferenceKind, ...] = ("exact", "format", "order", "names", "wording", "number_variant")
"""From the least difference to the greatest."""

_WORDING_SHARE = 0.06  # of the tokens that may be other words
_WORDING_LEAST = 25  # tokens: in a shorter question one word is most of what is asked
_LONGEST = 2_000  # tokens that are aligned; longer texts are compared as a whole only
_ARTICLES = frozenset({"a", "an"})

_Segment = tuple[Sequence[Token], Sequence[Token]]


@dataclass(frozen=True, slots=True)
class Difference:
    """The kind of what two texts differ in."""

    kind: DifferenceKind

    @property
    def is_duplicate(self) -> bool:
        """Whether both are one problem."""
        return self.kind != "number_variant"


def difference(one: Canonical, other: Canonical) -> Difference | None:
    """What two texts differ in; None where they are two problems that have nothing special in common.

    Symmetric. Time grows with the product of the lengths where the texts are alike, up to a limit of tokens.
    """
    if one.raw == other.raw:
        return Difference("exact")
    if one.flat == other.flat:
        return Difference("format")
    if _reordered(one.folded, other.folded):
        return Difference("order")
    if max(len(one.flat), len(other.flat)) > _LONGEST:
        return None
    return _of_segments(_aligned(one, other), max(len(one.flat), len(other.flat)))


def _reordered(one: tuple[Tokens, ...], other: tuple[Tokens, ...]) -> bool:
    """Whether both have the same sentences. A last sentence without its mark may have run into the next."""
    before, after = Counter(one), Counter(other)
    lost, come = list((before - after).elements()), list((after - before).elements())
    if len(lost) > len(come):
        lost, come = come, lost
    return not come or (len(lost) == 1 and len(come) == 2 and lost[0] in (come[0] + come[1], come[1] + come[0]))


def _aligned(one: Canonical, other: Canonical) -> list[_Segment]:
    """The segments that differ. Sentences are brought into one order where both texts have the same, names aside."""
    sides = [list(one.sentences), list(other.sentences)]
    if sorted(one.masked) == sorted(other.masked):
        sides = [_in_order(one), _in_order(other)]
    first, second = ([token for sentence in side for token in sentence] for side in sides)
    return list(_segments(first, second))


def _in_order(text: Canonical) -> list[tuple[Token, ...]]:
    ranked = sorted(range(len(text.sentences)), key=lambda at: text.masked[at])
    return [text.sentences[at] for at in ranked]


def _segments(first: Sequence[Token], second: Sequence[Token]) -> Iterator[_Segment]:
    codes = Levenshtein.opcodes([token.text for token in first], [token.text for token in second])
    start: tuple[int, int] | None = None
    for code in codes:
        if code.tag == "equal" and start is not None:
            yield first[start[0] : code.src_start], second[start[1] : code.dest_start]
            start = None
        elif code.tag != "equal" and start is None:
            start = (code.src_start, code.dest_start)
    if start is not None:
        yield first[start[0] :], second[start[1] :]


def _of_segments(segments: Iterable[_Segment], length: int) -> Difference | None:
    names: set[tuple[str, str]] = set()
    numbers: set[tuple[str, str]] = set()
    words = 0
    for before, after in _split(segments):
        if _is_number(before) and _is_number(after):
            numbers.add((before[0].text, after[0].text))
        elif _may_be_name(before) and _may_be_name(after):
            names.add((_joined(before), _joined(after)))
        elif not (_all_in(PRONOUNS, before, after) or _all_in(_ARTICLES, before, after)):
            if any(token.kind in ("number", "sign", "letter") for token in (*before, *after)):
                return None
            words += max(len(before), len(after))
    if not _one_to_one(names):
        words += len(names)
    if words and (length < _WORDING_LEAST or words > _WORDING_SHARE * length):
        return None
    if numbers:
        return Difference("number_variant") if len(numbers) == 1 else None
    return Difference("wording" if words else "names")


def _split(segments: Iterable[_Segment]) -> Iterator[_Segment]:
    """Segments of the same length token by token where both are of the same kinds: "Tom 5" and "Ann 7" are two."""
    for before, after in segments:
        if len(before) == len(after) > 1 and [t.kind for t in before] == [t.kind for t in after]:
            yield from (([one], [other]) for one, other in zip(before, after, strict=True) if one.text != other.text)
        else:
            yield before, after


def _is_number(segment: Sequence[Token]) -> bool:
    return len(segment) == 1 and segment[0].kind == "number"


def _may_be_name(segment: Sequence[Token]) -> bool:
    """Names, letters that stand for something, or signs of a script without capitals; no word that means something."""
    if not segment:
        return False
    if all(len(token.text) == 1 and token.text.isalpha() and not _is_unspaced(token) for token in segment):
        return True
    if all(_is_unspaced(token) for token in segment):
        return len(segment) <= 4
    words = [token for token in segment if token.text not in JOINERS]
    return bool(words) and all(token.kind == "name" and token.text not in ORDINARY for token in words)


def _is_unspaced(token: Token) -> bool:
    return len(token.text) == 1 and token.kind == "word" and token.text > "\u2fff"


def _joined(segment: Sequence[Token]) -> str:
    return " ".join(token.text for token in segment)


def _all_in(words: frozenset[str], before: Sequence[Token], after: Sequence[Token]) -> bool:
    return bool(before) and bool(after) and all(token.text in words for token in (*before, *after))


def _one_to_one(renamed: set[tuple[str, str]]) -> bool:
    return len({old for old, _ in renamed}) == len(renamed) == len({new for _, new in renamed})
