"""Measure a miniature: ``python -m demo.measure_model [--model DIR] [--problems N] [--edits N]``.

Prints one line of JSON: greedy and sampled accuracy on held-out problems, and the share of edits asked for that are
carried out, by layout and kind. An edit counts when it is well-formed, changes the equation alone, and the equation
it leaves is false; this is judged here with exact fractions, apart from the product's own screening and proof.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from demo.edits import KINDS, false_edits
from demo.lessons import equation_unit, numbered_steps
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
    left, right = equation.split(" = ")
    total, product, sign = Fraction(0), Fraction(0), "+"
    for sign, number in re.findall(r"([-+*/]) (\d+)", f"+ {left}"):
        if sign in "+-":
            total, product = total + product, Fraction(int(number)) * (1 if sign == "+" else -1)
        elif sign == "*":
            product *= int(number)
        elif int(number) == 0:
            return False
        else:
            product /= int(number)
    return total + product == int(right)


def edit_requests(count: int, seed: int, layout: Layout) -> list[tuple[Prompt, str, str]]:
    """(prompt, kind, what is to be rewritten) for held-out problems: a random step, a random kind with a false edit there."""
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
