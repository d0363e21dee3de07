"""Which editors and kinds pay, and settings that can be posted as they stand."""

from __future__ import annotations

from typing import Any

import pytest

from errata.config import PRESETS, resolve
from errata.editor_choice import kind_yields, overrides_of, pays, suggest
from errata.types import Domain


def counts(**editors: tuple[int, int]) -> dict[str, Any]:
    """A funnel's counts: of so many edits asked for, so many proven, all of one kind."""
    found = {}
    for editor, (asked, proven) in editors.items():
        told = {"asked": asked, "proven": proven, "pairs": proven, "kept": proven, "prompt_tokens": 100 * asked}
        found[editor] = {**told, "kinds": {"operator": {"asked": asked, "proven": proven}}}
    return {"edits": {"by_editor": found}}


@pytest.mark.parametrize(
    ("found", "editors"),
    [
        ({"words": (40, 20)}, ("words", "slip", "rule")),
        ({"words": (40, 2), "slip": (38, 36), "rule": (2, 2)}, ("slip", "rule")),
        ({"words": (40, 2), "slip": (38, 1), "rule": (37, 30)}, ("rule",)),
        ({"words": (40, 20), "slip": (20, 1), "rule": (19, 19)}, ("words", "rule")),
        ({"words": (4, 0), "slip": (4, 4)}, ("words", "slip", "rule")),
        ({}, ("words", "slip", "rule")),
    ],
)
def test_editors_that_do_not_pay_are_left_out(found: dict[str, tuple[int, int]], editors: tuple[str, ...]) -> None:
    asked = resolve("errata")
    suggestion = suggest(asked, counts(**found), Domain.MATH, slips=True)
    assert suggestion.config.editing.editors == editors
    assert suggestion.why.endswith(".")
    posted = resolve("errata", overrides_of(suggestion.config, Domain.MATH))
    assert posted == suggestion.config, "posted with the same preset it is that configuration"


def test_where_nothing_is_left_a_cheaper_editor_stands_in() -> None:
    alone = resolve("step-only", {"editing": {"editor_model": "other"}})
    failed = counts(words=(40, 1))
    for slips, editors in ((True, ("slip", "rule")), (False, ("rule",))):
        suggestion = suggest(alone, failed, Domain.MATH, slips=slips)
        assert suggestion.config.editing.editors == editors
        assert (suggestion.config.editing.editor_model is None) is (not slips)
        assert resolve("step-only", overrides_of(suggestion.config, Domain.MATH)) == suggestion.config


def test_slips_are_not_suggested_where_the_engine_cannot_score() -> None:
    suggestion = suggest(resolve("errata"), counts(words=(40, 2), rule=(38, 36)), Domain.MATH, slips=False)
    assert suggestion.config.editing.editors == ("rule",)


def test_kinds_that_the_model_does_not_manage_in_words_get_no_weight() -> None:
    found = counts(words=(60, 30))
    kinds = {"operator": {"asked": 30, "proven": 28}, "order": {"asked": 30, "proven": 2}}
    found["edits"]["by_editor"]["words"]["kinds"] = kinds
    assert {kind: told.pays for kind, told in kind_yields(found, "words").items()} == {"operator": True, "order": False}
    suggestion = suggest(resolve("errata"), found, Domain.MATH, slips=True)
    weights = suggestion.config.editing.kinds or {}
    assert (weights["operator"], weights["order"], weights["omission"]) == (1.0, 0.0, 1.0)
    assert "without the kinds order" in suggestion.why
    given = resolve("errata", {"editing": {"kinds": {"order": 1.0}}})
    assert suggest(given, found, Domain.MATH, slips=True).config == given, "the last kind stays"


def test_a_control_is_left_as_it_is() -> None:
    control = resolve("random-token")
    found = counts(**{"random-token": (40, 0)})
    assert suggest(control, found, Domain.MATH, slips=True).config == control
    assert pays(found)["random-token"].pays is False


def test_mined_errors_are_few_where_the_model_is_good() -> None:
    given = resolve("mined")
    found = suggest(given, counts(mined=(40, 3)), Domain.MATH, slips=True)
    assert found.config == given
    assert found.why.startswith("mined 3 of 40 edits proven: the settings stay")


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("domain", list(Domain))
def test_overrides_give_the_configuration_back(preset: str, domain: Domain) -> None:
    own = {"form": {"consistent": 1.0, "stands": 0.0}, "slips": {"positions": ["sign"]}}
    config = resolve(preset, {"editing": own, "seed": 3, "proof": {"continuations": {"k": 9}}}, domain)
    found = overrides_of(config, domain)
    assert resolve(preset, found, domain) == config
    assert overrides_of(resolve(preset, None, domain), domain) == {}
    assert "sampling" not in found
