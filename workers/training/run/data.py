"""From frozen dataset rows to token ids: prompt, each step and each branch tokenised on their own and joined by ids.

So the same ids are scored wherever a step stands, no token reaches over a branch point, no new turn is opened after a
prefix, and EOS follows full solutions only (docs/method.md, Objective). The tokenizer is handed in: this module loads
nothing heavy and knows neither database nor trainer.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from jinja2 import TemplateError

from errata.config import ThoughtsConfig
from errata.prompts import solve_prompt
from errata.steps import split_steps
from errata.thoughts import THOUGHTS, Markers
from errata.types import Domain
from workers.engines.joints import continuation_ids, end_of_turn, ids_of
from workers.training.config import TABLES, Objective, TrainingConfig
from workers.training.run.spans import Spans, differing_spans


class DatasetError(Exception):
    """The dataset cannot be trained on as it is; the message says what to do."""


class Tokenizer(Protocol):
    """What is used of a transformers tokenizer."""

    @property
    def eos_token_id(self) -> int | None:
        """The id of the token that ends a text."""

    def __call__(self, text: str, *, add_special_tokens: bool) -> Any:
        """An encoding with ``input_ids``."""

    def apply_chat_template(self, conversation: Any, /, *, add_generation_prompt: bool, tokenize: bool) -> Any:
        """The rendered messages."""

    def decode(self, ids: Any, /, *, skip_special_tokens: bool = False) -> Any:
        """The text of ids."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One preference pair as ids; for ``sft`` the solution is ``chosen`` and ``rejected`` is empty.

    ``prompt_ids`` are the rendered question and, of a step pair, the steps before. ``chosen_spans`` and
    ``rejected_spans`` are the scored positions of each side; None: all of it. ``error_rate`` is how often the model
    errs at the step; ``weight`` what the pair weighs in its term.
    """

    pair_id: str
    problem_id: str
    is_step: bool
    error_kind: str | None
    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    rejected_ids: tuple[int, ...]
    chosen_spans: Spans | None = None
    rejected_spans: Spans | None = None
    error_rate: float | None = None
    weight: float = 1.0

    @property
    def sides(self) -> tuple[tuple[tuple[int, ...], Spans | None], tuple[tuple[int, ...], Spans | None]]:
        """Ids and scored positions of the chosen and of the rejected side."""
        return (self.chosen_ids, self.chosen_spans), (self.rejected_ids, self.rejected_spans)

    def scored(self, side: int) -> int:
        """How many tokens of a side are scored; 0 is the chosen side."""
        ids, spans = self.sides[side]
        return len(ids) if spans is None else sum(stop - start for start, stop in spans)

    @property
    def tokens(self) -> int:
        """Tokens of both sequences as a plain trainer would run them."""
        rejected = len(self.prompt_ids) + len(self.rejected_ids) if self.rejected_ids else 0
        return len(self.prompt_ids) + len(self.chosen_ids) + rejected


def data_file(folder: Path, objective: Objective, split: str = "train") -> Path:
    """The JSONL file of a dataset folder that an objective trains on."""
    return folder / TABLES[objective] / f"{split}.jsonl"


def verify_file(folder: Path, path: Path) -> str:
    """SHA-256 (hex) of ``path``, compared with the folder's manifest. Raises DatasetError."""
    if not path.is_file():
        raise DatasetError(f"the dataset has no {path.relative_to(folder)}: freeze it with that configuration")
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    expected = _manifest_digests(folder).get(path.relative_to(folder).as_posix())
    if expected is not None and expected != digest:
        raise DatasetError(f"{path.relative_to(folder)} differs from the dataset's manifest: freeze the dataset again")
    return digest


def _manifest_digests(folder: Path) -> dict[str, str]:
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return {}
    files = json.loads(manifest.read_text(encoding="utf-8")).get("files", [])
    return {str(entry["path"]): str(entry["sha256"]) for entry in files}


def thought_markers(folder: Path) -> dict[str, Markers]:
    """The markers that the steps of a dataset's jobs are cut by, by job id, as the folder's manifest tells them."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return {}
    lineage = json.loads(manifest.read_text(encoding="utf-8")).get("lineage", [])
    configs = {str(job["job_id"]): (job.get("config") or {}).get("thoughts") or {} for job in lineage}
    return {job: ThoughtsConfig.model_validate(thoughts).in_steps for job, thoughts in configs.items()}


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file, in order."""
    with path.open(encoding="utf-8") as handle:
        for line in handle:
            if line.strip():
                yield json.loads(line)


