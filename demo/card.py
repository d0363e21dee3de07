"""The model card that travels with the miniature's weights: what it is, how it was made, what it measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.edits import KINDS
from demo.lessons import EDIT_SHARE, ERROR_RATE


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
    """The card's Markdown, with the figures of demo.measure_model."""
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
