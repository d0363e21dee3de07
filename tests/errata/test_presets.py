"""Presets: each is a complete, printable configuration; what METHOD and papers say of them is pinned here."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from errata import preset_sentences
from errata.config import EDITORS, PRESETS, InjectionConfig, resolve
from errata.kinds import kinds_of
from errata.prompts import edit_prompt
from errata.steps import split_steps
from errata.strict import Strict
from errata.types import Domain

NAMES = {"slip", "mined", "errata", "paper", "scripts", "full-only", "step-only", "random-token", "rules"}


def _sections(model: type[BaseModel], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every section of a configuration, the whole included."""
    found = [path]
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += _sections(field.annotation, (*path, name))
    return found


def _nested(path: tuple[str, ...], leaf: dict[str, Any]) -> dict[str, Any]:
    for name in reversed(path):
        leaf = {name: leaf}
    return leaf


def test_the_presets_are_these() -> None:
    assert set(PRESETS) == NAMES
    assert list(preset_sentences.INJECTION) == list(PRESETS), "each is told of where one is chosen"


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_preset_is_complete_and_comes_back_from_its_print(name: str) -> None:
    config = resolve(name)
    assert config.preset == name
    printed = config.model_dump_json(indent=2)
    assert InjectionConfig.model_validate_json(printed) == config
    assert InjectionConfig.model_validate(config.model_dump(mode="json")) == config
    # A stored configuration, posted again as overrides of its preset, is the same job.
    assert resolve(name, json.loads(printed)) == config


