"""Measure a miniature: ``python -m demo.measure_model [--model DIR] [--problems N] [--edits N]``.

Prints one line of JSON: greedy and sampled accuracy on held-out problems, and the share of edits asked for that are
carried out, by layout and kind. An edit counts when it is well-formed, changes the equation alone, and the equation
it leaves is false; this is judged here with exact fractions, apart from the product's own screening and proof.
The figures go into the model card that travels with the weights.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from demo.lessons import EDIT_SHARE, ERROR_RATE, KINDS, equation_unit, false_edits, numbered_steps
from demo.problems import generate, stories, true_bodies
from demo.stories import Equation, resolve
from demo.tokens import render
from errata.prompts import Layout, edit_prompt, solve_prompt
from errata.types import Problem, Prompt

_BATCH = 250
_LAYOUTS: tuple[Layout, ...] = ("errata", "paper", "scripts")
_EQUATION = re.compile(r"\d+(?: [-+*/] \d+)+ = \d+")
_BOXED = re.compile(r"\\boxed\{(\d+)\}")


class Miniature:
    """A loaded model with batched generation."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        self.model: Any = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def complete(self, prompts: Sequence[Prompt], temperature: float, max_tokens: int = 160) -> list[str | None]:
        """The completion of each prompt, greedy at temperature 0; None where it found no end."""
        # Alike lengths share a batch: padding is work.
        order = sorted(range(len(prompts)), key=lambda at: len(prompts[at].messages[0].content))
        replies: list[str | None] = [None] * len(prompts)
        for start in range(0, len(order), _BATCH):
            chunk = order[start : start + _BATCH]
            for at, reply in zip(
                chunk, self._batch([prompts[at] for at in chunk], temperature, max_tokens), strict=True
            ):
                replies[at] = reply
        return replies

    @torch.inference_mode()
    def _batch(self, prompts: list[Prompt], temperature: float, max_tokens: int) -> list[str | None]:
        texts = [render(self.tokenizer, prompt) for prompt in prompts]
        inputs = self.tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
        sampling: dict[str, Any] = {"do_sample": False}
        if temperature > 0:
            sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        ids = self.model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=max_tokens,
            **sampling,
        )
        texts = self.tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :])
        end = self.tokenizer.eos_token
        return [text.split(end)[0] if end in text else None for text in texts]


def accuracy(model: Miniature, problems: Sequence[Problem], temperature: float) -> dict[str, float]:
    """Share of right answers, of replies without any end, and of false equations among all written."""
    replies = model.complete([solve_prompt(p.question) for p in problems], temperature)
    right = sum(_answer(r) == p.gold_answer for r, p in zip(replies, problems, strict=True))
    equations = [_truth(e) for r in replies if r for e in _EQUATION.findall(r)]
    return {
        "accuracy": right / len(problems),
        "unended": replies.count(None) / len(problems),
        "false_equations": equations.count(False) / max(1, len(equations)),
    }


def _answer(reply: str | None) -> str | None:
    found = _BOXED.findall(reply or "")
    return found[-1] if found else None


def _truth(equation: str) -> bool:
    left, result = equation.split(" = ")
    words = left.split()
    return Equation(tuple(map(int, words[::2])), tuple(words[1::2]), int(result)).true


def edit_requests(count: int, seed: int, layout: Layout) -> list[tuple[Prompt, str, str]]:
    """(prompt, kind, what is to be rewritten) of held-out problems: a random step, a kind with a false edit there."""
    rng = random.Random(seed)
    requests: list[tuple[Prompt, str, str]] = []
    for question, story, results in islice(stories(seed, "heldout"), count):
        index = rng.randrange(len(story.lines))
        line = story.lines[index]
        equation = Equation(resolve(line, results), line.ops, results[index])
        kind = rng.choice([k for k in KINDS if false_edits(equation, k)])
        bodies = true_bodies(story, results)
        text, steps = numbered_steps(bodies)
        unit = equation_unit(text, steps[index])
        # Layout ``errata`` asks for the equation alone.
        asked = text[unit.start : unit.end] if layout == "errata" else bodies[index]
        requests.append((edit_prompt(question, text, steps, index, kind, layout=layout, unit=unit), kind, asked))
    return requests


def judge_edit(reply: str | None, body: str) -> str:
    """``wrong`` (what is wanted), ``copy``, ``true``, or ``malformed`` (no end, no fence, or words changed).

    ``body`` is what was to be rewritten: a step's body, or its equation alone.
    """
    if reply is None or not reply.endswith("\n```"):
        return "malformed"
    edited = re.sub(r"^Step \d: ", "", reply.removesuffix("\n```"))
    if edited == body:
        return "copy"
    if _EQUATION.sub("@", edited) != _EQUATION.sub("@", body):
        return "malformed"
    return "true" if all(_truth(e) for e in _EQUATION.findall(edited)) else "wrong"


