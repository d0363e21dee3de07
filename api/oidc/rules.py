"""Which people may sign in, to which workspace, with which scopes: a JSON file of the operator's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from api.http.scopes import Scope
from models.workspaces import RESERVED_NAMES

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=320)]


class Rule(BaseModel):
    """Everybody of whom all given conditions hold gets this workspace and these scopes.

    ``email`` and ``email_domain`` hold only for an address that the provider has verified.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    email: _Text | None = None
    email_domain: _Text | None = None
    group: _Text | None = None
    workspace: _Text = "default"
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)] = ("read",)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not (self.email or self.email_domain or self.group):
            raise ValueError("give email, email_domain or group; a rule without a condition would admit everybody")
        if self.workspace in RESERVED_NAMES:
            raise ValueError(f"workspace '{self.workspace}' is the service's own; name another")
        return self

    def holds(self, claims: Mapping[str, Any], groups_claim: str) -> bool:
        """Whether the provider's claims satisfy every condition."""
        verified = claims.get("email_verified") in (True, "true")  # some providers send text
        email = str(claims.get("email") or "").lower() if verified else ""
        groups = claims.get(groups_claim)
        listed = groups if isinstance(groups, list) else [groups]
        return (
            (self.email is None or email == self.email.lower())
            and (self.email_domain is None or email.rpartition("@")[2] == self.email_domain.lower().lstrip("@"))
            and (self.group is None or self.group in listed)
        )


_RULES = TypeAdapter(tuple[Rule, ...])


def load_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of a file. Raises ValueError that says what is wrong with it."""
    try:
        rules = _RULES.validate_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ValueError(f"{path}: {place}: {first['msg'].removeprefix('Value error, ')}") from None
    if not rules:
        raise ValueError(f"{path}: the list is empty, so nobody could sign in")
    return rules


def admitted(rules: Sequence[Rule], claims: Mapping[str, Any], groups_claim: str) -> Rule | None:
    """The first rule that holds; None for somebody who may not sign in."""
    return next((rule for rule in rules if rule.holds(claims, groups_claim)), None)
