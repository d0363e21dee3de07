"""The engine child: ``python -m workers.engines.child MODULE:CLASS LOADED``. Holds language models, answers JSON lines.

First line out: ``{"ready": true}``. On stdin, ``{"id": 1, "config": {...}, "requests": [...]}`` is answered by
``{"id": 1, "completions": [...], "version": ..., "capabilities": ..., "weights": ..., "seconds": ...}``, or by
``{"id": 1, "error": ...}``: ``weights`` is the mark of what is loaded (workers.engines.marks), and ``seconds`` were
spent generating, without the model's load. With ``scored`` in place of ``requests``, and ``model`` (its name), the
answer has ``scores``. ``{"cancel": 1}`` stops a batch. ``{"loading": 1}`` says that the batch waits for its model, and
every second ``{"pulse": [[1, done, tokens, open]]}`` what each open batch has made (workers.engines.meter.SoFar). A
batch with ``"stream": true`` is told as it grows, in ``{"texts": [1, [[request, sample, text]]]}``. An engine that
takes several batches at once (a ContinuousEngine) is given each as it comes, and answers come in the order in which
they end.
At most LOADED models stay loaded, the least recently used is dropped first; a model is loaded only while no batch is
open, and swapping one costs its weights, not the libraries. Ends when stdin closes: a dead worker leaves no orphan
holding a GPU.
Ends too when an engine breaks: only a new process frees its device for certain.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from workers.engines.base import (
    Cancelled,
    ContinuousEngine,
    ContinuousScoringEngine,
    Engine,
    EngineError,
    GenerationRequest,
    LacksCapability,
    MeteredEngine,
    Outcome,
    PromptRefused,
    ScoreRequest,
    Scores,
    ScoringEngine,
    StreamingEngine,
    Text,
    load_class,
    request_from_json,
    require_scoring,
    score_request_from_json,
    scores_to_json,
)
from workers.engines.marks import LoadedMarks

_PULSE_SECONDS = 1.0
_TEXT_SECONDS = 0.1
AnyEngine = Engine | ContinuousEngine
Load = Callable[[dict[str, Any]], AnyEngine]


class _LoadedModels:
    """The models that are loaded, by configuration."""

    def __init__(self, load: Load, most: int) -> None:
        self._load, self._most = load, most
        self._engines: OrderedDict[str, AnyEngine] = OrderedDict()
        self._marks = LoadedMarks()

    def has(self, config: dict[str, Any]) -> bool:
        """Whether this configuration is loaded; its adapter need not be."""
        return _without_adapter(config) in self._engines

    def get(self, config: dict[str, Any]) -> AnyEngine:
        """The engine for this configuration, loaded if need be."""
        key = _without_adapter(config)
        if key not in self._engines:
            # First out, then in: two models side by side may not fit the device.
            while len(self._engines) >= self._most:
                dropped, engine = self._engines.popitem(last=False)
                engine.close()
                self._marks.drop(dropped)
            plain = json.loads(key)
            self._marks.load(key, plain)
            self._engines[key] = self._load(plain)
            self._marks.settle(key, plain)
        self._engines.move_to_end(key)
        return self._engines[key]

    def mark(self, config: dict[str, Any]) -> str | None:
        """The mark of what is loaded for this configuration, its adapter included."""
        return self._marks.of(_without_adapter(config), config.get("adapter"))


def _without_adapter(config: dict[str, Any]) -> str:
    # An adapter is loaded beside its base, so both are one entry here.
    return json.dumps({name: value for name, value in config.items() if name != "adapter"}, sort_keys=True)


class _Inbox(threading.Thread):
    """Reads stdin ahead, so that a cancellation is seen while a batch is decoding."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self.cancelled: set[int] = set()

    def next(self, *, wait: bool) -> dict[str, Any] | None:
        """The next message; None where there is none and it is not to be waited for."""
        try:
            return self.messages.get(block=wait)
        except queue.Empty:
            return None

    def run(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if "cancel" in message:
                self.cancelled.add(message["cancel"])
            else:
                self.messages.put(message)
        # Not sys.exit: this is a thread, and the main one may be deep in a decoding step.
        os._exit(0)  # the worker is gone; a batch in flight is of no use to anyone


def main() -> None:
    """Serve until stdin closes. What libraries print goes to stderr: stdout carries only our lines."""
    # A library that prints a line would break the protocol: it is given a copy of stderr as its standard output.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        # Imported here and not above: a child loads the libraries of one engine. They pin each other's versions, so
        # vllm may live in an environment that lacks what the transformers engine needs, and the other way round.
        engine = load_class(sys.argv[1])
    except Exception as error:
        print(json.dumps({"error": f"cannot start here: {error}"}), file=out)
        return
    models = _LoadedModels(engine, int(sys.argv[2]))
    print(json.dumps({"ready": True}), file=out)
    inbox = _Inbox()
    inbox.start()
    scheduler = _Scheduler(models, inbox, lambda answer: print(json.dumps(answer), file=out))
    try:
        while True:
            scheduler.step()
    except Exception:
        traceback.print_exc()
        os._exit(1)  # at once: a thread of the broken engine would keep the process


class _Scheduler:
    """Hands batches to engines in the order they come, and gives back what each of them made of it."""

    def __init__(self, models: _LoadedModels, inbox: _Inbox, tell: Callable[[dict[str, Any]], None]) -> None:
        self._models, self._inbox, self._tell = models, inbox, tell
        self._open: dict[int, ContinuousEngine] = {}
        self._alone: tuple[int, AnyEngine] | None = None  # the batch of an engine that takes one at a time
        self._began: dict[int, float] = {}
        self._marks: dict[int, str | None] = {}  # of the weights that each open batch is answered with
        self._postponed: dict[str, Any] | None = None  # needs a model that is loaded when no batch is open any more
        self._pulsed = self._streamed = 0.0
        self._listened: dict[int, dict[tuple[int, int], str]] = {}  # batches somebody listens to, and what was told

    def step(self) -> None:
        """Take up one message, if there is one or nothing else is to be done; then generate a little."""
        message = self._postponed or self._inbox.next(wait=not self._open)
        # Loading stops the batches that are open, perhaps for minutes; so what needs a load waits, and all behind it.
        self._postponed = message if message and self._open and not self._models.has(message["config"]) else None
        if message and self._postponed is None:
            self._begin(message)
        for number in self._inbox.cancelled & self._open.keys():
            self._open[number].cancel(number)
            self._end(number, {"cancelled": True})
        # Each engine once, however many of its batches are open.
        for engine in {id(engine): engine for engine in self._open.values()}.values():
            for number, outcome in engine.step():
                self._end(number, _answer(engine, outcome))
            self._pulse()

    def _begin(self, message: dict[str, Any]) -> None:
        number, path = message["id"], message["config"].get("path")
        if number in self._inbox.cancelled:  # while it waited behind another
            self._end(number, {"cancelled": True})
            return
        if not self._models.has(message["config"]):
            self._tell({"loading": number})
        try:
            engine = self._models.get(message["config"])
        except Exception as error:
            self._end(number, {"error": f"could not load {path}: {type(error).__name__}: {error}"})
            return
        self._began[number] = time.monotonic()
        self._marks[number] = self._models.mark(message["config"])
        if message.get("stream"):
            self._listened[number] = {}
        try:
            if "scored" in message:
                self._score(engine, message, [score_request_from_json(r) for r in message["scored"]])
                return
            requests = [request_from_json(r) for r in message["requests"]]
            if isinstance(engine, ContinuousEngine):
                engine.submit(number, requests, message["config"].get("adapter"))
                self._open[number] = engine
            else:
                self._end(number, self._generate(engine, number, requests))
        except EngineError as error:
            self._end(number, {"error": str(error), **_kind(error)})
        except Exception as error:
            self._end(number, {"error": f"{type(error).__name__}: {error}"})

    def _score(self, engine: AnyEngine, message: dict[str, Any], requests: Sequence[ScoreRequest]) -> None:
        number = message["id"]
        if isinstance(engine, ContinuousEngine) and isinstance(engine, ContinuousScoringEngine):
            engine.submit_scores(number, requests, message["config"].get("adapter"))
            self._open[number] = engine
        elif isinstance(engine, ScoringEngine):
            self._alone = (number, engine)
            try:
                self._end(number, _answer(engine, engine.score(requests, lambda: self._cancelled(number))))
            except Cancelled:
                self._end(number, {"cancelled": True})
        else:
            require_scoring(message["model"], engine.capabilities)

    def _generate(self, engine: Engine, number: int, requests: Sequence[GenerationRequest]) -> dict[str, Any]:
        self._alone = (number, engine)
        try:
            return _answer(engine, engine.generate(requests, lambda: self._cancelled(number)))
        except Cancelled:
            return {"cancelled": True}

    def _cancelled(self, number: int) -> bool:
        self._pulse()
        return number in self._inbox.cancelled

    def _pulse(self) -> None:
        """Tell now and then that generating goes on: an engine that hangs says nothing and is ended by its worker."""
        now = time.monotonic()
        working: list[tuple[int, AnyEngine]] = [*self._open.items()] or ([self._alone] if self._alone else [])
        if self._listened and now - self._streamed >= _TEXT_SECONDS:
            self._streamed = now
            for number, engine in working:
                if number in self._listened and isinstance(engine, StreamingEngine):
                    self._tell_texts(number, engine.texts(number))
        if now - self._pulsed >= _PULSE_SECONDS:
            self._pulsed = now
            metered = [(number, engine) for number, engine in working if isinstance(engine, MeteredEngine)]
            self._tell({"pulse": [[number, *engine.so_far(number)] for number, engine in metered]})

    def _tell_texts(self, number: int, texts: Sequence[Text]) -> None:
        """Those that have grown."""
        told = self._listened[number]
        grown = [each for each in texts if each[2] and told.get(each[:2]) != each[2]]
        told.update({each[:2]: each[2] for each in grown})
        if grown:
            self._tell({"texts": [number, grown]})

    def _end(self, number: int, answer: dict[str, Any]) -> None:
        self._open.pop(number, None)
        self._listened.pop(number, None)
        self._alone = None
        self._inbox.cancelled.discard(number)
        # Without the model's load: an estimate of a job's time is made of this.
        seconds = time.monotonic() - self._began.pop(number, time.monotonic())
        self._tell({"id": number, **answer, "weights": self._marks.pop(number, None), "seconds": seconds})


def _kind(error: EngineError) -> dict[str, bool]:
    return {"lacks": isinstance(error, LacksCapability), "refused": isinstance(error, PromptRefused)}


def _answer(engine: AnyEngine, outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, EngineError):
        return {"error": str(outcome), **_kind(outcome)}
    about = {"version": engine.version, "capabilities": asdict(engine.capabilities)}
    scores = [scores_to_json(each) for each in outcome if isinstance(each, Scores)]
    completions = [[asdict(c) for c in each] for each in outcome if not isinstance(each, Scores)]
    return {"scores": scores, "completions": completions, **about}


if __name__ == "__main__":
    main()
