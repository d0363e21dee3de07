"""What each gate of a dataset allows, and what it does about more."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from errata.strict import Strict

GateName = Literal["near_duplicates", "duplicate_pairs", "contamination", "shortcuts", "labels", "lengths"]
Action = Literal["warn", "refuse", "off"]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
_ACTION: Any = Field(
    "warn", description="What happens above `at_most`: a warning on the card, a refused dataset, or no check at all."
)


class NearDuplicatesGate(Strict):
    """Questions that are asked more than once: the same but for spacing, the order of sentences, names or few words."""

    action: Action = _ACTION
    at_most: Share = Field(0.01, description="Share of the questions that repeat another one.")


class DuplicatePairsGate(Strict):
    """Pairs that say what another pair says: of the same question or a near-duplicate, with the same two sides."""

    action: Action = _ACTION
    at_most: Share = Field(0.01, description="Share of the pairs that repeat another one.")


class ContaminationGate(Strict):
    """Questions that stand in a problem set marked as a benchmark."""

    action: Action = _ACTION
    at_most: Share = Field(0.0, description="Share of the questions that stand in a benchmark.")
    ngram: int = Field(8, ge=3, le=50, description="Tokens of an n-gram.")
    share: float = Field(
        0.5, gt=0.0, le=1.0, allow_inf_nan=False, description="Of the n-grams of the shorter text, found in the other."
    )


class ShortcutsGate(Strict):
    """The shortcut audit: a classifier that never sees the question tells the sides apart."""

    action: Action = _ACTION
    at_most: float = Field(
        0.65,
        ge=0.5,
        le=1.0,
        allow_inf_nan=False,
        description="AUC of the type of pairs told apart best; 0.5 is chance.",
    )


class LabelsGate(Strict):
    """Chosen and rejected sides judged anew, and the evidence of step pairs proven anew, on a sample."""

    action: Action = _ACTION
    at_most: Share = Field(0.0, description="Share of the checked pairs whose label does not hold.")
    sample: int = Field(2_000, ge=1, le=100_000, description="Pairs checked at most, drawn by what they say.")


class LengthsGate(Strict):
    """Lengths by the tokenizer of the job's model, in characters where none is known, on a sample."""

    action: Action = _ACTION
    at_most: Share = Field(0.01, description="Share of the pairs that do not fit into `max_length`.")
    max_length: int = Field(
        1024, ge=8, le=131_072, description="Tokens of prompt and longer side; the default is that of training jobs."
    )
    sample: int = Field(2_000, ge=1, le=100_000, description="Pairs measured at most, drawn by what they say.")


class GatesConfig(Strict):
    """The gates of a dataset, by name."""

    near_duplicates: NearDuplicatesGate = NearDuplicatesGate()
    duplicate_pairs: DuplicatePairsGate = DuplicatePairsGate()
    contamination: ContaminationGate = ContaminationGate()
    shortcuts: ShortcutsGate = ShortcutsGate()
    labels: LabelsGate = LabelsGate()
    lengths: LengthsGate = LengthsGate()
