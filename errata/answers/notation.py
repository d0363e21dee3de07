r"""One spelling for each thing: Unicode, LaTeX and plain-text ways of writing an answer as one LaTeX of few commands.

Only spelling changes here, never meaning: fonts, spacing, sizes and delimiters go, words stand in ``\text{...}``, and
what has several commands (``\dfrac``, ``\le`` and ``\leqslant``, ``½``) gets one. Every pass is linear in the text.
"""

from __future__ import annotations

import re
import unicodedata


def words(text: str) -> frozenset[str]:
    """The words of ``text`` as a set: a table that reads as a line of prose."""
    return frozenset(text.split())


_SUPER = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ", "0123456789+-()ni")
_SUB = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋ₐₙₓ", "0123456789+-anx")
_VULGAR = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5",
    "⅙": "1/6", "⅚": "5/6", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8", "⅐": "1/7", "⅑": "1/9", "⅒": "1/10",
}  # fmt: skip
_SYMBOLS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "×": r"\cdot ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ",
    "∗": "*", "÷": "/", "∕": "/", "⁄": "/", "≤": r"\le ", "⩽": r"\le ", "≦": r"\le ", "≥": r"\ge ", "⩾": r"\ge ",
    "≧": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "≡": r"\equiv ", "∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ",
    "∈": r"\in ", "∉": r"\notin ", "∅": r"\emptyset ", "⌀": r"\emptyset ", "ø": r"\emptyset ", "Ø": r"\emptyset ",
    "±": r"\pm ", "∓": r"\mp ", "°": r"^{\circ}", "º": r"^{\circ}", "˚": r"^{\circ}", "′": "'", "’": "'", "‘": "'",
    "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}",
    "∖": r"\setminus ", "∧": r"\text{and}", "∨": r"\text{or}", "∠": r"\angle ", "△": r"\triangle ", "⟨": r"\langle ",
    "⟩": r"\rangle ", "〈": r"\langle ", "〉": r"\rangle ", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ",
    "⌉": r"\rceil ", "∣": "|", "。": ".", "、": ",", "【": "[", "】": "]", "“": '"', "”": '"', "…": r"\ldots ",
    "\u00a0": " ", "\u2009": r"\,", "\u202f": r"\,", "\u200b": "", "\ufeff": "", "\u2060": "", "\u2061": "",
    "\u2062": "", "℃": r"^{\circ}C", "℉": r"^{\circ}F", "π": r"\pi ", "ϕ": r"\phi ", "φ": r"\phi ", "ε": r"\epsilon ",
    "ϵ": r"\epsilon ", "θ": r"\theta ", "ϑ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ",
    "δ": r"\delta ", "λ": r"\lambda ", "μ": r"\mu ", "σ": r"\sigma ", "τ": r"\tau ", "ω": r"\omega ", "ρ": r"\rho ",
    "Δ": r"\Delta ", "Ω": r"\Omega ", "Σ": r"\Sigma ", "ℓ": r"\ell ", "∛": r"\sqrt[3]", "∜": r"\sqrt[4]", "‰": r"/1000",
}  # fmt: skip
_RENAMED = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "leq": "le", "leqslant": "le", "geq": "ge", "geqslant": "ge",
    "neq": "ne", "varnothing": "emptyset", "lbrace": "{", "rbrace": "}", "lbrack": "[", "rbrack": "]", "times": "cdot",
    "ast": "cdot", "vert": "|", "lvert": "|", "rvert": "|", "mid": "|", "degree": "circ", "infin": "infty",
    "varphi": "phi", "varepsilon": "epsilon", "vartheta": "theta", "dbinom": "binom", "tbinom": "binom",
    "bar": "overline", "R": "mathbb{R}",
    "land": "text{and}", "wedge": "text{and}", "lor": "text{or}", "vee": "text{or}", "backslash": "setminus",
    "arcsec": "arcsec", "degrees": "circ", "reals": "mathbb{R}", "tg": "tan", "ctg": "cot", "arctg": "arctan",
    "textdegree": "circ", "colon": ":", "dots": "ldots", "cdots": "ldots", "dotsc": "ldots", "lt": "<", "gt": ">",
}  # fmt: skip
_LITERAL = frozenset({"<", ">", "|", "[", "]", ":"})  # renamed to a sign, not to a command
_DROPPED = words(
    "left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr displaystyle textstyle scriptstyle"
    " limits nolimits quad qquad rm bf it sf tt cal mathstrut strut newline thinspace enspace hfill middle bigm"
    " medspace negthinspace centering large Large normalsize small boldmath nobreak break linebreak par"
    " therefore checkmark blacksquare qed"
)
_FONTS = words(
    "text textbf textit textrm textsf texttt textnormal textup textsc textsl mbox hbox emph mathrm mathbf mathit"
    " mathsf mathtt mathcal mathnormal bm boldsymbol pmb operatorname underline uline rm mathop ensuremath fbox"
    " boxed underbrace mathord displaylines"
)
_MATH_FONTS = words("mathbf mathit mathcal mathnormal bm boldsymbol pmb underline uline ensuremath mathord")
_TWO_GROUPS = frozenset({"textcolor", "colorbox"})
_ONE_GROUP_DROPPED = frozenset(
    {"color", "hspace", "vspace", "phantom", "hphantom", "vphantom", "label", "tag", "hskip"}
)
FUNCTIONS = words("sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh ln log lg exp sqrt")
GREEK = words(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi"
    " omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell"
)
_WRAPPERS = (
    ("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("__", "__"), ("`", "`"), ('"', '"'),
    ("“", "”"),
)  # fmt: skip

_COMMAND = re.compile(r"\\([A-Za-z]+)\*?|\\(.)", re.DOTALL)
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{([A-Za-z]+)\*?\}(?:\{[lcr|@{}.\s]*\})?")
_PLAIN_ENVIRONMENTS = ("aligned", "align", "gathered", "gather", "split", "equation", "center")
_MATRIX_ENVIRONMENTS = ("pmatrix", "bmatrix", "matrix", "Bmatrix", "array", "smallmatrix", "vmatrix", "Vmatrix")
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_HALF_OF_DAY = re.compile(r"(?<=[\d\s{])([aApP])\.\s?[mM](?:\.|(?![A-Za-z]))")
_LONE_BACKSLASH = re.compile(r"(?<!\\)(?:\\\\)*\\\Z")  # of "\\ " whose space was stripped
_GROUPS_OF_THREE = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_MONEY = "\x01"
_SUPERS = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ]+")
_SUBS = re.compile(r"[₀₁₂₃₄₅₆₇₈₉₊₋ₐₙₓ]+")
_ROOT = re.compile(r"√\s*(\d+(?:\.\d+)?|[A-Za-z](?![A-Za-z])|(?=[({\\]))")


