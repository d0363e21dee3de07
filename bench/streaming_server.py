"""An OpenAI-compatible server that answers several requests at once, each as it is made, for benchmarks of latency.

``python -m bench.streaming_server FOLDER`` prints its address and serves until its input ends. Unlike the tests' server
it holds one engine for each place, so that a request waits for no other, as at a server with continuous batching.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from tests.openai_server import IdsEngine, OpenAIServer, request_of
from workers.engines.base import Cancelled, Completion

PLACES = 16
_LOOK_SECONDS = 0.005


class StreamingServer(OpenAIServer):
    """Serves one model at ``PLACES`` places; a stream tells a text while it grows."""

    def __init__(self, model: Path) -> None:
        self._free: queue.SimpleQueue[IdsEngine] = queue.SimpleQueue()
        for _ in range(PLACES):
            self._free.put(IdsEngine({"path": str(model), "device": "cpu"}))
        super().__init__(model)

    def answer(
        self, path: str, body: dict[str, Any], gone: Callable[[], bool]
    ) -> tuple[int, str | dict[str, Any] | Iterator[dict[str, Any]]]:
        """As its base answers, without waiting for others."""
        if "prompt_logprobs" in body or path.endswith("/load_lora_adapter"):
            return super().answer(path, body, gone)
        if body.get("stream"):
            return 200, self._streamed(path, body)
        with self._engine() as engine:
            [results] = engine.generate([request_of(body)], gone)
        return 200, self.body_of(path, results)

    @contextmanager
    def _engine(self) -> Iterator[IdsEngine]:
        engine = self._free.get()
        try:
            yield engine
        finally:
            self._free.put(engine)

    def _streamed(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What each look at the engine finds new; the counts at the end. A client that left ends it."""
        chat, left = path.endswith("/chat/completions"), threading.Event()
        told: dict[int, str] = {}
        done: list[list[Completion]] = []
        with self._engine() as engine:
            working = threading.Thread(target=_generate, args=(engine, body, left, done), daemon=True)
            working.start()
            try:
                while working.is_alive():
                    time.sleep(_LOOK_SECONDS)
                    for _, sample, text in engine.texts(0):
                        if (fresh := text[len(told.get(sample, "")) :]) and text.startswith(told.get(sample, "")):
                            told[sample] = text
                            yield _chunk(chat, sample, fresh, None)
            finally:
                left.set()
                working.join()
        for sample, completion in enumerate(done[0] if done else []):
            rest = completion.text.removeprefix(told.get(sample, ""))
            yield _chunk(chat, sample, rest, completion.finish_reason)
        yield {"choices": [], "usage": self.body_of(path, done[0])["usage"] if done else None}


def _generate(engine: IdsEngine, body: dict[str, Any], left: threading.Event, done: list[list[Completion]]) -> None:
    with suppress(Cancelled):
        done.extend(engine.generate([request_of(body)], left.is_set))


def _chunk(chat: bool, sample: int, text: str, end: str | None) -> dict[str, Any]:
    written = {"delta": {"content": text}} if chat else {"text": text}
    return {"choices": [{"index": sample, "finish_reason": end, **written}], "usage": None}


def main() -> None:
    """Serve the folder that the command line names."""
    torch.set_num_threads(1)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    server = StreamingServer(Path(sys.argv[1]))
    print(server.url, flush=True)
    sys.stdin.read()
    server.close()


if __name__ == "__main__":
    main()
