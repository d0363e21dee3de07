"""The configuration of an injection job: every choice of the method, named, bounded, and complete once resolved.

A request names a preset and overrides; ``errata.presets.resolve`` gives the full configuration that is stored with the
job. Field comments give the source of each default: paper, scripts, or ours (METHOD.md's convention).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Temperature = Annotated[float, Field(ge=0.0, le=2.0)]


class Strict(BaseModel):
    """Unknown fields are refused: a misspelt setting must never be silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SamplingConfig(Strict):
    """Where solutions come from (step 2)."""

    source: Literal["model", "brought"] = "model"
    samples: int = Field(
        5, ge=1, le=64, description="Samples per problem, K (paper: 5); the limit where adaptive; one at temperature 0."
    )
    adaptive: bool = Field(True, description="Draw in waves until a problem has what the job needs (ours).")
    wave: int = Field(1, ge=1, le=64, description="Samples per problem in each wave behind the first.")
    temperature: Temperature = 0.7
    top_p: Probability = 1.0
    max_tokens: int = Field(1024, ge=1, le=32768)


class SelectionConfig(Strict):
    """Which solutions are used (step 4)."""

    require_both: bool = Field(
        False, description="Keep a problem only with a correct and an incorrect solution (paper)."
    )
    drop_admitting: bool = Field(True, description="Drop correct solutions that admit or repair a mistake (paper).")
    drop_false_steps: bool = Field(True, description="Never choose a step whose own equation is false (ours).")
    label_check: bool = Field(True, description="Set aside problems whose samples agree against gold (ours).")


class EditingConfig(Strict):
    """How steps are edited (step 6)."""

    editor: Literal["model", "rules", "random-token"] = "model"
    layout: Literal["errata", "paper", "scripts"] = "errata"
    mix: Literal["weights", "profile"] = "weights"
    kinds: dict[str, Annotated[float, Field(ge=0.0, le=1000.0)]] | None = Field(
        None, description="Weight per error kind; null: all kinds of the domain, equally."
    )
    max_kind_share: Probability = Field(
        1.0, description="No kind above this share of a problem's step pairs, though one of each stays."
    )
    temperature: Temperature = Field(
        0.8, description="Greedy in `paper` and `scripts`; sampled edits copy less (ours)."
    )
    top_p: Probability = 1.0
    attempts: int = Field(4, ge=1, le=16, description="A no-op is retried with another seed (only at temperature > 0).")
    max_tokens: int = Field(256, ge=1, le=4096)
    edits_per_solution: int | None = Field(None, ge=1, le=64, description="Steps edited per solution; null: every one.")
    offer_answer_steps: bool = Field(False, description="Offer lines that only state the answer (paper: yes).")
    offered_sentences: int = Field(
        4, ge=1, le=16, description="Of a long step, the last sentences offered (scripts: 4)."
    )


class ScreeningConfig(Strict):
    """Which edits are kept before proof (step 7)."""

    max_distance: int | None = Field(None, ge=1, description="Levenshtein distance below this (paper: undisclosed).")
    distance_unit: Literal["characters", "tokens"] = "characters"
    strip_boxed_from_rejected: bool = Field(False, description="The released scripts do; teaches the box (scripts).")
    structural: bool = Field(True, description="Reject no-ops, added steps, broken format, left span (ours).")


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
    mode: Literal["static", "dynamic"] = Field("static", description="Dynamic: later steps continue from the edit.")


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
    selection: SelectionConfig = SelectionConfig()
    editing: EditingConfig = EditingConfig()
    screening: ScreeningConfig = ScreeningConfig()
    proof: ProofConfig = ProofConfig()
    pairs: PairsConfig = PairsConfig()
    min_yield: Probability = Field(
        0.0, description="Share of shards that must finish for the job to succeed partially."
    )
    shard_size: int = Field(32, ge=1, le=1024, description="Problems per shard.")
    seed: int = Field(0, ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _consistent(self) -> InjectionConfig:
        if not (self.pairs.step or self.pairs.full):
            raise ValueError("pairs: at least one of 'step' and 'full' must be true")
        return self

    @property
    def needs_model(self) -> bool:
        """Whether any stage of the job calls a language model."""
        edits = (
            self.editing.editor == "model" or self.proof.continuations.when != "never" or self.proof.mode == "dynamic"
        )
        return self.sampling.source == "model" or (self.pairs.step and edits)