def clean(answer: str) -> str | None:
    """``answer`` without surrounding space, mathematics delimiters, emphasis and a closing period; None if empty."""
    answer = re.sub(r"<<[^<>\n]*>>", "", answer).strip()
    while True:
        before = answer
        if not answer.endswith(("..", "\\.")):
            answer = answer.rstrip("。．").removesuffix(".").strip()
        for left, right in _WRAPPERS:
            if len(answer) > len(left) + len(right) and answer.startswith(left) and answer.endswith(right):
                inner = answer[len(left) : -len(right)]
                bare = inner.replace("\\$", "")  # an escaped dollar sign is money, not a delimiter
                answer = inner.strip() if left not in bare and right not in bare else answer
        answer = _LONE_BACKSLASH.sub("", answer)
        if not answer.endswith("\\_"):
            answer = answer.rstrip("*_").rstrip()
        if answer == before:
            return answer or None


def normalise(answer: str) -> str:
    r"""``answer`` in one spelling. What is not understood stays as it is; the reader of expressions then refuses it."""
    text = _unicode(answer)
    text = re.sub(r"\\(?:mathbb|Bbb)\s*\{?\s*([A-Z])\s*\}?", r"\\mathbb{\1}", text)
    text = re.sub(r"(?<=\d)\s*[xX]\s*(?=10\s*\^)", r" \\cdot ", text)
    text = re.sub(r"(?<![A-Za-z\\])abs\s*\(([^()]*)\)", r"|\1|", text)
    # 0.(27) repeats its digits; inside an expression the brackets would be a factor.
    text = re.sub(r"\A\s*(-?\d*\.\d*)\((\d+)\)\s*\Z", r"\1\\overline{\2}", text)
    text = _thousands(text)
    text = _HALF_OF_DAY.sub(lambda m: f" {m[1].lower()}m", text)
    text = _environments(text)
    text = _commands(_fonts(text))
    # A dollar sign before or behind a number alone is money; pairs of them are delimiters.
    text = text.replace("\\$", _MONEY)
    text = re.sub(r"\$\$?([^$]*)\$\$?", r" \1 ", text)
    text = text.replace(_MONEY, "$").replace("\\%", "%")
    text = re.sub(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))", r"^{\\circ}", text)
    text = " ".join(text.split())
    if text.startswith("{") and "," not in _GROUPS_OF_THREE.sub("", text) and partners(text).get(0) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def _unicode(text: str) -> str:
    text = _ROOT.sub(lambda m: rf"\sqrt{{{m[1]}}}" if m[1] else r"\sqrt ", text)
    text = _SUPERS.sub(lambda m: f"^{{{m[0].translate(_SUPER)}}}", text)
    text = _SUBS.sub(lambda m: f"_{{{m[0].translate(_SUB)}}}", text)
    out = []
    for char in text:
        if char.isascii():
            out.append(char)
        elif char in _VULGAR:
            above, below = _VULGAR[char].split("/")
            out.append(rf"\frac{{{above}}}{{{below}}}")
        elif char in _SYMBOLS:
            out.append(_SYMBOLS[char])
        else:
            wide = unicodedata.normalize("NFKC", char)
            out.append("".join(_SYMBOLS.get(c, c) for c in wide) if len(wide) <= 4 else char)
    return "".join(out)