class StepBoundaries:
    """Where the steps of a problem's texts begin, so that a prefix is cut as the solution is that it opens.

    A solution is cut by ``errata.steps``, as it was when its pairs were made, and where its step pairs begin and end. A
    prefix whose solution is not among the rows is cut where the problem's other step pairs begin and end.
    """

    def __init__(self, rows: Iterable[dict[str, Any]]) -> None:
        self._solutions: dict[str, list[str]] = defaultdict(list)
        self._openings: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            problem = str(row.get("problem_id"))
            if row.get("type") == "full":
                self._solutions[problem].append(str(row.get("chosen")))
            elif row.get("type") == "step":
                prefix = str(row.get("prefix") or "")
                self._openings[problem] |= {prefix, prefix + str(row.get("chosen"))}

    def of_prefix(self, problem: str, prefix: str, domain: Domain, thoughts: Markers = THOUGHTS) -> list[str]:
        """The pieces of a step pair's prefix."""
        # Cut as its whole solution is: a step may begin elsewhere when nothing follows it.
        whole = next((s for s in self._solutions[problem] if s.startswith(prefix)), None)
        if whole is None:
            return _cut(prefix, self._known(problem, prefix))
        return _cut(
            prefix, [*(step.start for step in split_steps(whole, domain, thoughts)), *self._known(problem, prefix)]
        )

    def of_solution(self, problem: str, solution: str, domain: Domain, thoughts: Markers = THOUGHTS) -> list[str]:
        """The preamble and the steps of a whole solution."""
        starts = [step.start for step in split_steps(solution, domain, thoughts)]
        return _cut(solution, [*starts, *self._known(problem, solution)])

    def _known(self, problem: str, text: str) -> list[int]:
        return [len(opening) for opening in self._openings[problem] if text.startswith(opening)]


def _cut(text: str, starts: Iterable[int]) -> list[str]:
    cuts = sorted({0, len(text), *(start for start in starts if start < len(text))})
    return [text[start:stop] for start, stop in pairwise(cuts)]


