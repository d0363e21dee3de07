"""How a trained language model is served: the registry entry that its base's entry and its own files lead to.

Which engine serves what is each engine's own business (workers.engines.registry).
"""

from __future__ import annotations

from typing import Any

from models.workspaces import LanguageModel
from workers.engines import registry


def served_as(base: LanguageModel, run_id: str, path: str, adapter_rank: int | None) -> tuple[str, dict[str, Any]]:
    """Engine and configuration of the result at ``path``; ``adapter_rank`` is None for full weights."""
    return registry.served_as(base.engine, base.config, registry.Trained(run_id, path, adapter_rank))
