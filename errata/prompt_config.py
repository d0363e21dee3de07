"""How a model is asked, as settings: system prompt, examples, templates with named fields, and the reply's opening."""

from __future__ import annotations

from string import Formatter
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from errata.strict import Strict

MOST_EXAMPLES = 8
DEFAULT_FEW_SHOT = 5
"""Examples that a model gets whose registry entry says nothing: one of each kind that arithmetic can prove."""

OPENING_STEPS = "steps"
OPENING_NONE = "none"

SystemPrompt = Annotated[str, Field(min_length=1, max_length=8000, pattern=r"\S")]
Template = Annotated[str, Field(min_length=1, max_length=8000)]


class EditExample(Strict):
    """An edit that is shown to the editing model. ``step`` counts from 1, as the solution's steps are shown.

    ``edited`` is the whole step as it reads behind its edit, with or without its label.
    """

    question: str = Field(min_length=1, max_length=20_000, pattern=r"\S")
    solution: str = Field(min_length=1, max_length=50_000, pattern=r"\S")
    step: int = Field(ge=1, le=1000)
    kind: str = Field(min_length=1, max_length=60)
    edited: str = Field(min_length=1, max_length=20_000, pattern=r"\S")


class SolvePromptConfig(Strict):
    """How a solution is asked for."""

    system: SystemPrompt | None = Field(
        None, description="A system prompt. For a template without that role it opens the first user turn."
    )
    few_shot: int = Field(
        0, ge=0, le=MOST_EXAMPLES, description="Solved examples before the question, equal for all problems (ours)."
    )
    template: Template | None = Field(
        None, description="The user's turn, with {question} and, if wanted, {instruction}; null: ours."
    )
    opening: str = Field(
        OPENING_STEPS,
        min_length=1,
        max_length=500,
        description="How the solution opens: 'steps' (ours), 'none' (the model's own format), or a text.",
    )

    @field_validator("template")
    @classmethod
    def _fields(cls, value: str | None) -> str | None:
        return None if value is None else checked_template(value, {"question"}, {"instruction"})


class EditPromptConfig(Strict):
    """How an edit is asked for."""

    layout: Literal["errata", "paper", "scripts"] = "errata"
    system: SystemPrompt | None = Field(
        None, description="A system prompt. For a template without that role it opens the first user turn."
    )
    few_shot: int | None = Field(
        None,
        ge=0,
        le=MOST_EXAMPLES,
        description=f"Examples before the task, equal for all problems; null: as the model's entry says, else"
        f" {DEFAULT_FEW_SHOT} (ours; paper: none).",
    )
    context: Literal["unit", "solution"] = Field(
        "unit",
        description="What is shown with an equation where examples stand before it: the equation alone, which small"
        " models copy less (ours), or question and solution too. Sentences, code and answers always have both.",
    )
    examples: tuple[EditExample, ...] | None = Field(
        None, min_length=1, max_length=64, description="Examples of your own; null: the package's."
    )
    template: Template | None = Field(
        None,
        description="The user's turn, with {question}, {solution}, {unit} and {instruction}, and, if wanted, {step} and"
        " {number}; in layouts `paper` and `scripts` {step} in place of {unit} and {solution}. null: ours.",
    )
    structured: Literal["never", "retry", "always"] = Field(
        "retry",
        description="Decode under a frame (a regular expression or JSON schema) where the engine can: from the second"
        " attempt on, or always. The frame never holds the error itself (ours).",
    )

    @field_validator("template")
    @classmethod
    def _fields(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        whole_step = info.data.get("layout", "errata") != "errata"
        needed = {"question", "instruction", *(("step",) if whole_step else ("solution", "unit"))}
        return checked_template(value, needed, {"question", "solution", "step", "number", "unit", "instruction"})


def checked_template(template: str, needed: set[str], allowed: set[str]) -> str:
    """The template. Raises ValueError naming a field that is unknown or missing, or what else is wrong with it."""
    names = _names(template)
    known = ", ".join(f"{{{name}}}" for name in sorted(needed | allowed))
    if unknown := sorted(names - needed - allowed):
        raise ValueError(f"unknown field {{{unknown[0][:60]}}}; known are {known} (write {{{{ and }}}} for braces)")
    if missing := sorted(needed - names):
        raise ValueError(f"the field {{{missing[0]}}} is missing")
    return template


def _names(template: str) -> set[str]:
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{error} (write {{{{ and }}}} for braces)") from None
    if plain := next((name for _, name, form, turn in parsed if name is not None and (form or turn)), None):
        raise ValueError(f"the field {{{plain[:60]}}} takes no format")
    return {name for _, name, _, _ in parsed if name is not None}


def filled(template: str, values: dict[str, str]) -> str:
    """The template with its fields' values, in which braces are text like any other."""
    return template.format_map(values)
