"""The configuration of an evaluation: how a language model's answers to a problem set are drawn."""

from __future__ import annotations

from pydantic import Field, model_validator

from errata.config import Probability, Strict, Temperature


class EvaluationConfig(Strict):
    """Decoding of one evaluation. Any two evaluations of the same problems can be compared."""

    temperature: Temperature = Field(0.0, description="0 is greedy (the paper's evaluations).")
    top_p: Probability = 1.0
    samples: int = Field(1, ge=1, le=256, description="Answers per problem; above 1 pass@k and maj@k are reported.")
    max_tokens: int = Field(1024, ge=1, le=32768)
    seed: int = Field(0, ge=0, le=2**31 - 1)
    limit: int | None = Field(None, ge=1, description="Evaluate the first problems of the set only.")

    @model_validator(mode="after")
    def _greedy_once(self) -> EvaluationConfig:
        if self.samples > 1 and self.temperature == 0.0:
            raise ValueError(
                "samples: at temperature 0 every answer is the same; ask for one, or raise the temperature"
            )
        return self

    def problem_count(self, available: int) -> int:
        """How many of a set's problems are evaluated."""
        return available if self.limit is None else min(self.limit, available)
