"""What a server says of itself: its kind, its version, the context it has; and whether it has the adapter asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from workers.engines.base import EngineError
from workers.engines.entry_settings import OpenAISettings
from workers.engines.openai_http import RequestRejected, Server
from workers.engines.openai_wire import HOSTED, SERVER_KINDS, ServerKind


@dataclass(frozen=True)
class About:
    """What the server says of itself."""

    kind: ServerKind = HOSTED
    version: str = "unknown"
    max_context: int | None = None
    root: str | None = None  # where it loaded the model from

    @property
    def mark(self) -> str:
        """What tells this server from another one, as far as it says."""
        return f"{self.kind.name} {self.version} {self.root} {self.max_context}"


async def ask_about(name: str, settings: OpenAISettings, server: Server, retried: Counter[str]) -> About:
    """What stands there, with the entry's adapter loaded. Raises EngineError."""
    return await _Asker(name, settings, server).about(retried)


@dataclass(frozen=True)
class _Asker:
    _name: str
    _settings: OpenAISettings
    _server: Server

    async def about(self, retried: Counter[str]) -> About:
        entries = await self._listed(retried)
        if self._settings.adapter and all(e.get("id") != self._settings.model for e in entries):
            await self._load_adapter(self._settings.adapter, retried)
            entries = await self._listed(retried)
        entry = next((e for e in entries if e.get("id") == self._settings.model), {})
        owner = next((e.get("owned_by") for e in (entry, *entries) if e.get("owned_by")), None)
        named = self._settings.server
        kind = SERVER_KINDS.get(str(owner) if named == "auto" else named, HOSTED)
        # An adapter's entry has no length of its own; its base's holds.
        base = next((e for e in entries if entry and e.get("id") == entry.get("parent")), {})
        version, context = await self._page(kind, retried)
        context = entry.get("max_model_len") or base.get("max_model_len") or context
        root = entry.get("root")
        told = context if isinstance(context, int) else None
        return About(kind, version, told, root if isinstance(root, str) else None)

    async def _listed(self, retried: Counter[str]) -> list[dict[str, Any]]:
        try:
            listing = await self._server.get("/models", retried)
        except RequestRejected as refusal:
            raise EngineError(f"language model {self._name!r}: {refusal}") from None
        found = (listing or {}).get("data")
        return [e for e in found if isinstance(e, dict)] if isinstance(found, list) else []

    async def _load_adapter(self, adapter: str, retried: Counter[str]) -> None:
        """Load the adapter into the running server; another worker may have done so a moment ago."""
        try:
            await self._server.tell(
                "/load_lora_adapter", {"lora_name": self._settings.model, "lora_path": adapter}, retried
            )
        except RequestRejected as refusal:
            if "already been loaded" in refusal.message:
                return
            hint = ""
            if refusal.status in (404, 405):
                hint = "; start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
            raise EngineError(f"language model {self._name!r}: the server loads no adapter: {refusal}{hint}") from None

    async def _page(self, kind: ServerKind, retried: Counter[str]) -> tuple[str, Any]:
        """Version and, by llama.cpp, the context's length, from the page where a server of this kind tells them."""
        if kind.about is None:
            return "unknown", None
        path, key = kind.about
        page = await self._server.get(path, retried, root=True) or {}
        settings = page.get("default_generation_settings")
        return str(page.get(key) or "unknown")[:100], settings.get("n_ctx") if isinstance(settings, dict) else None
