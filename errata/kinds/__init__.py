"""Error kinds: one entry each in one registry, with the rules that make false edits without a model.

Importing the package registers every kind. To add one, write its ``Kind`` entry in the module of its domain.
"""

from __future__ import annotations

import random
from dataclasses import replace

from errata.kinds import algebra, code, logic, math
from errata.kinds.registry import Kind, ProfileRule, Site, kinds_of, register, replace_custom

__all__ = ["Kind", "ProfileRule", "Site", "kinds_of", "register", "replace_custom"]


def _with_algebra(kind: Kind) -> Kind:
    """The kind with edits of identities behind those of its own rule: arithmetic that anyone can check comes first."""
    algebraic = algebra.TWINS.get(kind.name)
    if algebraic is None:
        return kind
    own = kind.twin

    def twin(site: Site, most: int, rng: random.Random | None) -> list[str]:
        edits = own(site, most, rng)
        return edits if len(edits) >= most else [*edits, *algebraic(site, most - len(edits), rng)]

    return replace(kind, twin=twin)


register(*(_with_algebra(kind) for kind in math.KINDS), *logic.KINDS, *code.KINDS)
