"""The edits of the dashboard tests' finished job, and the funnel that counts them."""

from __future__ import annotations

from typing import Any

from errata.funnel import Funnel

#: step index, kind, the edited step, evidence kind, evidence
EDITS: tuple[tuple[int, str, str, str, dict[str, Any]], ...] = (
    (
        0,
        "calculation",
        "Step 1: Mara packs 6 crates of 12 pears, so she has 6 * 12 = 82 pears.\n",
        "contradiction",
        {"equation": "6 * 12 = 82", "left": "72", "right": "82", "original": "6 * 12 = 72"},
    ),
    (
        1,
        "operator",
        "Step 2: She sells 45 of them, so 72 + 45 = 27 pears are left.\n",
        "contradiction",
        {"equation": "72 + 45 = 27", "left": "117", "right": "27", "original": "72 - 45 = 27"},
    ),
    (
        2,
        "misreading",
        "Step 3: Each jar takes 3 apples, so she fills 27 / 3 = 9 jars.\n",
        "divergence",
        {"rate": 0.875, "low": 0.529, "high": 0.978, "original_rate": 0.0, "original_low": 0.0, "k": 8}
        | {"original_high": 0.324},
    ),
)


def editor_of(kind: str) -> str:
    """Who made the edit of a kind."""
    return "slip" if kind == "operator" else "words"


def funnel() -> Funnel:
    """A funnel that adds up: one problem, two samples, four steps, three edits that all became pairs."""
    found = Funnel().add("problems", "total").add("problems", "kept")
    for verdict in ("correct", "incorrect"):
        found.add("samples", "total").add("samples", "verdicts", verdict).add("samples", "drawn", verdict)
    found.add("samples", "total").add("samples", "verdicts", "incorrect").add("samples", "unused", "not_drawn")
    found.add("steps", "total", count=4).add("steps", "edited", count=3).add("steps", "skipped", "answer_step")
    found.add("edits", "total", count=3).add("edits", "proven", "contradiction", count=2)
    found.add("edits", "proven", "divergence")
    for _, kind, _, evidence, _ in EDITS:
        found.add("pairs", "total").add("pairs", "by_type", "step").add("pairs", "by_kind", kind)
        editor = editor_of(kind)
        found.add("pairs", "by_evidence", evidence).add("pairs", "by_editor", editor)
        for name in ("asked", "total", "kept", "proven", "pairs"):
            place = ("edits", "by_editor", editor)
            found.add(*place, name)
            if name != "kept":
                found.add(*place, "kinds", kind, name)
    for name, count in (("prompt_tokens", 900), ("completion_tokens", 120), ("cached_tokens", 700)):
        found.add("edits", "by_editor", "words", name, count=count)
    found.add("pairs", "total").add("pairs", "by_type", "full")
    found.add_tokens("sample", 300, 420, 100).add_tokens("edit", 900, 120, 700)
    found.check()
    return found
