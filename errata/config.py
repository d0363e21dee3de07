"""The configuration of an injection job: every choice named, bounded, and complete.

A request for an injection job names a preset and overrides; ``resolve`` gives the full configuration that is stored
with the job. Descriptions give the source of each default: paper, scripts, or ours (docs/method.md's last table).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from errata.few_shot import edit_examples
from errata.mined_config import MINED_CONTINUATIONS, MinedConfig
from errata.prompt_config import EditExample, EditPromptConfig, SolvePromptConfig
from errata.slips import SlipsConfig
from errata.stopping import StopConfig
from errata.strict import Strict
from errata.thoughts import THOUGHTS
from errata.types import Domain, EditorName, Form

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Marker = Annotated[str, Field(min_length=1, max_length=64, pattern=r"\S")]
Temperature = Annotated[float, Field(ge=0.0, le=2.0)]


class SamplingConfig(SolvePromptConfig):
    """Where solutions come from (step 2)."""

    source: Literal["model", "brought"] = "model"
    samples: int = Field(
        5, ge=1, le=64, description="Samples per problem, K (paper: 5); the limit where adaptive; one at temperature 0."
    )
    adaptive: bool = Field(True, description="Draw in waves until a problem has what the job needs (ours).")
    wave: int = Field(1, ge=1, le=64, description="Samples per problem in each wave behind the first.")
    first: int = Field(
        0, ge=0, le=4096, description="Number of the first sample: an extension goes on behind those there are."
    )
    temperature: Temperature = 0.7
    top_p: Probability = 1.0
    max_tokens: int = Field(1024, ge=1, le=32768)


class ThoughtMarkers(Strict):
    """What a model thinks before it answers (step 3): no answer is read from what stands between the markers."""

    markers: tuple[tuple[Marker, Marker], ...] = Field(
        THOUGHTS,
        max_length=8,
        description="Pairs of an opening and a closing marker. A closing one alone ends a thought from the start on.",
    )
    keep: bool = Field(True, description="Keep a sample's thoughts; false: what stands behind them is the solution.")
    budget: int | None = Field(
        None,
        ge=1,
        le=32768,
        description="Tokens for a thought: then it is closed, and the answer asked on. For models that think.",
    )

    @field_validator("markers")
    @classmethod
    def _two_sides(cls, value: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        if any(opening == closing for opening, closing in value):
            raise ValueError("an opening marker must differ from its closing marker")
        return value


class ThoughtsConfig(ThoughtMarkers):
    """The same for a job (steps 3 to 5): no step of a thought is offered, either, unless the job says so."""

    offer: bool = Field(False, description="Offer the steps inside thoughts for editing as well (ours: no).")

    @property
    def in_steps(self) -> tuple[tuple[str, str], ...]:
        """The markers that steps are cut by: none where thoughts are offered like any other text."""
        return () if self.offer else self.markers


class SelectionConfig(Strict):
    """Which solutions are used (step 4)."""

    require_both: bool = Field(
        False, description="Keep a problem only with a correct and an incorrect solution (paper)."
    )
    drop_admitting: bool = Field(True, description="Drop correct solutions that admit or repair a mistake (paper).")
    drop_false_steps: bool = Field(True, description="Never choose a step whose own equation is false (ours).")
    drop_behind_false: bool = Field(
        True, description="Offer no step behind one whose own equation is false (ours): its prefix holds an error."
    )
    label_check: bool = Field(True, description="Set aside problems whose samples agree against gold (ours).")


EDITORS: Mapping[str, EditorName] = {
    "model": "words",
    "slip": "slip",
    "mined": "mined",
    "rules": "rule",
    "random-token": "random-token",
}
"""How edits, pairs and counts name an editor, by the job's setting."""
_HANDS_ON = ("model", "slip")  # editors behind which others may edit; the rest are controls, or arms of their own


