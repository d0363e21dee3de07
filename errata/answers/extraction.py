r"""Read the final answer from a solution: which of its statements counts, and what it states.

Nothing is guessed: a text that states no answer has none, whatever numbers stand in it. Statements are boxes,
``#### 18``, labels ("Answer: 18"), sentences ("the answer is 18") and, where there is none of these, a conclusion in
the last line ("Therefore the cost is 60."). The last one that states something counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from errata.answers.boxes import final_boxes
from errata.answers.criteria import find_by_pattern
from errata.answers.judgement import UnreadableReason
from errata.answers.notation import clean
from errata.thoughts import THOUGHTS, without_thoughts
from errata.types import Domain

MAX_TEXT = 200_000

_LABEL = (
    r"(?<![A-Za-z0-9])(?:(?:Final|FINAL|Correct|CORRECT)[ \t]{1,4}(?:[Aa]nswer|ANSWER)|Answer|ANSWER)"
    r"|(?:最终|正确)?答案"
    r"|(?<![^\s。，,.;；*])答"
)
_HEAD = re.compile(
    r"(?P<hash>####+)"
    rf"|^[ \t>*_#]{{0,12}}(?:(?P<heading>{_LABEL})[ \t*_]{{0,6}}$)"
    rf"|(?:(?P<label>{_LABEL})|^[ \t>*_#]{{0,12}}(?P<short>A))[ \t*_]{{0,6}}"
    r"(?:[:：】]|[ \t]?是[:：]?|[ \t]?为[:：]?)[ \t*_]{0,8}"
    r"|\b(?P<said>[Tt]he|THE|[Mm]y|[Oo]ur|[Ff]inal)[ \t]{1,4}"
    r"(?:(?:[Ff]inal|[Cc]orrect|[Rr]ight|desired|required)[ \t]{1,4})?"
    r"(?:[Aa]nswers?|ANSWER)(?:[ \t]{1,4}(?:here|then|now|(?:to|for)[ \t][^.:=\n]{1,80}?))?[ \t*_]{0,6}"
    r"(?:(?:is|are|will be|would be|must be|should be|equals)(?![A-Za-z])|[:=])[ \t*_:]{0,8}"
    r"(?:(?:therefore|thus|then|simply|just|hence)[ \t,]{1,4})?"
    r"|(?<![A-Za-z])(?P<bare>[Aa]nswer)[ \t]{1,3}(?:is|are)(?![A-Za-z])[ \t:*_]{0,8}",
    re.MULTILINE,
)
_SENTENCE_END = re.compile(r"(?<!\b[ap])(?<!\b[ap]\.m)[.!?](?=[*_]*\s+[A-Z*]|[*_]*\s*$)|。|[!?！？]\s")
# Where a sentence turns from the value to what is said about it.
_ASIDE = re.compile(
    r"[,;]?\s(?:which|because|since|as|so|where|when|therefore|thus|i\.e\.|after|giving|meaning|using|assuming)\s"
    r"|,\snot\s|[,;]\s(?:he|she|we|it|they|this|that|i)\s|[,，]?(?:因为|所以|其中|因此)"
    r"|:?\s(?:[–—]\s)?\(?(?:i\.e\.|e\.g\.|the\s|that is|or\sabout\s|rounded\s)|:\s[a-z]{3}|\s[–—]\s[a-z]{2}",
    re.IGNORECASE,
)
# Predicates about the answer that are not the answer.
_NOT_A_VALUE = re.compile(
    r"(?:not|correct|right|wrong|incorrect|clear|obvious|consistent|as follows|found|given|therefore|in the|the same as"
    r"|reasonable|expected|easy|below|above|based|obtained|still|also"
    r"|an? (?:integer|whole|number|positive|negative|real))\b",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"(?:step|final|answer|solution|conclusion|verification|part|case|method|problem|question)\b|\d+[.)]\s", re.I
)
_CONCLUSION = re.compile(
    r"(?:Therefore|Thus|Hence|So|Consequently|In total|In conclusion|Finally|Altogether|Overall|Then|∴"
    r"|\\therefore|因此|所以|故|综上|答)"
)
_VERB = re.compile(
    r"\b(?:is|are|was|were|equals|be)\s+(?:equal to\s+|therefore\s+)?|=\s*|[是为有剩要共花成]\s*|等于\s*"
)
_SHORT_VALUE = re.compile(
    r"[-−+]?\s*(?:\\?[$€£¥]\s*)?(?:\\[(\[]|\$)?[^A-Za-z\u4e00-\u9fff]*\d[^A-Za-z\u4e00-\u9fff]*(?:\s?[A-Za-z%/²³^]+\.?){0,3}[\u4e00-\u9fff]{0,4}[.。]?"
)
# Calculator marks, and the tokens that end a turn where a template leaked into the text.
_MARKS = re.compile(r"<<[^<>\n]{0,200}>>|<\|[^|<>\n]{1,40}\|>|</?s>|<(?:eos|end_of_turn)>")
_ORNAMENT = re.compile(r"[\s\u2600-\u27bf\ufe0f\U0001f300-\U0001faff]+\Z")
_WORDLESS = re.compile(r"\\(?:text|mathrm|mbox)\s?\{[^{}]*\}|\\[A-Za-z]+|(?<=\d)[a-z](?![A-Za-z])")
_BULLET = re.compile(r"\A[-•]\s+")
_DISPLAY = {"\\[": "\\]", "$$": "$$"}
_FENCE = re.compile(r"^[ \t]*```[ \t]*(?P<language>[\w+-]*)[^\n]*$", re.MULTILINE)
_CHOICE = re.compile(
    r"\b(?:answer|option|choice)(?:[ \t]+(?:is|would[ \t]+be))?[ \t:*_]*(?:option[ \t]+)?"
    r"(?P<said>\(?[A-Z]\)?(?![A-Za-z]))"
    r"|^[ \t*_]*(?:A|####)[ \t]*:?[ \t]*(?P<line>\(?[A-Z]\)?[ \t*_.]*)$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer a text states; where it states none, ``why``."""

    answer: str | None
    why: UnreadableReason | None = None


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """How solutions are read. ``thoughts``: pairs of markers, opening and closing, between which nothing is stated.

    ``finish_reason`` is the engine's word on why the text ended; "length" means that it was cut at its limit.
    """

    thoughts: tuple[tuple[str, str], ...] = THOUGHTS
    finish_reason: str | None = None