class Encoder:
    """Turns rows into :class:`Pair`; keeps the ids of texts already seen (a problem's pairs share most of them)."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: TrainingConfig,
        boundaries: StepBoundaries,
        thoughts: Mapping[str, Markers] = MappingProxyType({}),
    ) -> None:
        # What the model writes at its turn's end, and so what it is asked to write there.
        self._end = end_of_turn(tokenizer) if config.eos == "full" else None
        if config.eos == "full" and self._end is None:
            raise DatasetError("the tokenizer has no EOS token: set eos to 'none' or give the model one")
        self._tokenizer = tokenizer
        self._config = config
        self._boundaries = boundaries
        self._thoughts = thoughts
        self._ids_of: dict[tuple[str, bool], tuple[int, ...]] = {}

    def pair(self, row: dict[str, Any]) -> Pair:
        """The ids of one ``steps_and_full`` row, uncut."""
        is_step, problem = row["type"] == "step", str(row["problem_id"])
        if is_step:
            # A step ends in the middle of a solution: EOS would teach the model to stop there.
            prefix = self._join(self._boundaries.of_prefix(problem, row.get("prefix") or "", *self._cut_by(row)))
            begins = not prefix and not _is_verbatim(row)
            chosen, rejected = (self._ids(row[side], begins=begins) for side in ("chosen", "rejected"))
        else:
            prefix = self._ids(row.get("prefix") or "")
            chosen, rejected = (self._solution(problem, row[side], row) for side in ("chosen", "rejected"))
        return Pair(
            pair_id=str(row["pair_id"]),
            problem_id=problem,
            is_step=is_step,
            error_kind=row.get("error_kind"),
            prompt_ids=self._prompt(row) + prefix,
            chosen_ids=chosen,
            rejected_ids=rejected,
            error_rate=row.get("error_rate"),
        )

    def sample(self, row: dict[str, Any], index: int) -> Pair:
        """The ids of one ``sft`` row."""
        problem = str(row["problem_id"])
        completion = row["completion"]
        text = completion if isinstance(completion, str) else completion[0]["content"]
        chosen = self._solution(problem, text, row)
        return Pair(f"{problem}/{index}", problem, False, None, self._prompt(row), chosen, ())

    def _solution(self, problem: str, text: str, row: dict[str, Any]) -> tuple[int, ...]:
        if _is_verbatim(row) or _messages(row):
            # Not asked by us: a reply to anything, which is no solution in steps.
            return self._ids(text, begins=not _is_verbatim(row)) + self._eos()
        return self._join(self._boundaries.of_solution(problem, text, *self._cut_by(row))) + self._eos()

    def _cut_by(self, row: dict[str, Any]) -> tuple[Domain, Markers]:
        return _domain(row), self._thoughts.get(str(row.get("job_id")), THOUGHTS)

    def _join(self, pieces: Sequence[str]) -> tuple[int, ...]:
        return tuple(i for at, piece in enumerate(pieces) for i in self._ids(piece, begins=at == 0))

    def _eos(self) -> tuple[int, ...]:
        return () if self._end is None else (self._end,)

    def _prompt(self, row: dict[str, Any]) -> tuple[int, ...]:
        if _is_verbatim(row):
            return self._verbatim(row["prompt_text"])
        messages = _messages(row)
        if not messages:
            prompt = solve_prompt(row["question"], _domain(row))
            messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
        # The template writes its special tokens as text, so the tokenizer must add none of its own.
        return self._ids(self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    def _verbatim(self, text: str) -> tuple[int, ...]:
        """A prompt that no template renders: its ids behind BOS, where the tokenizer begins a text with one."""
        plain = self._ids(text)
        special = tuple(self._tokenizer(text, add_special_tokens=True)["input_ids"])
        added = len(special) - len(plain)
        before = next((special[:at] for at in range(added + 1) if special[at : at + len(plain)] == plain), ())
        # A text that was rendered before may hold its BOS already.
        return plain if before[:1] == plain[:1] else before + plain

    def _ids(self, text: str, *, begins: bool = True) -> tuple[int, ...]:
        """``begins``: nothing of the reply stands before the text, so a tokenizer may put its space there."""
        if (text, begins) not in self._ids_of:
            ids = ids_of(self._tokenizer, text) if begins else continuation_ids(self._tokenizer, text)
            self._ids_of[text, begins] = tuple(ids)
        return self._ids_of[text, begins]


def _as_scored(pair: Pair, config: TrainingConfig) -> Pair:
    """The pair with what of it is scored; for ``step-nll`` without its rejected side, which only says where it differs.

    Full pairs are scored whole: two solutions differ, and have words in common, by chance.
    """
    if config.score == "differing" and pair.is_step:
        chosen, rejected = differing_spans(pair.chosen_ids, pair.rejected_ids)
        pair = replace(pair, chosen_spans=chosen, rejected_spans=rejected)
    return replace(pair, rejected_ids=(), rejected_spans=None) if config.objective == "step-nll" else pair


def _messages(row: dict[str, Any]) -> list[dict[str, str]] | None:
    """The prompt of a row that gives it as messages: an imported one's."""
    prompt = row.get("prompt_messages") or row.get("prompt")
    return prompt if isinstance(prompt, list) and prompt else None


def _is_verbatim(row: dict[str, Any]) -> bool:
    """Whether a row's prompt is a text that stands before the reply as it is."""
    return row.get("prompt_text") is not None and not _messages(row)


def _domain(row: dict[str, Any]) -> Domain:
    return Domain(row.get("domain") or Domain.MATH)


def encode(
    rows: Sequence[dict[str, Any]],
    tokenizer: Tokenizer,
    config: TrainingConfig,
    thoughts: Mapping[str, Markers] = MappingProxyType({}),
) -> list[Pair]:
    """Every row as ids, in file order. ``thoughts``: see :func:`thought_markers`; the default ones for other jobs.

    Raises DatasetError naming the row that lacks a field.
    """
    encoder = Encoder(tokenizer, config, StepBoundaries(rows), thoughts)
    pairs = []
    for index, row in enumerate(rows):
        try:
            pair = encoder.sample(row, index) if config.objective == "sft" else encoder.pair(row)
            pairs.append(_as_scored(pair, config))
        except TemplateError as error:
            raise DatasetError(f"row {index + 1}: the model's chat template refuses its prompt: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"row {index + 1} of the dataset cannot be used: {error!r}") from error
    return pairs