class EditingConfig(EditPromptConfig):
    """How steps are edited (step 6)."""

    editor: Literal["model", "slip", "mined", "rules", "random-token"] = Field(
        "model",
        description="Who edits: a model in words, its own likeliest wrong tokens, the steps that it writes wrong itself"
        " (mined), rules, or chance (control).",
    )
    fallback: tuple[Literal["slip", "rules"], ...] = Field(
        (),
        max_length=2,
        description="Who edits a step that the editor failed at, in this order (`errata`: slip, then rules).",
    )
    slips: SlipsConfig = SlipsConfig()
    mined: MinedConfig = MinedConfig()
    editor_model: str | None = Field(
        None, min_length=1, max_length=200, description="The model that edits, by its name; null: the one that solves."
    )
    mix: Literal["weights", "profile"] = "weights"
    kinds: dict[str, Annotated[float, Field(ge=0.0, le=1000.0)]] | None = Field(
        None, description="Weight per error kind; null: all kinds of the domain, equally."
    )
    form: dict[Form, Annotated[float, Field(ge=0.0, le=1000.0)]] = Field(
        {Form.STANDS: 1.0, Form.CONSISTENT: 1.0},
        description="Weight per form: what repeats or uses the changed value stands (paper), or follows it (ours).",
    )
    max_kind_share: Probability = Field(
        1.0, description="No kind above this share of a problem's step pairs, though one of each stays."
    )
    temperature: Temperature = Field(
        0.8, description="Greedy in `paper` and `scripts`; sampled edits copy less (ours)."
    )
    top_p: Probability = 1.0
    attempts: int = Field(
        4, ge=1, le=16, description="A rejected edit is asked for again with another seed (only at temperature > 0)."
    )
    max_tokens: int = Field(256, ge=1, le=4096)
    edits_per_solution: int | None = Field(None, ge=1, le=64, description="Steps edited per solution; null: every one.")
    offer_answer_steps: bool = Field(False, description="Offer lines that only state the answer (paper: yes).")
    offered_sentences: int = Field(
        4, ge=1, le=16, description="Of a long step, the last sentences offered (scripts: 4)."
    )

    def examples_for(self, domain: Domain, question: str) -> tuple[EditExample, ...]:
        """The examples that stand before an edit of this question; none where the job was stored without a number."""
        kinds = None if self.kinds is None else {name for name, weight in self.kinds.items() if weight > 0}
        return edit_examples(self.few_shot or 0, domain, question, self.examples, kinds)

    @field_validator("form")
    @classmethod
    def _some_form(cls, value: dict[Form, float]) -> dict[Form, float]:
        if not any(value.values()):
            raise ValueError("at least one form must have a weight above 0")
        return value

    @model_validator(mode="after")
    def _in_order(self) -> EditingConfig:
        if len({self.editor, *self.fallback}) != 1 + len(self.fallback):
            raise ValueError("fallback: each editor may occur once, and not behind itself")
        if self.fallback and self.editor not in _HANDS_ON:
            raise ValueError(f"fallback: nobody edits behind the editor '{self.editor}'; give an empty list")
        return self

    @property
    def editors(self) -> tuple[EditorName, ...]:
        """Who is asked for an edit, one after another, as edits and pairs name them."""
        return tuple(EDITORS[name] for name in (self.editor, *self.fallback))

    @property
    def asks_model(self) -> bool:
        """Whether any of them asks a language model."""
        return bool({"words", "slip", "mined"} & set(self.editors))


class ScreeningConfig(Strict):
    """Which edits are kept before proof (step 7)."""

    max_distance: int | None = Field(None, ge=1, description="Levenshtein distance below this (paper: undisclosed).")
    distance_unit: Literal["characters", "tokens"] = "characters"
    strip_boxed_from_rejected: bool = Field(False, description="The released scripts do; teaches the box (scripts).")
    structural: bool = Field(True, description="Reject no-ops, added steps, broken format, left span (ours).")
    wrong_kind: bool = Field(
        True, description="Reject whole steps edited by another kind than was asked for (ours); of a unit always."
    )


class ContinuationConfig(Strict):
    """Continuations from the edited and the original step (step 8, divergence)."""

    when: Literal["never", "unproven", "always"] = "never"
    k: int = Field(8, ge=1, le=64)
    temperature: Temperature = 0.7
    gap: Probability = Field(0.5, description="Miss rates at least this far apart prove the edit wrong.")
    max_tokens: int = Field(512, ge=1, le=32768)


class ProofConfig(Strict):
    """What counts as proof, and what happens without it (step 8)."""

    unproven: Literal["drop", "keep"] = "drop"
    continuations: ContinuationConfig = ContinuationConfig()
    error_rates: bool = Field(
        False,
        description="Measure how often the model errs at each edited step, by `continuations.k` continuations from"
        " before and from behind it (mathematics, choice). Mined errors measure it by their samples.",
    )
    mode: Literal["static", "dynamic"] = Field(
        "static", description="Dynamic: both sides go on to the end; the rejected one carries its error on (ours)."
    )


class PairsConfig(Strict):
    """Which pairs are made (step 9)."""

    step: bool = True
    full: bool = True
    step_pairs_per_problem: int | None = Field(
        None, ge=1, le=64, description="N (paper: 1 Qwen2, 3 Llama-3.1); null: all."
    )


