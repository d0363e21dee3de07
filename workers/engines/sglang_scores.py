"""Log-probabilities of a given text from SGLang, which tells them on its own route ``/generate``. Pure: no HTTP.

By its documentation (docs.sglang.io, "Sampling Parameters", ``/generate``) the answer's ``meta_info`` has, from the
place ``logprob_start_len`` on, one entry per token of the prompt: ``[logprob, id, text or null]``, and a list of such
entries for the likeliest ones. The first place may have none. Completions tell nothing of the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workers.engines.scoring import TokenLogprobs

PATH = "/generate"  # beside /v1, not below it


def native_body(ids: Sequence[int], first: int, alternatives: int) -> dict[str, Any]:
    """A request for the scores of ``ids`` from ``first`` on; one token is generated, and not read."""
    return {
        "input_ids": list(ids),
        "sampling_params": {"max_new_tokens": 1, "temperature": 0.0},
        "return_logprob": True,
        "logprob_start_len": max(first - 1, 0),  # the place before: of the first one nothing may be told
        # One more than is asked for: the text's own token counts among them where it is likely.
        "top_logprobs_num": alternatives + 1,
    }


def read_native(answer: dict[str, Any], ids: Sequence[int], first: int) -> tuple[list[TokenLogprobs], int] | None:
    """What is told of ``ids`` from ``first`` on, and the tokens from its cache; None for an answer without it."""
    meta = answer.get("meta_info")
    if not isinstance(meta, dict):
        return None
    wanted = list(ids[first:])
    own, others = (meta.get(name) for name in ("input_token_logprobs", "input_top_logprobs"))
    if not (isinstance(own, list) and isinstance(others, list) and min(len(own), len(others)) >= len(wanted)):
        return None
    # Counted from the end: there the two agree, whatever is told of the place before the text.
    places = list(zip(wanted, own[-len(wanted) :], others[-len(wanted) :], strict=True)) if wanted else []
    if any(mine[0] is None or mine[1] != token or not isinstance(top, list) for token, mine, top in places):
        return None
    told: list[TokenLogprobs] = [(float(mine[0]), [(int(i), float(p)) for p, i, *_ in top]) for _, mine, top in places]
    return told, int(meta.get("cached_tokens") or 0)