def edit_success(model: Miniature, count: int, layout: Layout, temperature: float) -> dict[str, Any]:
    """Shares of the outcomes over ``count`` edits asked for, and the share of ``wrong`` by kind."""
    requests = edit_requests(count, 5, layout)
    replies = model.complete([prompt for prompt, _, _ in requests], temperature, max_tokens=60)
    outcomes = [judge_edit(r, body) for r, (_, _, body) in zip(replies, requests, strict=True)]
    kinds = Counter(kind for _, kind, _ in requests)
    wrong = Counter(kind for o, (_, kind, _) in zip(outcomes, requests, strict=True) if o == "wrong")
    return {**_shares(outcomes), "by_kind": {k: round(wrong[k] / n, 3) for k, n in sorted(kinds.items())}}


def _shares(outcomes: Iterable[str]) -> dict[str, float]:
    counts = Counter(outcomes)
    return {o: round(counts[o] / counts.total(), 3) for o in ("wrong", "copy", "true", "malformed")}


def measure(folder: Path, problems: int, edits: int) -> dict[str, Any]:
    """All figures of the model in ``folder``; the same folder, the same figures."""
    torch.manual_seed(0)
    model, began = Miniature(folder), time.monotonic()
    heldout = generate(problems, 5, "heldout")
    return {
        "problems": problems,
        "greedy": accuracy(model, heldout, 0.0),
        "sampled": accuracy(model, heldout, 1.0),
        "edits": edits,
        "edit_outcomes": {
            f"{layout}, {temperature}": edit_success(model, edits, layout, temperature)
            for layout in _LAYOUTS
            for temperature in (0.0, 0.7, 1.0)
        },
        "seconds": round(time.monotonic() - began, 1),
    }


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a miniature was built; ``loss`` is the mean of the last steps, ``minutes`` the training's wall clock."""

    steps: int
    batch: int
    seed: int
    parameters: int
    tokens: int
    loss: float
    minutes: float


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _edit_rows(figures: dict[str, Any]) -> str:
    lines = []
    for name, found in figures["edit_outcomes"].items():
        kinds = " | ".join(_percent(found["by_kind"].get(kind, 0.0)) for kind in KINDS)
        outcomes = " | ".join(_percent(found[o]) for o in ("wrong", "copy", "true", "malformed"))
        lines.append(f"| {name} | {outcomes} | {kinds} |")
    return "\n".join(lines)


def card(recipe: Recipe, figures: dict[str, Any]) -> str:
    """The card's Markdown, with the figures of ``measure``."""
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
language: en
---

# The miniature

A Llama-architecture model of {recipe.parameters:,} parameters (4 layers, hidden size 128, {recipe.tokens} tokens,
float32) that solves word-arithmetic problems of 2 to 4 steps and rewrites a step so that it is subtly wrong, through
the very prompts every other model of Errata gets. It exists so that the whole road can be walked on a laptop in
minutes. It knows nothing else and is of no use outside Errata's demonstration.

## How it was made

`python -m demo.build_model --steps {recipe.steps} --seed {recipe.seed}`: {recipe.steps} steps of {recipe.batch} fresh
examples on a CPU, {recipe.minutes:.0f} minutes of wall clock, final loss {recipe.loss:.3f}. Lessons are generated
(`demo/lessons.py`); no text of others was used. Some are bare sheets of true equations, most of them early on. Of
the rest {_percent(EDIT_SHARE)} % are edits. In the others,
{_percent(ERROR_RATE)} % of the calculation steps carry an error that later steps carry on. So the model errs when it
samples, as models taught on text from the web do. Held-out problems, one in eight by a hash of a problem's
numbers, occur in no lesson.

## What it measures

`python -m demo.measure_model --problems {figures["problems"]} --edits {figures["edits"]}`, held-out problems only:

| solving | accuracy, % | replies without an end, % | false among the equations written, % |
|---|---|---|---|
| greedy | {" | ".join(_percent(v) for v in figures["greedy"].values())} |
| sampled, T = 1 | {" | ".join(_percent(v) for v in figures["sampled"].values())} |

Edits asked of a random step, of a kind that has a false edit there; first attempts. `wrong` is what was asked for: one
equation changed, now false. Shares in %; the right-hand columns are the share of `wrong` by kind.

| layout, temperature | wrong | copy | still true | malformed | {" | ".join(KINDS)} |
|---|---|---|---|---|{"---|" * len(KINDS)}
{_edit_rows(figures)}
"""


def write_card(folder: Path, recipe: Recipe, figures: dict[str, Any]) -> None:
    """Write README.md beside the weights."""
    (folder / "README.md").write_text(card(recipe, figures), encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "model")
    parser.add_argument("--problems", type=int, default=2000)
    parser.add_argument("--edits", type=int, default=500)
    args = parser.parse_args()
    print(json.dumps(measure(args.model, args.problems, args.edits)))


if __name__ == "__main__":
    main()
