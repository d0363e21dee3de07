"""A frame (a regular expression that a whole reply must match) as each kind of server takes it.

vLLM: ``structured_outputs``. SGLang: ``regex``. llama.cpp: a grammar in GBNF. A hosted server: a JSON schema whose one
field holds the reply, since it continues no opened reply; the schema fixes where the reply stands and nothing in it.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

FrameForm = Literal["structured_outputs", "regex", "grammar", "json_schema"]

_FIELD = "rewritten"
_PIECE = re.compile(r"\\(.)|(\[(?:\\.|[^\]\\])*\])|(\{\d+(?:,\d*)?\}|[|()?*+])|(.)", re.S)


def frame_body(form: FrameForm, frame: str) -> dict[str, Any]:
    """The fields of a request that hold its completions to a frame."""
    if form == "structured_outputs":
        return {"structured_outputs": {"regex": frame}}
    if form == "regex":
        return {"regex": frame}
    if form == "grammar":
        return {"grammar": gbnf(frame)}
    schema = {
        "type": "object",
        "properties": {_FIELD: {"type": "string"}},
        "required": [_FIELD],
        "additionalProperties": False,
    }
    named = {"name": "edit", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def gbnf(frame: str) -> str:
    """A frame as a grammar of llama.cpp: the same classes, groups and counts, its texts in quotes.

    Reads what errata.frames writes: literals, classes, groups, alternatives and counts; no anchors and no dot.
    """
    found: list[str] = []
    for escaped, group, sign, plain in _PIECE.findall(frame):
        found.append(group or sign or _quoted(escaped or plain))
    return "root ::= " + " ".join(found)


def _quoted(char: str) -> str:
    return '"' + char.replace("\\", "\\\\").replace('"', '\\"') + '"'


def from_json(text: str) -> str:
    """The reply that an answer in JSON holds, thoughts before it left out; empty where it was cut or is none."""
    start, end = text.find("{", text.rfind("</think>") + 1), text.rfind("}")
    try:
        found = json.loads(text[start : end + 1]) if start >= 0 else None
    except ValueError:
        return ""
    value = found.get(_FIELD) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""
