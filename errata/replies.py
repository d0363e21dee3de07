"""Reading an editing model's reply: fences missing or doubled, labels repeated, prose around the step."""

from __future__ import annotations

import re
from dataclasses import dataclass

from errata.reasons import Reason
from errata.steps import separator

_FENCE = re.compile(r"```[\w+-]*[ \t]*\n?")
_ANY_LABEL = re.compile(r"\A\s*(?:\[\d+\]\s*)?(?:(?:\*\*)?Step\s+\d+\s*[:.)](?:\*\*)?\s*)?", re.I)
_PROSE = re.compile(
    r"\A\s*(?:sure|certainly|of course|okay|ok|here(?:'s| is)|(?:the )?(?:edited|rewritten|modified|revised|new) step)"
    r"[^\n]*?:[ \t]*\n",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Reply:
    """The edited step as it is to be spliced in, label and separator included; or why there is none."""

    text: str | None
    reason: Reason | None = None


def parse_reply(completion: str, *, original_step: str, label: str) -> Reply:
    """The step a reply holds. ``completion`` continues an opened fence behind ``label`` (errata.prompts.edit_prompt).

    The label and the separator are the original's: a reply can change neither. A second fenced block wins over prose
    that a model wrote into the first. Reasons: ``unparsable_reply``, ``empty``.
    """
    body = _body(completion)
    if body is None:
        return Reply(None, Reason.NO_REPLY)
    own_label = _ANY_LABEL.match(original_step)
    kept_label = label or (own_label[0] if own_label else "")
    repeated = _ANY_LABEL.match(body)
    if (kept_label.strip() and repeated and repeated[0].strip()) or (repeated and repeated[0].lstrip().startswith("[")):
        body = body[repeated.end() :]
    body = _without_opening(body.strip(), kept_label)
    if not body:
        return Reply(None, Reason.EMPTY)
    return Reply(kept_label + body + separator(original_step))


def _without_opening(body: str, opening: str) -> str:
    """A reply that says again what it was made to open with ("2. ", the sentences it was not offered) says it once."""
    own_label = _ANY_LABEL.match(opening)
    for said in (opening.strip(), opening[own_label.end() if own_label else 0 :].strip()):
        if said and body.startswith(said):
            return body[len(said) :].lstrip()
    return body


def _body(completion: str) -> str | None:
    """The text before the closing fence; where the model opened a fence of its own, the text inside that one."""
    text = _PROSE.sub("", completion)
    fences = list(_FENCE.finditer(text))
    if not fences:
        return text
    head = text[: fences[0].start()]
    if head.strip() and not _PROSE.match(head + "\n"):
        return head
    if len(fences) > 1:
        return text[fences[0].end() : fences[1].start()]
    return text[fences[0].end() :] if not head.strip() else None
