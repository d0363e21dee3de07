"""The engine child: ``python -m workers.engines.child LOADED``. Holds language models and answers JSON lines on stdin.

First line out: ``{"ready": {versions}}``. Then ``{"id": 1, "engine": ..., "config": {...}, "requests": [...]}`` is
answered by ``{"id": 1, "completions": [...]}`` or ``{"id": 1, "error": ...}``, and ``{"cancel": 1}`` stops one. At most
LOADED models stay loaded, the least recently used is dropped first; swapping one costs its weights, not the libraries.
Ends when stdin closes: a dead worker leaves no orphan holding a GPU.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections import OrderedDict
from typing import Any

import torch
import transformers

from workers.engines.base import Cancelled, Engine
from workers.engines.transformers_engine import TransformersEngine
from workers.engines.wire import completion_to_json, request_from_json


class _Shelf:
    """The engines that are loaded, by engine and configuration."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._engines: OrderedDict[str, Engine] = OrderedDict()

    def get(self, engine: str, config: dict[str, Any]) -> Engine:
        """The engine for this configuration, loaded if need be."""
        key = json.dumps([engine, config], sort_keys=True)
        if key not in self._engines:
            while len(self._engines) >= self._room:
                self._engines.popitem(last=False)[1].close()
            self._engines[key] = _load(engine, config)
        self._engines.move_to_end(key)
        return self._engines[key]


def _load(engine: str, config: dict[str, Any]) -> Engine:
    if engine == "transformers":
        return TransformersEngine(config)
    raise ValueError(f"engine {engine!r} does not run in a child")


class _Inbox(threading.Thread):
    """Reads stdin ahead, so that a cancellation is seen while a batch is decoding."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.messages: queue.Queue[dict[str, Any]] = queue.Queue()
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
    if threads := int(os.environ.get("ERRATA_TORCH_THREADS", "0")):
        torch.set_num_threads(threads)
    shelf = _Shelf(int(sys.argv[1]))
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps({"ready": versions}), file=out)
    inbox = _Inbox()
    inbox.start()
    while True:
        print(json.dumps(_answer(shelf, inbox.messages.get(), inbox)), file=out)


def _answer(shelf: _Shelf, message: dict[str, Any], inbox: _Inbox) -> dict[str, Any]:
    number = message["id"]
    try:
        engine = shelf.get(message["engine"], message["config"])
    except Exception as error:
        path = message["config"].get("path")
        return {"id": number, "error": f"could not load {path}: {type(error).__name__}: {error}"}
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
