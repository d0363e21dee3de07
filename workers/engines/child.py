"""The engine child: ``python -m workers.engines.child``. Holds one language model and answers JSON lines on stdin.

First line in: ``{"engine": ..., "config": {...}}``; first line out: ``{"ready": {...}}`` or ``{"error": ...}``. Then
``{"id": 1, "requests": [...]}`` is answered by ``{"id": 1, "completions": [...]}``, and ``{"cancel": 1}`` stops one.
Ends when stdin closes: a dead worker leaves no orphan holding a GPU.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import Any

from workers.engines.base import Cancelled, Engine
from workers.engines.wire import completion_to_json, request_from_json


def _load(engine: str, config: dict[str, Any]) -> Engine:
    if engine == "transformers":
        from workers.engines.transformers_engine import TransformersEngine  # heavy: only in the child

        return TransformersEngine(config)  # type: ignore[return-value]
    raise ValueError(f"engine {engine!r} does not run in a child")


def _versions() -> dict[str, str]:
    import torch
    import transformers

    return {"torch": torch.__version__, "transformers": transformers.__version__}


class _Inbox(threading.Thread):
    """Reads stdin ahead, so that a cancellation is seen while a batch is decoding."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.cancelled: set[int] = set()

    def run(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if "cancel" in message:
                self.cancelled.add(message["cancel"])
            else:
                self.messages.put(message)
        os._exit(0)  # the worker is gone; a batch in flight is of no use to anyone


def main() -> None:
    """Serve until stdin closes. What libraries print goes to stderr: stdout carries only our lines."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    threads = int(os.environ.get("ERRATA_TORCH_THREADS", "0"))
    first = json.loads(sys.stdin.readline())
    try:
        engine = _load(first["engine"], first["config"])
        if threads:
            import torch

            torch.set_num_threads(threads)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=out)
        raise SystemExit(1) from error
    print(json.dumps({"ready": _versions()}), file=out)
    inbox = _Inbox()
    inbox.start()
    while (message := inbox.messages.get()) is not None:
        print(json.dumps(_answer(engine, message, inbox)), file=out)


def _answer(engine: Engine, message: dict[str, Any], inbox: _Inbox) -> dict[str, Any]:
    number = message["id"]
    requests = [request_from_json(r) for r in message["requests"]]
    try:
        results = engine.generate(requests, lambda: number in inbox.cancelled)
    except Cancelled:
        return {"id": number, "cancelled": True}
    except Exception as error:
        return {"id": number, "error": f"{type(error).__name__}: {error}"}
    return {"id": number, "completions": [[completion_to_json(c) for c in result] for result in results]}


if __name__ == "__main__":
    main()
