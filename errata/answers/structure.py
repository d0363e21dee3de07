r"""The shape of an answer over its tokens: lists, sets, tuples, intervals, unions, relations, matrices. No algebra.

"3 and 5", ``3, 5`` and ``\{3, 5\}`` are collections without order; ``(3, 5)`` is a tuple (or an open interval: they
look the same); ``[3, 5)`` an interval. A collection never equals one of its members.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from errata.answers.notation import words
from errata.answers.tokens import Token, Unparsable, tokenise

Shape = Literal["leaf", "list", "set", "tuple", "union", "intersection", "difference", "relation", "matrix", "builder"]
MAX_PARTS = 64
_OPENING = {")": "([", "]": "([", "}": "{", "\\}": ("\\{",), "\\rangle": ("\\langle",), "\\rfloor": ("\\lfloor",),
            "\\rceil": ("\\lceil",), "end": ("begin",)}  # fmt: skip
_SET_WORDS = {"cup": "union", "cap": "intersection", "setminus": "difference"}
_SEPARATORS = frozenset({("sep", ","), ("sep", ";")})
_JOINING = frozenset({"and", "or", "且", "或", "和", "与"})
# Where prose begins that says more about a value than what it is.
_PROSE = words(
    "which because since as so where when that who therefore thus hence i.e e.g meaning making given giving"
    " representing after before using i assuming we he she they it this these those there"
    " 因为 所以 其中 因此 即"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A parsed answer. ``marks`` are brackets of a tuple, relations between parts, or the words that join a list."""

    shape: Shape
    tokens: tuple[Token, ...]
    parts: tuple[Answer, ...] = ()
    marks: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The tokens as text, the same for the same tokens however they were spaced and whatever their kind."""
        pieces = []
        for at, token in enumerate(self.tokens):
            # 1,234 is 1234; the zero of 1:03 counts.
            plain = token.kind == "num" and not token.base and not token.text.startswith("0")
            number = str(token.value) if plain else token.text
            glued = at and token.kind in ("num", "word") and self.tokens[at - 1].kind in ("num", "word")
            pieces.append(f" {number}" if glued else number + (f"_{token.base}" if token.base else ""))
        return "".join(pieces)


def read(text: str, group: bool = True, prose: bool = False) -> Answer:
    """The shape of a normalised answer. ``prose``: cut off what is said behind the value. Raises Unparsable."""
    tokens = tokenise(text, group)
    if prose:
        tokens = _without_prose(tokens)
    answer = _read(_trimmed(tokens), 0)
    if _count(answer) > MAX_PARTS:
        raise Unparsable("too many parts")
    return answer


def _count(answer: Answer) -> int:
    return 1 + sum(_count(part) for part in answer.parts)


def _trimmed(tokens: list[Token]) -> list[Token]:
    while tokens and tokens[-1].kind == "sep":
        tokens = tokens[:-1]
    while tokens and tokens[0].kind == "sep":
        tokens = tokens[1:]
    return tokens


def _without_prose(tokens: list[Token]) -> list[Token]:
    """``13, which is the total`` as ``13``: cut where a clause begins behind something with a value."""
    depth = 0
    for at, token in enumerate(tokens):
        outside = depth == 0
        depth += 1 if token.kind == "open" else -1 if token.kind == "close" else 0
        if not outside or at == 0:
            continue
        begins = token.kind == "word" and token.text.lower() in _PROSE and tokens[at - 1].text != "same"
        aside = token.text == "not" and tokens[at - 1].text == ","
        # "27 (the total)": words in brackets behind a number or a word, not behind the name of a function.
        words_follow = at + 1 < len(tokens) and tokens[at + 1].kind == "word" and len(tokens[at + 1].text) > 1
        aside |= token.text == "(" and words_follow and tokens[at - 1].kind in ("num", "close", "word")
        if (begins or aside) and any(t.kind in ("num", "var", "cmd") for t in tokens[:at]):
            while tokens[at - 1].kind == "sep" or _joins(tokens[at - 1]):
                at -= 1
            return tokens[:at]
    return tokens


def depths(tokens: list[Token]) -> list[int]:
    """How deep in brackets each token stands; a bracket has the depth around it. Raises Unparsable if unbalanced."""
    found: list[int] = []
    opened: list[str] = []
    for token in tokens:
        if token.kind == "close" or (token.kind == "cmd" and token.text == "end"):
            if not opened or opened[-1] not in _OPENING[token.text]:
                raise Unparsable(f"{token.text!r} closes nothing")
            opened.pop()
        found.append(len(opened))
        if token.kind == "open" or (token.kind == "cmd" and token.text == "begin"):
            opened.append(token.text)
    if opened:
        raise Unparsable(f"{opened[-1]!r} is not closed")
    return found


def _read(tokens: list[Token], level: int) -> Answer:
    if level > 12:
        raise Unparsable("too deeply nested")
    tokens = _unbraced(tokens)
    if not tokens:
        raise Unparsable("a part is empty")
    levels = depths(tokens)
    for split in (_list, _relation, _set_operation, _matrix, _bracketed, _both_signs):
        found = split(tokens, levels, level)
        if found is not None:
            return found
    return Answer("leaf", tuple(tokens))


def _unbraced(tokens: list[Token]) -> list[Token]:
    while len(tokens) > 1 and tokens[0].text == "{" and tokens[-1].text == "}" and depths(tokens)[1:-1].count(0) == 0:
        tokens = tokens[1:-1]
    return tokens


def split_at(tokens: list[Token], cuts: list[int]) -> list[list[Token]]:
    """The pieces between the tokens at ``cuts``."""
    bounds = [-1, *cuts, len(tokens)]
    return [tokens[start + 1 : end] for start, end in pairwise(bounds)]


def _joins(token: Token) -> bool:
    return token.kind == "word" and token.text.lower() in _JOINING


def _list(tokens: list[Token], levels: list[int], level: int) -> Answer | None:
    cuts = [
        at for at, token in enumerate(tokens)
        if levels[at] == 0 and ((token.kind, token.text) in _SEPARATORS or _joins(token))
    ]  # fmt: skip
    if not cuts or _number_words(tokens):
        return None
    pieces = split_at(tokens, cuts)
    marks = tuple(tokens[at].text.lower() for at in cuts)
    kept = [piece for piece in pieces if piece]
    if not kept or not pieces[0] or not pieces[-1]:
        raise Unparsable("a part is empty")
    if len(kept) == 1:
        return _read(kept[0], level + 1)
    return Answer("list", tuple(tokens), tuple(_read(piece, level + 1) for piece in kept), marks)


def _number_words(tokens: list[Token]) -> bool:
    """ "One hundred and five" is one number."""
    return all(token.kind == "word" for token in tokens) and any(token.text.lower() == "hundred" for token in tokens)


def _relation(tokens: list[Token], levels: list[int], level: int) -> Answer | None:
    cuts = [at for at, token in enumerate(tokens) if token.kind == "rel" and levels[at] == 0]
    if not cuts:
        return None
    if cuts[0] == 0:
        # "= 5" and "x =": what is missing on the left was said before.
        if tokens[0].text in ("=", "approx"):
            return _read(tokens[1:], level + 1)
        raise Unparsable("a relation lacks a side")
    steps = [at for at in cuts if tokens[at].text == "implies"]
    if steps:
        return _read(tokens[steps[-1] + 1 :], level + 1)  # what follows from the rest is the answer
    pieces = split_at(tokens, cuts)
    if not all(pieces):
        raise Unparsable("a relation lacks a side")
    marks = tuple(tokens[at].text for at in cuts)
    return Answer("relation", tuple(tokens), tuple(_read(piece, level + 1) for piece in pieces), marks)


def _set_operation(tokens: list[Token], levels: list[int], level: int) -> Answer | None:
    for word, shape in _SET_WORDS.items():
        cuts = [at for at, t in enumerate(tokens) if t.kind == "cmd" and t.text == word and levels[at] == 0]
        if cuts:
            pieces = split_at(tokens, cuts)
            parts = tuple(_read(piece, level + 1) for piece in pieces)
            return Answer(shape, tuple(tokens), parts)  # type: ignore[arg-type]
    return None


def _bracketed(tokens: list[Token], levels: list[int], level: int) -> Answer | None:
    first, last = tokens[0].text, tokens[-1].text
    if len(tokens) < 2 or tokens[0].kind != "open" or tokens[-1].kind != "close" or 0 in levels[1:-1]:
        return None
    inner, inside = tokens[1:-1], [depth - 1 for depth in levels[1:-1]]
    if not inner and first != "\\{":
        raise Unparsable("empty brackets")
    if first == "\\{":
        return _set(tokens, inner, inside, level)
    commas = [at for at, t in enumerate(inner) if t.kind == "sep" and t.text in (",", ";") and inside[at] == 0]
    if commas and first in ("(", "[", "\\langle"):
        parts = tuple(_read(piece, level + 1) for piece in split_at(inner, commas))
        brackets = ("(", ")") if first == "\\langle" else (first, last)
        return Answer("tuple", tuple(tokens), parts, brackets)
    if first == "{" and commas:
        return _set(tokens, inner, inside, level)
    if inner[0].text == "begin" and inner[0].kind == "cmd":
        return _read(inner, level + 1)  # brackets around a matrix that has none of its own
    relation = any(t.kind == "rel" and depth == 0 for t, depth in zip(inner, inside, strict=True))
    word = any(t.kind == "word" and len(t.text) > 1 for t in inner)
    if first == "(" and last == ")" and (relation or (word and len(inner) == 1)):
        return _read(inner, level + 1)
    return None


def _set(tokens: list[Token], inner: list[Token], inside: list[int], level: int) -> Answer:
    bars = [at for at, t in enumerate(inner) if t.text in ("|", ":") and inside[at] == 0]
    if bars and len(bars) % 2 and any(t.kind == "rel" for t in inner):
        head, condition = inner[: bars[0]], inner[bars[0] + 1 :]
        return Answer("builder", tuple(tokens), (_read(head, level + 1), _read(condition, level + 1)))
    if not inner:
        return Answer("set", tuple(tokens))
    commas = [at for at, t in enumerate(inner) if t.kind == "sep" and t.text in (",", ";") and inside[at] == 0]
    return Answer("set", tuple(tokens), tuple(_read(piece, level + 1) for piece in split_at(inner, commas)))


def _both_signs(tokens: list[Token], _: list[int], level: int) -> Answer | None:
    signs = [at for at, t in enumerate(tokens) if t.kind == "cmd" and t.text in ("pm", "mp")]
    if not signs:
        return None
    if len(signs) > 1:
        return Answer("leaf", tuple(tokens))  # which signs go together is not told
    at = signs[0]
    sides = []
    for sign in "+-":
        plain = [*tokens[:at], Token("op", sign, spaced=tokens[at].spaced), *tokens[at + 1 :]]
        sides.append(_read(plain[1:] if at == 0 and sign == "+" else plain, level + 1))
    return Answer("list", tuple(tokens), tuple(sides), ("or",))


def _matrix(tokens: list[Token], levels: list[int], level: int) -> Answer | None:
    if tokens[0].kind != "cmd" or tokens[0].text != "begin":
        return None
    stop = levels[1:].index(0) + 1  # where the environment ends: its name still follows
    name = tokens[2].text if len(tokens) > 2 else ""
    if not ("matrix" in name or name == "array") or _behind_name(tokens, stop) != len(tokens):
        raise Unparsable("an environment that is not understood")
    rows: list[list[list[Token]]] = [[[]]]
    for token in tokens[_behind_name(tokens, 0) : stop]:
        if token.text == "\\\\":
            rows.append([[]])
        elif token.text == "&":
            rows[-1].append([])
        else:
            rows[-1][-1].append(token)
    rows = [row for row in rows if any(row)]
    parts = tuple(_read(cell, level + 1) for row in rows for cell in row)
    return Answer("matrix", tuple(tokens), parts, tuple(str(len(row)) for row in rows))


def _behind_name(tokens: list[Token], at: int) -> int:
    while at < len(tokens) and tokens[at].text != "}":
        at += 1
    return at + 1