@pytest.mark.parametrize("path", _sections(InjectionConfig), ids=".".join)
def test_unknown_fields_are_refused_in_every_section(path: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as refused:
        resolve("errata", _nested(path, {"temprature": 0.5}))
    [error] = refused.value.errors()
    assert (error["loc"], error["type"]) == ((*path, "temprature"), "extra_forbidden")


def test_every_section_refuses_and_is_frozen() -> None:
    for path in _sections(InjectionConfig):
        section: Any = resolve("errata")
        for part in path:
            section = getattr(section, part)
        assert isinstance(section, Strict)
        with pytest.raises(ValidationError):
            setattr(section, next(iter(type(section).model_fields)), None)


@pytest.mark.parametrize(
    ("overrides", "where"),
    [
        ({"sampling": {"samples": 0}}, ("sampling", "samples")),
        ({"sampling": {"temperature": 2.5}}, ("sampling", "temperature")),
        ({"sampling": {"source": "web"}}, ("sampling", "source")),
        ({"editing": {"attempts": 99}}, ("editing", "attempts")),
        ({"editing": {"kinds": {"operator": -1}}}, ("editing", "kinds", "operator")),
        ({"screening": {"distance_unit": "words"}}, ("screening", "distance_unit")),
        ({"proof": {"unproven": "maybe"}}, ("proof", "unproven")),
        ({"proof": {"continuations": {"gap": 1.5}}}, ("proof", "continuations", "gap")),
        ({"pairs": {"step": False, "full": False}}, ()),
        ({"shard_size": 0}, ("shard_size",)),
        ({"seed": 2**31}, ("seed",)),
    ],
)
def test_values_out_of_bounds_are_named(overrides: dict[str, Any], where: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as refused:
        resolve("errata", overrides)
    assert refused.value.errors()[0]["loc"] == where


def test_an_unknown_preset_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        resolve("papre")


def test_overrides_change_what_they_name_and_nothing_else() -> None:
    changed = resolve("paper", {"pairs": {"step_pairs_per_problem": 3}, "seed": 7})
    base = resolve("paper")
    assert (changed.pairs.step_pairs_per_problem, changed.seed) == (3, 7)
    assert changed.pairs.model_copy(update={"step_pairs_per_problem": 1}) == base.pairs
    assert changed.model_copy(update={"pairs": base.pairs, "seed": base.seed}) == base
    assert resolve("paper") == base


def test_overrides_do_not_leak_into_the_presets() -> None:
    before = json.dumps(PRESETS)
    resolve("scripts", {"editing": {"layout": "errata"}, "screening": {"max_distance": 5}})
    assert json.dumps(PRESETS) == before


def test_the_papers_setting() -> None:
    config = resolve("paper")
    assert (config.sampling.samples, config.pairs.step_pairs_per_problem) == (5, 1)
    assert (config.selection.require_both, config.selection.drop_admitting) == (True, True)
    assert (config.selection.drop_false_steps, config.selection.label_check) == (False, False)
    assert (config.editing.editor, config.editing.layout, config.editing.temperature) == ("model", "paper", 0.0)
    assert config.editing.offer_answer_steps
    assert config.screening.max_distance is not None
    assert not config.screening.strip_boxed_from_rejected
    assert (config.proof.unproven, config.proof.continuations.when) == ("keep", "never")
    assert config.pairs.step
    assert config.pairs.full


def test_the_released_scripts_setting() -> None:
    config = resolve("scripts")
    sampling = (config.sampling.temperature, config.sampling.top_p, config.sampling.max_tokens)
    assert sampling == (0.2, 0.9, 2048)
    assert (config.editing.layout, config.editing.temperature, config.editing.offered_sentences) == ("scripts", 0.0, 4)
    assert (config.screening.max_distance, config.screening.strip_boxed_from_rejected) == (None, True)


def test_our_default_drops_what_nothing_proves_and_keeps_the_box() -> None:
    config = resolve("errata")
    assert config == InjectionConfig.model_validate({"editing": {"fallback": ["slip", "rules"]}})
    assert (config.proof.unproven, config.proof.continuations.k, config.proof.continuations.gap) == ("drop", 8, 0.5)
    assert config.selection.drop_false_steps
    assert not config.selection.require_both
    assert config.screening.structural
    assert not config.screening.strip_boxed_from_rejected
    assert not config.editing.offer_answer_steps


def test_the_controls_differ_from_our_default_in_one_thing() -> None:
    # No control lets another editor help out.
    base = resolve("errata", {"editing": {"fallback": []}}).model_dump()
    differ = {
        name: {key for key, value in resolve(name).model_dump().items() if value != base[key]} - {"preset"}
        for name in ("full-only", "step-only", "random-token", "rules", "slip", "mined")
    }
    assert differ["full-only"] == differ["step-only"] == {"pairs"}
    assert differ["rules"] == differ["slip"] == {"editing"}
    assert differ["random-token"] == {"editing", "proof"}  # a random token proves nothing and is kept unproven
    assert differ["mined"] == {
        "editing",
        "proof",
    }  # a resampled step may need continuations to be told from a right one


def test_only_our_default_has_a_fallback_and_it_follows_the_editor_of_a_job() -> None:
    assert {name for name in NAMES if resolve(name).editing.fallback} == {"errata"}
    editors = {name: resolve("errata", {"editing": {"editor": name}}).editing.editors for name in EDITORS}
    assert editors == {
        "model": ("words", "slip", "rule"),
        "slip": ("slip", "rule"),
        "mined": ("mined",),
        "rules": ("rule",),
        "random-token": ("random-token",),
    }
    assert resolve("errata", {"editing": {"editor": "slip", "fallback": []}}).editing.editors == ("slip",)
    assert InjectionConfig().editing.fallback == (), "jobs of earlier versions have none"


@pytest.mark.parametrize(
    ("preset", "overrides", "needed"),
    [
        ("errata", {}, True),
        ("errata", {"sampling": {"source": "brought"}}, True),
        ("rules", {}, True),
        ("rules", {"sampling": {"source": "brought"}}, False),
        ("random-token", {"sampling": {"source": "brought"}}, False),
        ("full-only", {"sampling": {"source": "brought"}}, False),
        ("slip", {"sampling": {"source": "brought"}}, True),
        ("slip", {"sampling": {"source": "brought"}, "editing": {"editor_model": "other"}}, False),
        ("mined", {"sampling": {"source": "brought"}}, True),
        ("rules", {"sampling": {"source": "brought"}, "proof": {"continuations": {"when": "unproven"}}}, True),
        # The program carries an error to the end, except where whole steps or single tokens are edited.
        ("rules", {"sampling": {"source": "brought"}, "proof": {"mode": "dynamic"}}, False),
        ("random-token", {"sampling": {"source": "brought"}, "proof": {"mode": "dynamic"}}, True),
    ],
)
def test_a_job_says_whether_it_needs_a_language_model(preset: str, overrides: dict[str, Any], needed: bool) -> None:
    assert resolve(preset, overrides).needs_model is needed


def test_a_domains_limits_stand_where_neither_preset_nor_job_sets_one() -> None:
    limits = {d: resolve("errata", domain=d) for d in Domain}
    assert {d: c.sampling.max_tokens for d, c in limits.items()} == {
        "math": 1024,
        "choice": 1024,
        "logic": 2048,
        "code": 2048,
    }
    assert {d: c.editing.max_tokens for d, c in limits.items()} == {
        "math": 256,
        "choice": 256,
        "logic": 1024,
        "code": 128,
    }
    assert resolve("errata", domain=Domain.MATH) == resolve("errata")
    own = {"sampling": {"max_tokens": 77, "samples": 3}}
    config = resolve("errata", own, Domain.LOGIC)
    assert (config.sampling.max_tokens, config.sampling.samples, config.editing.max_tokens) == (77, 3, 1024)
    assert resolve("scripts", domain=Domain.CODE).sampling.max_tokens == 2048
    for domain in Domain:
        changed = {
            name for name, section in resolve("paper", domain=domain) if section != getattr(resolve("paper"), name)
        }
        assert changed <= {"editing"}, "the paper's own sampling stands"


@pytest.mark.parametrize("domain", list(Domain))
@pytest.mark.parametrize("layout", ["errata", "paper", "scripts"])
def test_every_edit_ends_with_its_line_or_at_its_fence(domain: Domain, layout: Any) -> None:
    texts = {
        Domain.CODE: "So:\n```python\ndef f(x):\n    return x + 1\n```\n",
        Domain.LOGIC: 'The grid:\n```json\n{"Ann": {"house": 1}, "Bob": {"house": 2}}\n```',
    }
    text = texts.get(domain, "Step 1: 3 + 4 = 7.\nStep 2: 7 * 2 = 14.\n")
    steps = split_steps(text, domain)
    kind = next(iter(kinds_of(domain)))
    prompt = edit_prompt("q", text, steps, steps[0].index, kind, domain=domain, layout=layout)
    assert prompt.assistant_prefix.startswith("```\n")
    # A unit of one line ends with its line; whole steps, and units of several lines, end at the fence.
    one_line = "\n" not in text[steps[0].body_start : steps[0].end].strip()
    assert prompt.stop == (("\n",) if layout == "errata" and one_line else ("\n```",))
    assert "\n```" not in text[steps[0].start : steps[0].end].rstrip(), "no step holds what would end its edit"
