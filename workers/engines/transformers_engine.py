"""The ``transformers`` engine: batched decoding with a key-value cache on CPU, MPS or CUDA.

Runs inside an engine child (workers.engines.child). On CPU float32 the same list of requests gives the same text; the
promise rests on random streams of each row's own (workers.engines.sampling) and on batches cut in a fixed order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from workers.engines.base import (
    Cancelled,
    Capabilities,
    Completion,
    EngineError,
    FinishReason,
    GenerationRequest,
    ScoreRequest,
    Scores,
    Text,
)
from workers.engines.joints import decoded_behind, end_of_turn, held_back_of, without_held_back
from workers.engines.meter import SoFar
from workers.engines.rendering import prompt_ids
from workers.engines.sampling import next_tokens, uniforms
from workers.engines.scoring import ScoredText, TextScorer, TokenLogprobs, unscored
from workers.engines.templates import with_template_values
from workers.engines.weights import refuse_pickles

_STOP_WINDOW = 16  # tokens decoded at each step to look for a stop string
_SCORED_LOGITS = 1 << 26  # logits held at once while texts are scored: 256 MiB in float32


@dataclass
class _Row:
    """One sequence in flight."""

    index: int  # of its request
    sample: int
    prompt_ids: list[int]
    request: GenerationRequest
    limit: int
    held_back: str = ""  # spaces of the prompt's opening that the model writes itself
    tokens: list[int] = field(default_factory=list)
    text: str | None = None
    finish_reason: FinishReason | None = None


class TransformersEngine:
    """Loads a causal language model once and decodes for it. Not thread-safe: one child, one batch at a time."""

    def __init__(self, config: dict[str, Any]) -> None:
        if threads := int(os.environ.get("ERRATA_TORCH_THREADS", "0")):
            torch.set_num_threads(threads)
        path, revision = config["path"], config.get("revision")
        refuse_pickles(path)
        self.device = torch.device(config.get("device") or _best_device())
        dtype = getattr(torch, config.get("dtype") or "float32")
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision, padding_side="left")
        self.tokenizer: Any = with_template_values(tokenizer, config)
        model: Any = AutoModelForCausalLM.from_pretrained(path, revision=revision, dtype=dtype, use_safetensors=True)
        self.model = model.to(self.device).eval()
        self.batch_size = int(config.get("batch_size", 64))
        limits = (config.get("max_context"), getattr(self.model.config, "max_position_embeddings", None))
        self.max_context = min(int(limit) for limit in limits if limit)
        self.end_ids = _end_ids(self.model, self.tokenizer)
        self.version = f"transformers {transformers.__version__}, torch {torch.__version__}"
        self.capabilities = Capabilities(
            assistant_prefix=True,
            per_request_seed=True,
            prefix_cache=False,
            repeatable=self.device.type == "cpu" and dtype == torch.float32,
            prompt_logprobs=True,
        )
        self._scorer: TextScorer | None = None
        self._made: Callable[[], SoFar] = SoFar
        self._working: Sequence[_Row] = ()

    def generate(
        self, requests: Sequence[GenerationRequest], cancelled: Callable[[], bool] = lambda: False
    ) -> list[list[Completion]]:
        """Completions per request, in request order; see workers.engines.base."""
        rows = [row for index, request in enumerate(requests) for row in self._rows(index, request)]
        # Alike lengths together: padding is work. The sort is stable, so batches are a function of the requests.
        rows.sort(key=lambda row: (len(row.prompt_ids), row.limit))
        self._made, self._working = lambda: _so_far(rows), rows
        for at in range(0, len(rows), self.batch_size):
            self._decode(rows[at : at + self.batch_size], cancelled)
        results: list[list[Completion]] = [[] for _ in requests]
        for row in sorted(rows, key=lambda row: (row.index, row.sample)):
            results[row.index].append(_completion(row))
        return results

    def score(self, requests: Sequence[ScoreRequest], cancelled: Callable[[], bool] = lambda: False) -> list[Scores]:
        """Scores per request, in request order, by one forward pass for each batch; see workers.engines.base."""
        if self._scorer is None:
            self._scorer = TextScorer(self.tokenizer)
        texts = [self._scorer.encode(request) for request in requests]
        results = [unscored(text) for text in texts]
        fitting = [at for at, text in enumerate(texts) if text.spans and len(text.ids) <= self.max_context]
        fitting.sort(key=lambda at: len(texts[at].ids))
        scored = len(texts) - len(fitting)
        for members in self._scored_batches(texts, fitting):
            self._made = partial(SoFar, scored)
            scored += len(members)
            if cancelled():
                raise Cancelled
            most = max(requests[at].alternatives for at in members) + 1  # the text's own token may be among them
            temperatures = [requests[at].temperatures for at in members]
            told = self._logprobs([texts[at] for at in members], most, temperatures)
            for at, (row, tempered) in zip(members, told, strict=True):
                results[at] = self._scorer.scores(requests[at], texts[at], row, at=tempered)
        return results

    def _scored_batches(self, texts: Sequence[ScoredText], order: Sequence[int]) -> list[list[int]]:
        """Texts of like lengths together, as many as their logits leave room for."""
        vocabulary = int(self.model.get_output_embeddings().weight.shape[0])
        batches: list[list[int]] = []
        width = 0  # positions whose logits are kept, the same in every row of a batch
        for at in order:
            width = max(width, len(texts[at].spans) + 1) if batches else len(texts[at].spans) + 1
            room = max(1, min(self.batch_size, _SCORED_LOGITS // (width * vocabulary)))
            if batches and len(batches[-1]) < room:
                batches[-1].append(at)
            else:
                width = len(texts[at].spans) + 1
                batches.append([at])
        return batches

    @torch.inference_mode()
    def _logprobs(
        self, texts: Sequence[ScoredText], most: int, temperatures: Sequence[tuple[float, ...]]
    ) -> list[tuple[list[TokenLogprobs], list[tuple[float, ...]]]]:
        """For each token of each text its log-probability, the ``most`` likeliest ids at its place, and its
        log-probability at each temperature that is asked for its text."""
        width, kept = max(len(text.ids) for text in texts), max(len(text.spans) for text in texts) + 1
        pad = self.tokenizer.pad_token_id or 0
        # Padded on the left: every text ends at the last position, so the kept positions are the last ones of all rows.
        ids = torch.tensor([[pad] * (width - len(text.ids)) + text.ids for text in texts], device=self.device)
        mask = torch.tensor([[0] * (width - len(t.ids)) + [1] * len(t.ids) for t in texts], device=self.device)
        position = (mask.cumsum(-1) - 1).clamp(min=0)
        out = self.model(
            input_ids=ids, attention_mask=mask, position_ids=position, use_cache=False, logits_to_keep=kept
        )
        found: list[tuple[list[TokenLogprobs], list[tuple[float, ...]]]] = []
        for row, text in enumerate(texts):
            count = len(text.spans)
            # A token is told by the position before it; what the last position tells is behind the text.
            logits, wanted = out.logits[row, -count - 1 : -1].float(), ids[row, -count:, None]
            logprobs = logits.log_softmax(-1)
            own = logprobs.gather(-1, wanted)[:, 0].tolist()
            columns = [(logits / t).log_softmax(-1).gather(-1, wanted)[:, 0].tolist() for t in temperatures[row]]
            values, likeliest = logprobs.topk(min(most, logprobs.shape[-1]), dim=-1)
            pairs = zip(likeliest.tolist(), values.tolist(), strict=True)
            others = [list(zip(*pair, strict=True)) for pair in pairs]
            found.append((list(zip(own, others, strict=True)), list(zip(*columns, strict=True))))
        return found

    def so_far(self, number: int) -> SoFar:  # noqa: ARG002
        """What the batch at hand has made until now; see workers.engines.base.MeteredEngine."""
        return self._made()

    def texts(self, number: int) -> list[Text]:  # noqa: ARG002
        """What the batch at hand holds until now; see workers.engines.base.StreamingEngine."""
        begun = [row for row in self._working if row.tokens]
        return [(row.index, row.sample, self.text(row, row.tokens) if row.text is None else row.text) for row in begun]

    def close(self) -> None:
        """Free the weights."""
        del self.model
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def prompt_ids(self, request: GenerationRequest) -> list[int]:
        """Token ids of the rendered turns, then of the assistant prefix: tokenised on their own, joined by ids."""
        return prompt_ids(self.tokenizer, request.prompt)

    def _rows(self, index: int, request: GenerationRequest) -> list[_Row]:
        ids = self.prompt_ids(request)
        room = self.max_context - len(ids)
        if room <= 0:
            return [_Row(index, i, ids, request, 0, text="", finish_reason="length") for i in range(request.n)]
        held, limit = held_back_of(self.tokenizer, request.prompt), min(request.max_tokens, room)
        return [_Row(index, i, ids, request, limit, held) for i in range(request.n)]

    def text(self, row: _Row, ids: list[int]) -> str:
        """What a row's tokens add to its prompt's opening."""
        decoded = decoded_behind(self.tokenizer, ids, opened=bool(row.request.prompt.assistant_prefix))
        return without_held_back(decoded, row.held_back)

    @torch.inference_mode()
    def _decode(self, rows: list[_Row], cancelled: Callable[[], bool]) -> None:
        live = [row for row in rows if row.finish_reason is None]
        if not live:
            return
        batch = _Batch(self, live)
        while batch.rows:
            if cancelled():
                raise Cancelled
            batch.step()


class _Batch:
    """Rows decoding in step. Finished rows leave the batch, and the cache with them."""

    def __init__(self, engine: TransformersEngine, rows: list[_Row]) -> None:
        self.engine, self.rows = engine, rows
        device = engine.device
        width = max(len(row.prompt_ids) for row in rows)
        pad = engine.tokenizer.pad_token_id or 0
        # Padded on the left: the last position is every row's newest token, and the next one follows it at once.
        self.input = torch.tensor([[pad] * (width - len(r.prompt_ids)) + r.prompt_ids for r in rows], device=device)
        self.mask = torch.tensor(
            [[0] * (width - len(r.prompt_ids)) + [1] * len(r.prompt_ids) for r in rows], device=device
        )
        # Positions count a row's own tokens; what stands under padding is masked and its position is of no matter.
        self.position = (self.mask.cumsum(-1) - 1).clamp(min=0)
        self.cache: Any = None
        # Tokens are drawn in float64, which MPS has not.
        self.drawing = torch.device("cpu") if device.type == "mps" else device
        self.temperature = torch.tensor([r.request.temperature for r in rows], device=self.drawing)
        self.top_p = torch.tensor([r.request.top_p for r in rows], device=self.drawing)
        seeds = [r.request.seed + r.sample for r in rows]
        self.uniform = uniforms(seeds, max(r.limit for r in rows)).to(self.drawing)
        self.count = 0

    def step(self) -> None:
        """Decode one token for every row."""
        out = self.engine.model(
            input_ids=self.input,
            attention_mask=self.mask,
            position_ids=self.position,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,  # the others of a long prompt would take gigabytes
        )
        self.cache = out.past_key_values
        logits = out.logits[:, -1].float().to(self.drawing)
        chosen = next_tokens(logits, self.temperature, self.top_p, self.uniform[:, self.count]).to(self.input.device)
        self.count += 1
        alive = [at for at, token in enumerate(chosen.tolist()) if not self._take(self.rows[at], token)]
        self._advance(chosen, alive)

    def _take(self, row: _Row, token: int) -> bool:
        """Add one token to a row; whether that ended it."""
        engine = self.engine
        if token in engine.end_ids:
            row.tokens.append(token)
            row.text, row.finish_reason = engine.text(row, row.tokens[:-1]), "stop"
            return True
        row.tokens.append(token)
        stops = (*row.request.stop, *row.request.prompt.stop)
        if stops:
            # The end alone: decoding the whole at each token would be quadratic in its length.
            tail = engine.tokenizer.decode(row.tokens[-_STOP_WINDOW:])
            if any(stop in tail for stop in stops):
                text = engine.text(row, row.tokens)
                # The earliest, and not the one found first: two may have come with one token.
                cut = min((text.find(stop) for stop in stops if stop in text), default=len(text))
                row.text, row.finish_reason = text[:cut], "stop"
                return True
        if len(row.tokens) >= row.limit:
            row.text, row.finish_reason = engine.text(row, row.tokens), "length"
            return True
        return False

    def _advance(self, chosen: torch.Tensor, alive: list[int]) -> None:
        position = self.position[:, -1:] + 1
        mask = torch.cat([self.mask, self.mask.new_ones(len(self.rows), 1)], 1)
        if len(alive) < len(self.rows):
            index = torch.tensor(alive, device=chosen.device, dtype=torch.long)
            chosen, position, mask = chosen[index], position[index], mask[index]
            rows = index.to(self.drawing)
            self.temperature, self.top_p, self.uniform = self.temperature[rows], self.top_p[rows], self.uniform[rows]
            self.rows = [self.rows[at] for at in alive]
            if self.rows:  # an empty selection is an error in some of the library's caches
                self.cache.batch_select_indices(index)
        self.input, self.position, self.mask = chosen[:, None], position, mask


def _completion(row: _Row) -> Completion:
    if row.text is None or row.finish_reason is None:
        raise EngineError("a sequence ended without a finish reason")
    prompt_tokens = len(row.prompt_ids) if row.sample == 0 else 0
    return Completion(row.text, row.finish_reason, prompt_tokens, len(row.tokens))


def _so_far(rows: Sequence[_Row]) -> SoFar:
    ended = [row.finish_reason is not None for row in rows]
    open_ = sum(len(row.tokens) / row.limit for row, end in zip(rows, ended, strict=True) if not end)
    return SoFar(sum(ended), sum(len(row.tokens) for row in rows), open_)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that ends a turn: the tokenizer's, the chat template's and those of the model's generation config."""
    ids = {tokenizer.eos_token_id, end_of_turn(tokenizer)}
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids.update(configured if isinstance(configured, list) else [configured])
    return frozenset(i for i in ids if i is not None)