READING = ReadingOptions()


def read_answer(
    text: str,
    domain: Domain = Domain.MATH,
    options: ReadingOptions = READING,
    pattern: re.Pattern[str] | None = None,
) -> Reading:
    """The final answer of ``text``, or why there is none. ``pattern``: a problem's own, in place of the statements."""
    said = without_thoughts(text[-MAX_TEXT:], options.thoughts)
    answer = _extract(said, domain) if pattern is None else clean(find_by_pattern(pattern, said) or "")
    if answer is not None:
        return Reading(answer)
    if not text.strip():
        return Reading(None, UnreadableReason.EMPTY)
    if options.finish_reason == "length":
        return Reading(None, UnreadableReason.CUT)
    return Reading(None, UnreadableReason.THOUGHTS_ONLY if not said.strip() else UnreadableReason.NO_STATEMENT)


def extract_answer(text: str, domain: Domain = Domain.MATH, options: ReadingOptions = READING) -> str | None:
    """The final answer stated in ``text``, trimmed but otherwise as written; None where none is stated.

    ``math``: the last statement, see above. ``choice``: the same, and "option (C)". ``logic``: last box, else the last
    fenced block or JSON value. ``code``: the last fenced block.
    """
    return read_answer(text, domain, options).answer


def _extract(text: str, domain: Domain) -> str | None:
    match domain:
        case Domain.CODE:
            return _last_fence(text, ("python", "py", "python3", ""))
        case Domain.LOGIC:
            return _box(text) or _last_fence(text, ("json", "")) or _last_json(text) or _stated(text)
        case Domain.CHOICE:
            return _box(text) or _stated_choice(text) or _stated(text)
        case _:
            return _stated(text)


def _box(text: str) -> str | None:
    box = final_boxes(text)
    return clean(box.content) if box else None


def _stated(text: str) -> str | None:
    """The value of the last statement that has one."""
    text = _MARKS.sub("", text)
    box = final_boxes(text)
    boxed = clean(box.content) if box else None
    for kind, start, value in _statements(text):
        if box is not None and start < box.end:
            break
        # A model that goes on with examples of its own writes "A:" again; a remark about the answer is no answer.
        if boxed and (kind == "short" or not re.search(r"[\d\\$]", value)):
            continue
        return value
    return boxed or _conclusion(text)


def _statements(text: str) -> Iterator[tuple[str, int, str]]:
    """Kind, place and value of each statement with a value, the last first."""
    heads = list(_HEAD.finditer(text))
    until = len(text)
    for head in reversed(heads):
        kind = str(head.lastgroup)
        line_end = text.find("\n", head.end(), until)
        value = text[head.end() : until if line_end < 0 else line_end]
        if line_end >= 0 and not value.strip(" \t*_:$\\[]()"):
            value = _next_block(text, head.end(), until)
        until = head.start()
        cleaned = _value(kind, value)
        if cleaned:
            yield kind, head.start(), cleaned


