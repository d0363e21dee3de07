"""Ready-made configurations: the paper's, the released scripts', ours, and the controls reviewers asked for.

Each preset is complete; a request overrides single fields of it. ``resolve`` raises ``ValueError`` (pydantic's
``ValidationError`` is one) naming the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from errata.config import InjectionConfig
from errata.types import Domain

_PAPER: dict[str, Any] = {
    "sampling": {"samples": 5, "adaptive": False, "temperature": 0.2, "top_p": 0.9, "max_tokens": 2048},
    "selection": {"require_both": True, "drop_false_steps": False, "label_check": False},
    "editing": {"layout": "paper", "temperature": 0.0, "attempts": 1, "offer_answer_steps": True},
    "screening": {"max_distance": 60},
    "proof": {"unproven": "keep"},
    "pairs": {"step_pairs_per_problem": 1},
}
_SCRIPTS: dict[str, Any] = {
    **_PAPER,
    "editing": {**_PAPER["editing"], "layout": "scripts"},
    "screening": {"strip_boxed_from_rejected": True, "structural": False},
}
PRESETS: dict[str, dict[str, Any]] = {
    "errata": {},
    "paper": _PAPER,
    "scripts": _SCRIPTS,
    "full-only": {"pairs": {"step": False, "full": True}},
    "step-only": {"pairs": {"step": True, "full": False}},
    "random-token": {"editing": {"editor": "random-token"}, "proof": {"unproven": "keep"}},
    "rules": {"editing": {"editor": "rules", "max_kind_share": 0.5}},
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
    return InjectionConfig.model_validate({**_merge(base, overrides or {}), "preset": preset})


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        below = merged.get(name)
        merged[name] = _merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
