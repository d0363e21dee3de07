"""Which editors and kinds pay for a model, from what a pilot counted, and the settings that follow (docs/method.md).

An editor pays where at least a quarter of what it was asked for is proven, a kind in words where at least a tenth is.
Neither is judged by a few edits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from errata.config import EDITORS, InjectionConfig, resolve
from errata.funnel import editor_yields
from errata.kinds import kinds_of
from errata.strict import Strict
from errata.types import Domain

_EDITOR_PAYS, _KIND_PAYS = 0.25, 0.1
_LEAST = 8  # edits asked for, below which nothing is judged
_SETTINGS = {name: setting for setting, name in EDITORS.items()}


@dataclass(frozen=True, slots=True)
class Yield:
    """Of ``asked`` edits ``proven`` were proven wrong. ``pays`` is None where too few were asked for to say."""

    asked: int
    proven: int
    pays: bool | None

    @property
    def share(self) -> float | None:
        """The share proven."""
        return self.proven / self.asked if self.asked else None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """``config`` as it is suggested, and why in a sentence. The same configuration where nothing speaks for another."""

    config: InjectionConfig
    why: str


def kind_yields(counts: Mapping[str, Any], editor: str) -> dict[str, Yield]:
    """What an editor gave by the kind that it was asked for, from a funnel's counts."""
    kinds = counts["edits"].get("by_editor", {}).get(editor, {}).get("kinds", {})
    found = {kind: (told.get("asked", 0), told.get("proven", 0)) for kind, told in kinds.items()}
    return {kind: _judged(asked, proven, _KIND_PAYS) for kind, (asked, proven) in sorted(found.items()) if asked}


def pays(counts: Mapping[str, Any]) -> dict[str, Yield]:
    """Every editor that was asked, and whether it pays."""
    return {e: _judged(told["asked"], told["proven"], _EDITOR_PAYS) for e, told in editor_yields(counts).items()}


def _judged(asked: int, proven: int, least: float) -> Yield:
    return Yield(asked, proven, None if asked < _LEAST else proven >= least * asked)


def suggest(config: InjectionConfig, counts: Mapping[str, Any], domain: Domain, *, slips: bool) -> Suggestion:
    """The configuration without the editors and kinds that do not pay.

    Where no editor is left, the next cheaper one stands in: slips where ``slips`` (the model's engine can score, and
    the domain calculates), or else rules. Controls (``random-token``) are left as they are, and so are
    mined errors, which are few where the model is good.
    """
    editing, found = config.editing, pays(counts)
    if editing.editor == "random-token" or not found:
        return Suggestion(config, "Nothing was edited, so the pilot says nothing about editors.")
    if editing.editor == "mined":
        mined = found.get("mined", Yield(0, 0, None))
        why = f"mined {mined.proven} of {mined.asked} edits proven: the settings stay; who errs seldom gives few."
        return Suggestion(config, why)
    failing = [name for name in editing.editors if name in found and found[name].pays is False]
    kept = [name for name in editing.editors if name not in failing and (name != "slip" or slips)]
    if not kept:
        kept = ["slip", "rule"] if slips and "slip" not in failing else ["rule"]
    kinds = _kinds(config, counts, domain) if kept[0] == "words" else _own_left_out(editing.kinds, domain)
    chosen = [_SETTINGS[name] for name in kept]
    changes = {"editor": chosen[0], "fallback": chosen[1:], "kinds": kinds}
    if "words" not in kept and "slip" not in kept:
        changes["editor_model"] = None
    suggested = config.model_dump(mode="json")
    suggested["editing"] |= changes
    told = ", ".join(f"{name} {one.proven} of {one.asked} edits proven" for name, one in found.items())
    same = suggested == config.model_dump(mode="json")
    change = "the settings stay" if same else _change(editing.kinds, changes)
    return Suggestion(InjectionConfig.model_validate(suggested), f"{told}: {change}.")


def _change(kinds: Mapping[str, float] | None, changes: Mapping[str, Any]) -> str:
    order = ", then ".join([changes["editor"], *changes["fallback"]])
    left_out = sorted(name for name, weight in (changes["kinds"] or {}).items() if not weight)
    more = f", without the kinds {', '.join(left_out)}" if left_out and changes["kinds"] != kinds else ""
    return f"edit by {order}{more}"


def _kinds(config: InjectionConfig, counts: Mapping[str, Any], domain: Domain) -> Mapping[str, float] | None:
    """The weights of kinds without those that the model does not manage in words; as they are where none is left."""
    given = config.editing.kinds
    known = {name: 1.0 for name, kind in kinds_of(domain).items() if kind.version is None} if given is None else given
    failing = {name for name, told in kind_yields(counts, "words").items() if told.pays is False}
    left = {name: 0.0 if name in failing else weight for name, weight in known.items()}
    return left if any(left.values()) and left != known else given


def _own_left_out(given: Mapping[str, float] | None, domain: Domain) -> Mapping[str, float] | None:
    """The weights without the operator's own kinds, for which only a model can be asked."""
    known = kinds_of(domain)
    left = {name: weight for name, weight in (given or {}).items() if name in known and known[name].version is None}
    return left if any(left.values()) else None


def overrides_of(config: InjectionConfig, domain: Domain) -> dict[str, Any]:
    """What a job has to override to get this configuration from its preset."""
    return _differing(config, resolve(config.preset, None, domain))


def _differing(section: Strict, base: Strict) -> dict[str, Any]:
    found: dict[str, Any] = {}
    dumped = section.model_dump(mode="json")
    for name in type(section).model_fields:
        value, below = getattr(section, name), getattr(base, name)
        if isinstance(value, Strict):
            found |= {name: inner} if (inner := _differing(value, below)) else {}
        elif isinstance(value, dict) and isinstance(below, dict) and value != below:
            # Overrides are laid over the preset's: a weight that is gone must be said to be none.
            found[name] = {**dict.fromkeys(below, 0.0), **dumped[name]}
        elif value != below:
            found[name] = dumped[name]
    return found
