"""An OpenAI-compatible server, answering from the transformers engine, that can be told to misbehave.

Serves ``/v1/models``, ``/version``, ``/v1/completions`` (token ids) and ``/v1/chat/completions`` (the last turn
continued).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from errata.types import Message, Prompt
from tests.openai_http_server import MODEL, HttpServer
from workers.engines.base import Completion, GenerationRequest
from workers.engines.transformers_engine import TransformersEngine

__all__ = ["MODEL", "IdsEngine", "OpenAIServer", "request_of"]


class IdsEngine(TransformersEngine):
    """Takes prompts that are token ids already, as JSON in the assistant prefix of a prompt of version "ids"."""

    def prompt_ids(self, request: GenerationRequest) -> list[int]:
        if request.prompt.version == "ids":
            given = json.loads(request.prompt.assistant_prefix)
            return list(self.tokenizer(given)["input_ids"] if isinstance(given, str) else given)
        return super().prompt_ids(request)


class OpenAIServer(HttpServer):
    """Serves one model until closed."""

    def __init__(
        self, model: Path, *, owner: str = "vllm", version: str = "1.2.3", faults: tuple[str, ...] = ()
    ) -> None:
        self.engine = IdsEngine({"path": str(model), "device": "cpu"})
        self.tells_context = True  # llama.cpp and most hosted servers do not
        self.prompt_tokens = self.completion_tokens = 0
        self.lock = threading.Lock()
        self.adapters: dict[str, IdsEngine] | None = None  # by name; None: it loads none
        super().__init__(owner=owner, version=version, faults=faults)

    def answer(
        self, path: str, body: dict[str, Any], gone: Any
    ) -> tuple[int, str | dict[str, Any] | Iterator[dict[str, Any]]]:
        """Status and body for one request, as vLLM would: several greedy samples are refused, and long prompts."""
        if path.endswith("/load_lora_adapter") and self.adapters is not None:
            return self._load(self.adapters, body["lora_name"], body["lora_path"])
        if path == "/generate":
            return 200, self._scored_natively(body)
        if body.get("model") not in (MODEL, *(self.adapters or ())):
            return 404, {"error": {"message": f"The model `{body.get('model')}` does not exist."}}
        engine = (self.adapters or {}).get(body["model"], self.engine)
        if body.get("n", 1) > 1 and body["temperature"] == 0:
            return 400, {"error": {"message": "n must be 1 when using greedy sampling"}}
        if "prompt_logprobs" in body:
            return 200, {"choices": [{"index": 0, "prompt_logprobs": self._scored(body)}]}
        request = request_of(body)
        room = self.engine.max_context - len(self.engine.prompt_ids(request))
        if room <= 0 or body.get("max_tokens", 0) > room:
            return 400, {"error": {"message": f"maximum context length is {self.engine.max_context} tokens"}}
        with self.lock:
            [results] = engine.generate([request], gone)
        return 200, self.body_of(path, results)

    def models(self) -> list[dict[str, Any]]:
        """What is served, adapters with their base and without a length of their own, as vLLM lists them."""
        base: dict[str, Any] = {"id": MODEL, "owned_by": self.owner}
        if self.tells_context:
            base["max_model_len"] = self.engine.max_context
        return [base, *({"id": name, "owned_by": self.owner, "parent": MODEL} for name in self.adapters or ())]

    @staticmethod
    def _load(adapters: dict[str, IdsEngine], name: str, path: str) -> tuple[int, str | dict[str, Any]]:
        if name in adapters:
            message = f"The lora adapter '{name}' has already been loaded."
            return 400, {"error": {"message": message}}
        adapters[name] = IdsEngine({"path": path, "device": "cpu"})
        return 200, f"Success: LoRA adapter '{name}' added successfully."

    def _scored(self, body: dict[str, Any]) -> list[dict[str, Any] | None]:
        """At each token the likeliest ids and its own with their log-probabilities, as vLLM tells them."""
        ids = body["prompt"]
        with self.lock, torch.inference_mode():
            logprobs = self.engine.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        told: list[dict[str, Any] | None] = [None]  # nothing predicts the first token
        for row, token in zip(logprobs[:-1], ids[1:], strict=True):
            likeliest = row.topk(body["prompt_logprobs"]).indices.tolist()
            told.append({str(i): {"logprob": float(row[i])} for i in dict.fromkeys([*likeliest, token])})
        return told

    def _scored_natively(self, body: dict[str, Any]) -> dict[str, Any]:
        """The same in SGLang's shape, from ``logprob_start_len`` on; of the first place nothing."""
        ids, start = body["input_ids"], body["logprob_start_len"]
        told = self._scored({"prompt": ids, "prompt_logprobs": body["top_logprobs_num"]})
        own: list[Any] = [[None, ids[start], None]]
        others: list[Any] = [None]
        for token, place in zip(ids[start + 1 :], told[start + 1 :], strict=True):
            found = {int(other): value["logprob"] for other, value in (place or {}).items()}
            own.append([found[token], token, None])
            others.append([[value, other, None] for other, value in list(found.items())[: body["top_logprobs_num"]]])
        meta = {"prompt_tokens": len(ids), "completion_tokens": 1, "cached_tokens": 5}
        return {"text": "x", "meta_info": {**meta, "input_token_logprobs": own, "input_top_logprobs": others}}

    def body_of(self, path: str, results: list[Completion]) -> dict[str, Any]:
        """A whole answer, its choices from the last to the first."""
        spent = sum(c.completion_tokens for c in results)
        with self.counting:
            self.prompt_tokens += results[0].prompt_tokens
            self.completion_tokens += spent
        chat = path.endswith("/chat/completions")
        choices = [
            {
                "index": at,
                "finish_reason": c.finish_reason,
                **({"message": {"role": "assistant", "content": c.text}} if chat else {"text": c.text}),
            }
            for at, c in enumerate(results)
        ]
        usage = {
            "prompt_tokens": results[0].prompt_tokens,
            "completion_tokens": spent,
            "prompt_tokens_details": {"cached_tokens": 7},
        }
        return {"choices": choices[::-1], "usage": usage}


def request_of(body: dict[str, Any]) -> GenerationRequest:
    """What an engine is asked for a POST's body."""
    limit = body.get("max_tokens") or 400
    if "prompt" in body:
        prompt = Prompt((), json.dumps(body["prompt"]), "ids")
    else:
        turns = [Message(turn["role"], turn["content"]) for turn in body["messages"]]
        continued = body.get("continue_final_message") and not body.get("add_generation_prompt")
        prefix = turns.pop().content if continued else ""
        prompt = Prompt(tuple(turns), prefix, "chat")
    names = {name: body[name] for name in ("n", "temperature", "top_p", "seed")}
    return GenerationRequest(prompt, max_tokens=limit, stop=tuple(body.get("stop", ())), **names)
