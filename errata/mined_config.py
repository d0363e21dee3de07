"""How mined errors are drawn: the model resamples a step, and what it writes wrong is the rejected side."""

from __future__ import annotations

from pydantic import Field

from errata.strict import Strict

#: Continuations of each side that can prove a mined error: with fewer, two Wilson intervals hardly ever lie apart.
MINED_CONTINUATIONS = 8


class MinedConfig(Strict):
    """Resampling of steps (docs/method.md step 6). The prompt is the solver's own, up to the step's label."""

    k: int = Field(8, ge=2, le=64, description="Samples of each step from its correct prefix.")
    temperature: float = Field(1.0, gt=0.0, le=2.0, description="1: as often as the model itself errs (ours).")
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    max_tokens: int = Field(256, ge=1, le=4096, description="Of a sample; a longer one is no step.")
