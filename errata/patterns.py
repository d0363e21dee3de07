r"""Whether a regular expression of somebody else's may take too long on some text.

Python's ``re`` goes back over what it tried, so a short expression can run for years. No dependency of ours matches in
linear time with Python's syntax, so expressions are held to a part of it whose cost is bounded. That is stricter than
needed: some that are refused would be harmless.
"""

from __future__ import annotations

import re

_MOST_UNBOUNDED = 6
_MOST_WIDE = 2  # of them over nearly any character
_MANY = 50  # an upper bound beyond this counts as none
_PROBES = [chr(code) for code in range(9, 127)] + list("éа中½…\u00a0")
_OPENING = re.compile(r"\((?:\?(?P<kind>P<\w+>|:))?(?!\?)")
_QUANTIFIER = re.compile(r"[*+?]|\{(\d*)(,?)(\d*)\}")


def slow_pattern(
    pattern: str, *, longest: int, most_steps: int | None = None, named_groups: bool = False
) -> str | None:
    """Why an expression is refused: it does not compile, or may take too long on a text of ``longest`` characters.

    None where it is fine. No group is repeated, nothing is looked around for or referred back to, and few repetitions
    have no upper bound. With ``most_steps`` the bounds of all repetitions multiply to that at most, one without a bound
    counting as ``longest``: so many steps may be taken at each place of the text.
    """
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is no regular expression: {error}"
    unbounded: list[tuple[str, bool]] = []  # what is repeated without bound, and whether right behind its like
    at, behind, steps = 0, "", 1
    while at < len(pattern):
        start = at
        opening = _OPENING.match(pattern, at)
        if opening is not None and (named_groups or (opening["kind"] or "")[:1] != "P"):
            at = opening.end()
            continue
        if pattern[at] == "(" or re.match(r"\\[1-9]", pattern[at:]):
            groups = "plain, named and (?: groups" if named_groups else "plain and (?: groups"
            return f"looks around, refers back or sets flags; only {groups} are taken"
        at = _atom_end(pattern, at)
        quantifier = _QUANTIFIER.match(pattern, at)
        if quantifier is None:
            behind = behind if pattern[start] in "()|" else ""
            continue
        at = quantifier.end() + (pattern[quantifier.end() : quantifier.end() + 1] in ("?", "+"))
        most = _most(quantifier, longest)
        if pattern[start] == ")" and most > 1 and quantifier[0] != "?":
            return "repeats a group, which can take exponentially long; write the repetition out"
        steps *= most
        if most > _MANY:
            atom = pattern[start : quantifier.start()]
            unbounded.append((atom, _overlap(behind, atom)))
            behind = atom
    if most_steps is not None and steps > most_steps:
        return "may take too long on some text; give its repetitions bounds, as in \\d{1,9} for \\d+"
    return _too_many(unbounded)


def _most(quantifier: re.Match[str], longest: int) -> int:
    """How often at most a quantifier repeats what stands before it; an optional part has two ways to be matched."""
    sign = quantifier[0]
    if sign == "?":
        return 2
    if sign in "*+" or (quantifier[2] and not quantifier[3]):
        return longest
    return max(1, int(quantifier[3] or quantifier[1] or 1))


def _too_many(unbounded: list[tuple[str, bool]]) -> str | None:
    wide = [atom for atom, _ in unbounded if atom.startswith((".", "[^", "\\S", "\\D", "\\W"))]
    if len(unbounded) > _MOST_UNBOUNDED or len(wide) > _MOST_WIDE:
        return "has too many quantifiers without an upper bound"
    if sum(adjacent for _, adjacent in unbounded) > 1:
        return "has several quantifiers without an upper bound in a row"
    return None


def _overlap(one: str, other: str) -> bool:
    """Whether two repeated atoms may match the same character."""
    return bool(one) and any(re.fullmatch(one, char) and re.fullmatch(other, char) for char in _PROBES)


def _atom_end(pattern: str, at: int) -> int:
    if pattern[at] != "[":
        return at + (2 if pattern[at] == "\\" else 1)
    at += 1
    at += pattern[at : at + 1] == "^"
    at += pattern[at : at + 1] == "]"
    while pattern[at : at + 1] not in ("]", ""):
        at += 2 if pattern[at] == "\\" else 1
    return at + 1
