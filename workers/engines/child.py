"""The engine child: ``python -m workers.engines.child ENGINE LOADED``. Holds language models, answers JSON lines.

First line out: ``{"ready": {versions}}``. On stdin, ``{"id": 1, "config": {...}, "requests": [...]}`` is answered by
``{"id": 1, "completions": [...], "version": ..., "capabilities": ...}`` or ``{"id": 1, "error": ...}``, and
``{"cancel": 1}`` stops one. At most LOADED models stay loaded, the least recently used is dropped first; swapping one
costs its weights, not the libraries.
Ends when stdin closes: a dead worker leaves no orphan holding a GPU.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from workers.engines.base import Cancelled, Engine
from workers.engines.wire import completion_to_json, request_from_json


class _Shelf:
    """The models that are loaded, by configuration."""

    def __init__(self, load: Callable[[dict[str, Any]], Engine], room: int) -> None:
        self._load, self._room = load, room
        self._engines: OrderedDict[str, Engine] = OrderedDict()

    def get(self, config: dict[str, Any]) -> Engine:
        """The engine for this configuration, loaded if need be."""
        key = json.dumps(config, sort_keys=True)
        if key not in self._engines:
            while len(self._engines) >= self._room:
                self._engines.popitem(last=False)[1].close()
            self._engines[key] = self._load(config)
        self._engines.move_to_end(key)
        return self._engines[key]


def _libraries(engine: str, threads: int) -> tuple[Callable[[dict[str, Any]], Engine], dict[str, str]]:
    """What loads a model of this engine, and its libraries' versions.

    Imported here and not above: a child loads the libraries of one engine. They pin each other's versions, so vllm may
    live in an environment that lacks what the transformers engine needs, and the other way round.
    """
    if engine == "vllm":
        # The engine's core in this process: nothing else answers for it, and its end is this process's end.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        from workers.engines.vllm_engine import VllmEngine, versions

        return VllmEngine, versions()
    if engine != "transformers":
        raise ValueError(f"engine {engine!r} does not run in a child")
    import torch
    import transformers

    from workers.engines.transformers_engine import TransformersEngine

    if threads:
        torch.set_num_threads(threads)
    return TransformersEngine, {"torch": torch.__version__, "transformers": transformers.__version__}


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
    try:
        load, versions = _libraries(sys.argv[1], int(os.environ.get("ERRATA_TORCH_THREADS", "0")))
    except Exception as error:
        print(json.dumps({"error": f"engine {sys.argv[1]!r} cannot start here: {error}"}), file=out)
        return
    shelf = _Shelf(load, int(sys.argv[2]))
    print(json.dumps({"ready": versions}), file=out)
    inbox = _Inbox()
    inbox.start()
    while True:
        print(json.dumps(_answer(shelf, inbox.messages.get(), inbox)), file=out)


def _answer(shelf: _Shelf, message: dict[str, Any], inbox: _Inbox) -> dict[str, Any]:
    number = message["id"]
    try:
        engine = shelf.get(message["config"])
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
    about = {"version": engine.version, "capabilities": asdict(engine.capabilities)}
    return {"id": number, "completions": [[completion_to_json(c) for c in result] for result in results], **about}


if __name__ == "__main__":
    main()
