"""Gold answers written otherwise (the same thing) and spoiled (another thing), for tests. Works on text alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction

_LONG = re.compile(r"(?<![\d.,{])\d{4,}(?![\d,.{])")
_FRACTION = re.compile(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}")
_PIECES = re.compile(r"\\[A-Za-z]+|\\.|\d[\d.]*|[A-Za-z]|.", re.DOTALL)


def _groups(gold: str, separator: str) -> str:
    """Every long integer of ``gold`` in groups of three."""
    plain = (
        re.sub(r"(?<=\d)(?:,\s*\\!\s*|\{,\}|,)(?=\d{3})", "", gold)
        if "," in gold and not re.search(r"[(\[]", gold)
        else gold
    )
    return _LONG.sub(lambda m: f"{int(m[0]):,}".replace(",", separator), plain)


def _decimal(gold: str) -> str:
    match = _FRACTION.fullmatch(gold.lstrip("-"))
    if match is None:
        return gold
    value = Fraction(int(match[1]), int(match[2]))
    below = value.denominator
    while below % 2 == 0 or below % 5 == 0:
        below //= 2 if below % 2 == 0 else 5
    if below != 1:
        return gold
    digits = value
    places = 0
    while digits.denominator != 1:
        digits, places = digits * 10, places + 1
    text = f"{digits.numerator:0{places + 1}d}"
    shown = f"{text[:-places]}.{text[-places:]}" if places else text
    return ("-" if gold.startswith("-") else "") + shown


def _reversed_list(gold: str) -> str:
    """Parts of a bare list in the opposite order; a list within brackets is a tuple and stays."""
    pieces = split_top(gold)
    return ", ".join(piece.strip() for piece in reversed(pieces)) if len(pieces) > 1 and "," not in pieces[0] else gold


def split_top(text: str) -> list[str]:
    """Pieces between commas outside of brackets; thousands are no pieces."""
    if re.search(r"\d,\s*\\!|\{,\}|\d,\d{3}(?!\d)", text):
        return [text]
    pieces, depth = [""], 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += char
    return pieces


REFORMATS: dict[str, Callable[[str], str]] = {
    "dfrac": lambda g: re.sub(r"\\[dt]?frac", r"\\dfrac", g),
    "tfrac": lambda g: re.sub(r"\\[dt]?frac", r"\\tfrac", g),
    "left": lambda g: re.sub(r"(?<!\\right)\)", r"\\right)", re.sub(r"(?<!\\left)\(", r"\\left(", g))
    if "\\left" not in g and not re.search(r"[\[\]]", g) else g,
    "unleft": lambda g: re.sub(r"\\(?:left|right)\s?", "", g),
    "no spaces": lambda g: re.sub(r"(?<![A-Za-z\d]) (?![A-Za-z\d])", "", g) if "text" not in g else g,
    "spaces": lambda g: re.sub(r"(?<=[\d})])([-+=])(?=[\d\\(A-Za-z])", r" \1 ", g) if "{-" not in g else g,
    "thin spaces": lambda g: re.sub(r"(?<=[\d})])([+=])(?=[\d\\(A-Za-z])", r"\\, \1 \\;", g),
    "commas": lambda g: _groups(g, ","),
    "braced commas": lambda g: _groups(g, "{,}"),
    "LaTeX commas": lambda g: _groups(g, ",\\!"),
    "thin groups": lambda g: _groups(g, "\\,"),
    "no groups": lambda g: _groups(g, ""),
    "dollars": lambda g: f"${g}$",
    "double dollars": lambda g: f"$${g}$$",
    "parentheses": lambda g: f"\\({g}\\)",
    "text": lambda g: f"\\text{{{g}}}" if re.fullmatch(r"-?[\w.]+", g) and "_" not in g else g,
    "bold": lambda g: f"\\mathbf{{{g}}}" if "text" not in g else g,
    "untext": lambda g: re.sub(r"\\(?:text|mbox)\{([^{}]*)\}", r"\1", g),
    "mathrm": lambda g: re.sub(r"\\(?:text|mbox)\{", r"\\mathrm{", g),
    "period": lambda g: f"{g}.",
    "named": lambda g: f"x = {g}" if "=" not in g and "text" not in g and len(split_top(g)) == 1 and "_" not in g
    and "cup" not in g and not re.fullmatch(r"[A-Z]", g) else g,
    "reversed": _reversed_list,
    "decimal": _decimal,
    "slash": lambda g: re.sub(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}(?![\\\w({])", r"\1/\2", g) if "\\sqrt" not in g else g,
    "displaystyle": lambda g: f"\\displaystyle {g}",
    "degree sign": lambda g: g.replace("^\\circ", "°"),
    "pi": lambda g: re.sub(r"\\pi(?![A-Za-z])", "π", g),
    "root sign": lambda g: re.sub(r"\\sqrt\{(\d+)\}", r"√\1", g),
    "bare root": lambda g: re.sub(r"\\sqrt\{(\d)\}", r"\\sqrt\1", g),
    "bmatrix": lambda g: g.replace("pmatrix", "bmatrix"),
    "cdot": lambda g: re.sub(r"(\d)\s?(\\sqrt|\\pi)", r"\1 \\cdot \2", g),
    "minus sign": lambda g: g.replace("-", "−"),
    "line break": lambda g: re.sub(r"(?<=[\d}]) ?([-+]) ?(?=[\d\\])", "\n\\1 ", g) if "{-" not in g else g,
    "spaced": lambda g: " ".join(piece for piece in _PIECES.findall(g) if piece != " ")
    if not re.search(r"text|begin|\\!|\{,\}|\d,\d{3}(?!\d)", g) else g,
    "mathematics in text": lambda g: f"\\text{{${g}$}}" if "$" not in g else g,
    "short fractions": lambda g: re.sub(r"\\frac\{(\d)\}\{(\d)\}", r"\\frac\1\2", g),
    "wide fractions": lambda g: re.sub(r"\\frac\{(\d+)\}\{(\d+)\}", r"\\frac{ \1 }{ \2 }", g),
    "colour": lambda g: f"\\textcolor{{red}}{{{g}}}",
    "switched colour": lambda g: f"{{\\color{{blue}}{g}}}",
    "braces": lambda g: f"{{{g}}}",
    "aligned": lambda g: f"\\begin{{aligned}}{g}\\end{{aligned}}" if "begin" not in g else g,
    "equals": lambda g: f"= {g}",
    "trailing space": lambda g: f"{g}\\ ",
    "degrees": lambda g: g.replace("^\\circ", r"\text{ degrees}"),
    "braced degrees": lambda g: g.replace("^\\circ", r"^{\circ}"),
    "mbox": lambda g: g.replace("\\text{", "\\mbox{"),
    "array": lambda g: g.replace("\\begin{pmatrix}", "(\\begin{array}{cc}").replace("{pmatrix}", "{array})"),
    "point zero": lambda g: f"{g}.0" if re.fullmatch(r"-?\d+", g) else g,
    "sign above": lambda g: re.sub(r"^-\\[dt]?frac\{", r"\\frac{-", g),
    "braced powers": lambda g: re.sub(r"\^(\d)", r"^{\1}", g),
    "infinity": lambda g: g.replace(",\\infty", ",+\\infty"),
}  # fmt: skip


_OTHER_THINGS = (
    ("unit", "feet", "inches"), ("unit power", "square feet", "feet"), ("unit power", "square units", "units"),
    ("unit power", "square units", "cubic units"), ("unit", "mph", "km/h"), ("unit", "degrees", "radians"),
    ("half of the day", "PM", "AM"), ("word", "June", "July"), ("word", "Sunday", "Monday"),
    ("word", "ellipse", "circle"),
    ("currency", "\\$", "£"), ("percent", "\\%", "\\text{ m}"), ("infinity", "\\infty", "0"), ("set", "\\cup", "\\cap"),
    ("points", "CD", "CE"), ("root", "\\sqrt", "2"), ("constant", "\\pi", "3"), ("relation", "= 0", "= 1"),
)  # fmt: skip


def spoilings(gold: str) -> Iterator[tuple[str, str]]:
    """Kind and text of every spoiled form of ``gold``; some may by chance mean the same, which the caller checks."""
    for match in re.finditer(r"\d", gold):
        at = match.start()
        digit = str((int(gold[at]) + 1) % 10)
        if gold[at - 2 : at] == "_{" or gold[at - 1 : at] == "_":
            yield "base", gold[:at] + str(int(gold[at]) + 1) + gold[at + 1 :]
        elif gold[at - 1 : at] == "^" or gold[at - 2 : at] == "^{":
            yield "exponent", gold[:at] + digit + gold[at + 1 :]
        else:
            yield "digit", gold[:at] + digit + gold[at + 1 :]
    for match in re.finditer(r"(?<=[\w})\s])[-+](?=[\s\w\\(])", gold):
        at = match.start()
        yield "sign", gold[:at] + ("+" if gold[at] == "-" else "-") + gold[at + 1 :]
    if re.match(r"-?[\d\\a-z]", gold) and not gold.startswith(("\\text", "\\begin", "\\left", "\\$", "\\overline")):
        yield "sign", gold[1:] if gold.startswith("-") else f"-{gold}"
    for one, other in (("(", "["), (")", "]"), ("[", "("), ("]", ")")):
        if len(gold) > 2 and "," in gold and (gold[0] == one or gold[-1] == one) and "\\left" not in gold:
            yield "bracket", other + gold[1:] if gold[0] == one else gold[:-1] + other
    if re.search(r"\\(?:text|mbox)\{\s*(?:square |)?(?:cm|feet|in|m|units|square)", gold):
        yield "unit power", gold + "^3"
    inner = re.sub(r"^(?:\\left)?\s*[(\[]|(?:\\right)?\s*[)\]]$", "", gold)
    pieces = split_top(inner)
    if len(pieces) > 1:
        bracketed = inner != gold
        if bracketed:
            yield "swapped", gold.replace(inner, ",".join([pieces[1], pieces[0], *pieces[2:]]))
        yield "lost", gold.replace(inner, ",".join(pieces[1:]))
        yield "lost", gold.replace(inner, ",".join(pieces[:-1]))
    if "\\begin" in gold:
        cells = re.findall(r"-?\d+(?:/\d+)?", gold)
        if len(cells) > 1:
            yield "swapped", re.sub(r"(-?\d+(?:/\d+)?)(.*?)(-?\d+(?:/\d+)?)", r"\3\2\1", gold, count=1)
            yield "lost", re.sub(r"\s*(?:\\\\|&)\s*-?\d+(?:/\d+)?(?=\s*\\end)", "", gold)
    for kind, one, other in _OTHER_THINGS:
        if one in gold:
            yield kind, gold.replace(one, other)
    if re.search(r"\\frac\{([^{}]*)\}\{(?!\1\})", gold):
        yield "inverted", re.sub(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", r"\\frac{\2}{\1}", gold)
    yield "one less", f"{gold}-1"
    if match := re.search(r"(?<![A-Za-z\\])([a-h]|[j-z])(?![A-Za-z])", gold):
        yield "variable", gold[: match.start()] + ("w" if match[1] != "w" else "v") + gold[match.end() :]
    yield (
        "factor",
        f"2({gold})"
        if re.fullmatch(r"[-\w\\{}+ ^]+", gold) and "text" not in gold and "_" not in gold
        else f"{gold}, 1",
    )
