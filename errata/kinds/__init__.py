"""Error kinds: one entry each in one registry, with the rules that make false edits without a model.

Importing the package registers every kind. To add one, write its ``Kind`` entry in the module of its domain.
"""

from errata.kinds import code, logic, math
from errata.kinds.registry import Kind, ProfileRule, Site, kinds_of, register

__all__ = ["Kind", "ProfileRule", "Site", "kinds_of", "register"]

register(*math.KINDS, *logic.KINDS, *code.KINDS)
