"""What a new job settles about its prompts: how many examples, whether own examples hold, and which texts are used."""

from __future__ import annotations

from api.http.errors import Invalid
from errata.config import InjectionConfig
from errata.few_shot import EXAMPLES_VERSION, example_fault
from errata.kinds import kinds_of
from errata.prompt_config import DEFAULT_FEW_SHOT
from errata.prompts import MINED_VERSION, SLIP_VERSION, edit_version_of, solve_version
from errata.types import Domain
from models.workspaces import LanguageModel


def settle_examples(config: InjectionConfig, editor: LanguageModel | None) -> InjectionConfig:
    """The configuration with the number of examples its edits get: the job's, else the entry's, else ours.

    A model that was trained on the bare prompts says so in its registry entry (``few_shot``).
    """
    if config.editing.few_shot is not None:
        return config
    asks = config.editing.editor == "model" and editor is not None
    count = int(editor.config.get("few_shot", DEFAULT_FEW_SHOT)) if asks and editor is not None else 0
    return config.model_copy(update={"editing": config.editing.model_copy(update={"few_shot": count})})


def check_examples(config: InjectionConfig, domain: Domain) -> None:
    """Raises Invalid naming the field of the first example that does not show what it says."""
    for at, example in enumerate(config.editing.examples or ()):
        if (fault := example_fault(example, domain)) is not None:
            field, told = fault
            remedy = "give a step of the solution and the same step with one error of that kind in one place"
            raise Invalid.field(f"config.editing.examples.{at}.{field}", told, remedy)


def prompt_versions(config: InjectionConfig, domain: Domain) -> dict[str, str]:
    """The versions of every prompt the job uses; of an operator's kind, ``kind:NAME`` and the hash of its entry."""
    known, named = kinds_of(domain), config.editing.kinds or {}
    versions = {f"kind:{name}": version for name in named if (version := known[name].version) is not None}
    packaged = False
    if config.sampling.source == "model":
        versions["solve"] = solve_version(config.sampling)
        packaged = config.sampling.few_shot > 0
    if config.editing.editor == "model":
        versions["edit"] = edit_version_of(config.editing)
        packaged |= bool(config.editing.few_shot) and config.editing.examples is None
    if "slip" in config.editing.editors:
        versions["slip"] = SLIP_VERSION
    if config.editing.editor == "mined":
        versions["mined"] = MINED_VERSION
    if packaged:
        versions["examples"] = EXAMPLES_VERSION
    return versions
