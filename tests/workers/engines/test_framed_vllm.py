"""Frames on real vLLM, in process and served."""

from __future__ import annotations

import re

import pytest

from demo.problems import generate
from errata.frames import unit_frame
from errata.kinds import Site, kinds_of
from errata.prompts import edit_prompt
from errata.steps import split_steps
from errata.types import Domain, Problem
from errata.units import units_of
from tests.vllm_server import vllm_python
from tests.workers.engines.conftest import IN_PROCESS, MODEL, START_SECONDS
from workers.engines.base import GenerationRequest, Journal, ModelSpec
from workers.engines.pool import EnginePool

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(START_SECONDS)]


@pytest.mark.parametrize("road", ["in-process", "ids", "chat"])
def test_real_vllm_holds_edits_to_their_frames(road: str, request: pytest.FixtureRequest) -> None:
    """The miniature writes what a frame leaves open, whatever it would have written, and ends where the frame does."""
    problem = generate(count=1, seed=11)[0]
    text = str(problem.gold_solution)
    steps = split_steps(text)
    unit = units_of(text, steps[0], 4)[0]
    site = Site(text, steps, 0, Problem(problem.question, problem.gold_answer))
    asked = []
    for kind in ("calculation", "operator", "substitution"):
        prompt = edit_prompt(problem.question, text, steps, 0, kind, unit=unit)
        frame = unit_frame(site, unit, kinds_of(Domain.MATH)[kind], spaced=prompt.assistant_prefix.endswith(" "))
        asked += [GenerationRequest(prompt, temperature=1.5, max_tokens=64, seed=at, frame=frame) for at in range(6)]
    if road == "in-process":
        model, pythons = ModelSpec("m", "vllm", {"path": str(MODEL), **IN_PROCESS}), {"vllm": vllm_python()}
    else:
        by_ids = {"tokenizer": str(MODEL)} if road == "ids" else {}
        model = ModelSpec("m", "openai", request.getfixturevalue("vllm_server").config(**by_ids))
        pythons = {}
    pool, journal = EnginePool(threads=1, pythons=pythons), Journal()
    try:
        found = [each[0] for each in pool.generate(model, asked, journal=journal)]
    finally:
        pool.close()
    assert journal.fallbacks == set()
    assert all(re.fullmatch(str(r.frame), c.text) for r, c in zip(asked, found, strict=True))
    assert len({c.text for c in found}) > 6