def _next_block(text: str, start: int, until: int) -> str:
    """The first line with something on it, or the display that opens there, at most a few lines away."""
    block = _BULLET.sub("", text[start : min(until, start + 1200)].lstrip(" \t\r\n*_:"))
    for opening, closing in _DISPLAY.items():
        if block.startswith(opening) and (end := block.find(closing, 2)) > 0:
            return block[: end + 2]
    return block.partition("\n")[0]


def _value(kind: str, piece: str) -> str | None:
    """What a statement states; None where it is a heading or a remark."""
    if kind == "hash":
        # "####" opens headings too: what follows must be a value to its end.
        cleaned = clean(piece)
        return None if cleaned is None or _HEADING.match(cleaned) or _is_prose(cleaned) else cleaned
    cleaned = clean(_ORNAMENT.sub("", _first_sentence(piece)))
    if cleaned and cleaned.endswith("}") and cleaned.count("}") > cleaned.count("{"):
        cleaned = clean(cleaned[:-1])  # the statement stands in a font command
    if cleaned is None or _NOT_A_VALUE.match(cleaned) or not re.search(r"[\w∞∅½⅓¼]", cleaned):
        return None
    aside = _ASIDE.search(cleaned)
    if aside and (re.search(r"[\d\\$]", cleaned[: aside.start()]) or len(cleaned[: aside.start()].split()) == 1):
        cleaned = clean(re.sub(r"\s(?:and|but)\Z", "", cleaned[: aside.start()])) or cleaned
    if kind in ("label", "heading") and re.match(r"[\u4e00-\u9fff]", cleaned) and (verb := _last_verb(cleaned)):
        cleaned = verb
    return None if _is_prose(cleaned) else cleaned


def _is_prose(value: str) -> bool:
    return not re.search(r"[\d\\$]", value) and len(value.split()) > 8


def _first_sentence(text: str) -> str:
    end = _SENTENCE_END.search(text)
    return text[: end.start()] if end else text


def _conclusion(text: str) -> str | None:
    """``60`` of a last line "Therefore the cost is 60.", read only where nothing else states an answer."""
    line = text.rstrip()[-600:].rpartition("\n")[2].strip(" *_>")
    sentence = re.split(r"(?<=[.!?])\s+(?=[A-Z])|(?<=。)", line.rstrip("。"))[-1]
    return _last_verb(sentence) if _CONCLUSION.match(sentence) else None


def _last_verb(sentence: str) -> str | None:
    """What stands behind the last verb of a sentence, where it is a value with at most a few words behind it."""
    verbs = list(_VERB.finditer(sentence))
    if not verbs:
        return None
    value = sentence[verbs[-1].end() :].strip().rstrip(".。").strip("$")
    for opening, closing in (("\\(", "\\)"), ("\\[", "\\]")):
        value = value.removeprefix(opening).removesuffix(closing).strip()
    # Commands and one-letter names are no words.
    return clean(value) if _SHORT_VALUE.fullmatch(_WORDLESS.sub("", value)) else None


def _stated_choice(text: str) -> str | None:
    """The last choice that is named, with what stands behind it in its sentence."""
    until = len(text)
    for match in reversed(list(_CHOICE.finditer(text))):
        start = match.start("said") if match["said"] is not None else match.start("line")
        line_end = text.find("\n", start, until)
        found = clean(_first_sentence(text[start : until if line_end < 0 else line_end]))
        if found:
            return found
        until = match.start()
    return None


def _last_fence(text: str, languages: tuple[str, ...]) -> str | None:
    """The body of the last closed fence in one of the languages. Fences alternate: one that opens, one that closes."""
    body = None
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
            continue
        if opened["language"].lower() in languages:
            body = text[opened.end() + 1 : fence.start()]
        opened = None
    return body.strip("\n") if body is not None else None


def _last_json(text: str) -> str | None:
    """The last balanced ``{...}`` or ``[...]`` that ends the text's last JSON-looking span."""
    end = max(text.rfind("}"), text.rfind("]"))
    if end < 0:
        return None
    closing, opening = text[end], "{" if text[end] == "}" else "["
    depth = 0
    for at in range(end, -1, -1):
        if text[at] == closing:
            depth += 1
        elif text[at] == opening:
            depth -= 1
            if depth == 0:
                return text[at : end + 1]
    return None