def _thousands(text: str) -> str:
    r"""``3,\!110``, ``3{,}110`` and ``3\,110`` as 3110; ``3{,}5`` as 3.5. Only what must be one number is joined."""
    text = re.sub(r"(?<=\d),\s*\\!\s*(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"(?<=\d)\{,\}\s*(?:\\!\s*)?(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"(?<=\d)\{,\}(?=\d)", ".", text)
    text = re.sub(r"(?<![\d.])\d{1,3}(?:(?:\\[,; ]|~)\d{3})+(?!\d)", lambda m: re.sub(r"\\[,; ]|~", "", m[0]), text)
    return re.sub(r"(?<![\d.,/ ])\d{1,3}(?: \d{3})+(?![\d/]| \d)", lambda m: m[0].replace(" ", ""), text)


def _environments(text: str) -> str:
    def spelled(match: re.Match[str]) -> str:
        if match[2] in _PLAIN_ENVIRONMENTS:
            return " "
        return rf"\{match[1]}{{{match[2]}}}"

    text = _ENVIRONMENT.sub(spelled, text)
    if any(rf"\begin{{{name}}}" in text for name in (*_MATRIX_ENVIRONMENTS, "cases")):
        return text
    # Outside of matrices a line break or an alignment mark is only layout.
    return re.sub(r"\\\\(?:\[[^\]]*\])?|(?<!\\)&", " ", text)


def partners(text: str) -> dict[int, int]:
    """Where each unescaped ``{`` closes; those that never close are left out."""
    found: dict[int, int] = {}
    opened: list[int] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 2
            continue
        if char == "{":
            opened.append(at)
        elif char == "}" and opened:
            found[opened.pop()] = at
        at += 1
    return found


def _fonts(text: str) -> str:
    """Font and colour commands without their command and braces; words inside a text font as ``\\text{word}``."""
    closes = partners(text)
    skip: set[int] = set()
    words_until = -1
    out: list[str] = []
    at = 0
    while at < len(text):
        match = _COMMAND.match(text, at) if text[at] == "\\" else None
        if match is None:
            if at in skip:
                at += 1
            elif at < words_until and (word := _WORD.match(text, at, words_until)):
                out.append(rf"\text{{{word[0]}}}")
                at = word.end()
            else:
                out.append(text[at])
                at += 1
            continue
        name, opening = match[1], _next_brace(text, match.end())
        if name in _TWO_GROUPS | _ONE_GROUP_DROPPED and opening in closes:
            at = closes[opening] + 1
            second = _next_brace(text, at)
            if name in _TWO_GROUPS and second in closes:
                skip |= {second, closes[second]}
                at = second + 1
            continue
        if name not in _FONTS or opening not in closes:
            out.append(match[0])
            at = match.end()
            continue
        skip |= {opening, closes[opening]}
        if _has_words(name, text[opening + 1 : closes[opening]]):
            words_until = max(words_until, closes[opening])
        at = opening + 1
        if text[at : closes[opening]].strip() in FUNCTIONS:
            out.append("\\")
    return "".join(out)


def _next_brace(text: str, at: int) -> int:
    while at < len(text) and text[at] == " ":
        at += 1
    return at if at < len(text) and text[at] == "{" else -1


def _has_words(font: str, content: str) -> bool:
    """Whether the letters inside a font command are words: always in text, in mathematics only whole ones."""
    stripped = content.strip()
    if stripped in FUNCTIONS or "\\" in stripped or "$" in stripped:
        return False
    if not re.search(r"[^\W\d_]{2}", stripped) and re.search(r"[\d+=^]", stripped):
        return False  # "6+9i" in a text font is mathematics all the same
    if font in _MATH_FONTS or (font in ("mathrm", "mathsf", "mathtt", "operatorname") and len(stripped) == 1):
        return bool(re.search(r"[A-Za-z]{3}", stripped)) and font != "mathcal"
    return True


def _commands(text: str) -> str:
    def spelled(match: re.Match[str]) -> str:
        name, sign = match[1], match[2]
        if sign is not None:
            return " " if sign in ",;:! \n\t()[]>/" else f"\\{sign}"
        if name in _DROPPED:
            return " "
        name = _RENAMED.get(name, name)
        if name in _LITERAL:
            return name
        # A space keeps the command apart from a letter that follows it.
        return f"\\{name}" if not name[-1].isalpha() or match[1] in ("begin", "end", "text") else f"\\{name} "

    text = _COMMAND.sub(spelled, text.replace("~", " "))
    return re.sub(r"\\circ\s*([CF])(?![A-Za-z])", r"\\circ \\text{deg\1}", text)
