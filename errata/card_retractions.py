"""The part of a dataset's card that says which pairs were left out because their problem or job was retracted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_LISTED = 20


def retraction_lines(retracted: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Lines of Markdown; none where nothing was left out, or where the manifest is of a version that did not tell.

    Each entry has ``job`` or ``problem``, ``reason`` and ``pairs`` (models.curation.retractions_in).
    """
    if not retracted:
        return []
    pairs = sum(int(entry["pairs"]) for entry in retracted)
    lines = [
        "## Left out",
        "",
        f"{pairs:,} pairs were retracted before this dataset was frozen, and are not in it:",
        "",
    ]
    for entry in retracted[:_LISTED]:
        subject = f"job `{entry['job']}`" if entry.get("job") else f"problem `{entry['problem']}`"
        own = f" (`{_plain(entry['external_id'])}`)" if entry.get("external_id") else ""
        lines.append(f"- {subject}{own}, {entry['pairs']:,} pairs: {_plain(entry['reason'])}")
    if len(retracted) > _LISTED:
        lines.append(f"- and {len(retracted) - _LISTED:,} more, in `manifest.json`")
    return [*lines, ""]


def _plain(text: str) -> str:
    """One line without anything that Markdown or HTML would read."""
    flat = " ".join(str(text).split())
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|&#" else sign for sign in flat)
