"""How a trained language model is served: the registry entry that its base's entry and its own files lead to.

Full weights (a merged adapter is full weights) are loaded on demand: by vLLM where the base is, whose engine child
swaps them for what it had loaded, else by transformers. An adapter goes where its base runs: into the vLLM of the
engine child or into the running vLLM server, beside the base; else transformers loads both.
"""

from __future__ import annotations

from typing import Any

from models.workspaces import LanguageModel

_KEPT = ("device", "max_context", "batch_size", "dtype")  # of an entry, for transformers
_OF_THE_BASE = ("path", "revision")
_VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # vLLM's choices of ``max_lora_rank``


def served_as(base: LanguageModel, run_id: str, path: str, adapter_rank: int | None) -> tuple[str, dict[str, Any]]:
    """Engine and configuration of the result at ``path``; ``adapter_rank`` is None for full weights."""
    if base.engine == "vllm":
        if adapter_rank is None:
            return "vllm", {**{k: v for k, v in base.config.items() if k not in _OF_THE_BASE}, "path": path}
        rank = max(int(base.config.get("max_lora_rank") or 0), _room_for(adapter_rank))
        return "vllm", {**base.config, "max_lora_rank": rank, "adapter": path}
    if base.engine == "openai" and adapter_rank is not None:
        return "openai", {**base.config, "model": run_id, "adapter": path}
    return "transformers", {**{k: base.config[k] for k in _KEPT if k in base.config}, "path": path}


def _room_for(rank: int) -> int:
    return next((size for size in _VLLM_RANKS if size >= rank), rank)