class InjectionConfig(Strict):
    """One injection job, fully resolved."""

    preset: str = "errata"
    sampling: SamplingConfig = SamplingConfig()
    thoughts: ThoughtsConfig = ThoughtsConfig()
    selection: SelectionConfig = SelectionConfig()
    editing: EditingConfig = EditingConfig()
    screening: ScreeningConfig = ScreeningConfig()
    proof: ProofConfig = ProofConfig()
    pairs: PairsConfig = PairsConfig()
    min_yield: Probability = Field(
        0.0,
        description="Share of shards that must finish for the job to succeed partially; of a shard that finished,"
        " problems that raised an error do not count.",
    )
    shard_size: int = Field(32, ge=1, le=1024, description="Problems per shard.")
    stop: StopConfig = StopConfig()
    cache: bool = Field(
        True, description="Take answers that the workspace has from an earlier job's same requests, and keep new ones."
    )
    seed: int = Field(0, ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _consistent(self) -> InjectionConfig:
        if not (self.pairs.step or self.pairs.full):
            raise ValueError("pairs: at least one of 'step' and 'full' must be true")
        if self.editing.editor_model is not None and not self.editing.asks_model:
            raise ValueError(f"editing.editor_model: the editor '{self.editing.editor}' asks no model")
        continued = self.proof.continuations
        if self.editing.editor == "mined" and continued.when != "never":
            if continued.k < MINED_CONTINUATIONS:
                raise ValueError(f"proof.continuations.k: mined errors need at least {MINED_CONTINUATIONS}")
            if continued.temperature == 0:
                raise ValueError("proof.continuations.temperature: mined errors need several; give one above 0")
        return self

    @property
    def carries_to_end(self) -> bool:
        """Whether the program carries each error to its solution's end. Where whole steps are edited, a model does."""
        units = self.editing.layout == "errata" and self.editing.editor not in ("random-token", "mined")
        return self.proof.mode == "dynamic" and units

    @property
    def reach(self) -> Literal["step", "end"]:
        """How far the program carries a changed value."""
        return "end" if self.carries_to_end else "step"

    @property
    def needs_model(self) -> bool:
        """Whether any stage of the job calls the job's own language model (``editor_model`` is another)."""
        goes_on = self.proof.mode == "dynamic" and not self.carries_to_end
        asked = self.editing.asks_model and self.editing.editor_model is None
        edits = asked or self.proof.continuations.when != "never" or goes_on or self.proof.error_rates
        return self.sampling.source == "model" or (self.pairs.step and edits)


_PAPER: dict[str, Any] = {
    "sampling": {"samples": 5, "adaptive": False, "temperature": 0.2, "top_p": 0.9, "max_tokens": 2048},
    "selection": {"require_both": True, "drop_false_steps": False, "drop_behind_false": False, "label_check": False},
    "editing": {
        "layout": "paper",
        "temperature": 0.0,
        "attempts": 1,
        "few_shot": 0,
        "offer_answer_steps": True,
        "form": {"stands": 1.0},
    },
    "screening": {"max_distance": 60, "wrong_kind": False},
    "proof": {"unproven": "keep"},
    "pairs": {"step_pairs_per_problem": 1},
}
_SCRIPTS: dict[str, Any] = {
    **_PAPER,
    "editing": {**_PAPER["editing"], "layout": "scripts"},
    "screening": {"strip_boxed_from_rejected": True, "structural": False, "wrong_kind": False},
}
PRESETS: dict[str, dict[str, Any]] = {
    "errata": {"editing": {"fallback": ["slip", "rules"]}},
    "paper": _PAPER,
    "scripts": _SCRIPTS,
    "full-only": {"pairs": {"step": False, "full": True}},
    "step-only": {"pairs": {"step": True, "full": False}},
    "random-token": {"editing": {"editor": "random-token"}, "proof": {"unproven": "keep"}},
    "rules": {"editing": {"editor": "rules"}},
    "slip": {"editing": {"editor": "slip"}},
    "mined": {"editing": {"editor": "mined"}, "proof": {"continuations": {"when": "unproven"}}},
}
#: Limits where a domain's texts are longer or shorter than those of mathematics; a preset's own and a job's go before.
#: An edit in logic is the whole answer as JSON, in code a single line; a grid or a program takes more room to solve.
DOMAIN_LIMITS: dict[Domain, dict[str, Any]] = {
    Domain.MATH: {},
    Domain.CHOICE: {},
    Domain.LOGIC: {"sampling": {"max_tokens": 2048}, "editing": {"max_tokens": 1024}},
    Domain.CODE: {"sampling": {"max_tokens": 2048}, "editing": {"max_tokens": 128}},
}


def resolve(preset: str, overrides: Mapping[str, Any] | None = None, domain: Domain = Domain.MATH) -> InjectionConfig:
    """The full configuration of ``preset`` with ``overrides`` laid over it, section by section.

    What neither sets is the domain's. Raises KeyError for an unknown preset and pydantic.ValidationError for a bad or
    unknown field.
    """
    base = _merge(DOMAIN_LIMITS[domain], PRESETS[preset])
    merged = _merge(base, overrides or {})
    editing, given = merged.get("editing"), (overrides or {}).get("editing")
    if isinstance(editing, Mapping) and isinstance(given, Mapping) and "editor" in given and "fallback" not in given:
        # The preset's fallback is meant for the preset's editor.
        merged["editing"] = {**editing, "fallback": _behind(given["editor"], editing.get("fallback", ()))}
    return InjectionConfig.model_validate({**merged, "preset": preset})


def _behind(editor: Any, fallback: Sequence[str]) -> list[str]:
    """Those of a preset's fallback that can follow the editor."""
    return [name for name in fallback if name != editor] if editor in _HANDS_ON else []


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        below = merged.get(name)
        merged[name] = _merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
