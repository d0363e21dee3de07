"""Refused documents name the field that is wrong and a remedy of their own, whoever wrote the check."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, field_validator, model_validator

from api.http.errors import Invalid, invalid_below


class Inner(BaseModel):
    low: int = 0
    high: int = 9

    @model_validator(mode="after")
    def _ordered(self) -> Inner:
        if self.low > self.high:
            raise ValueError("low: it is above 'high'; give a smaller number")
        return self


class Asked(BaseModel):
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    kind: Literal["a", "b"] = "a"
    inner: Inner = Inner()
    name: str = "n"

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        if value == "x":
            raise ValueError("not: a name")
        return value


@pytest.mark.parametrize(
    ("value", "field", "message", "remedy"),
    [
        ({"share": 0}, "config.share", "Input should be greater than 0", "give a value that is greater than 0"),
        ({"kind": "c"}, "config.kind", "Input should be 'a' or 'b'", "give one of 'a' or 'b'"),
        ({"inner": {"low": 5, "high": 1}}, "config.inner.low", "it is above 'high'", "give a smaller number"),
        ({"name": "x"}, "config.name", "not: a name", "correct the value"),
        ({"share": "much"}, "config.share", None, "give a number"),
    ],
)
def test_a_refusal_names_field_and_remedy(value: object, field: str, message: str | None, remedy: str) -> None:
    with pytest.raises(Invalid) as refused, invalid_below("config"):
        Asked.model_validate(value)
    [error] = refused.value.errors
    assert (error.field, error.remedy) == (field, remedy)
    assert message in (None, error.message)
