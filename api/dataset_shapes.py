"""``/v1/dataset-shapes``: what a dataset's rows may look like, whom each shape is for, and an example row of each."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.http.auth import Reader
from api.http.errors import documented
from api.http.routing import StrictRoute
from api.http.rows import Listing
from errata.output_config import ShapeName
from errata.shapes import SHAPES, Shape, example_row

router = APIRouter(tags=["datasets"], route_class=StrictRoute)


class DatasetShapeOut(BaseModel):
    """A shape: the name of a dataset's configuration and of the folder that holds its files."""

    object: Literal["dataset_shape"] = "dataset_shape"
    name: ShapeName
    about: str
    trainers: str = Field(description="Whom it is for.")
    loader: str = Field(description="What reads it, exactly.")
    trl_trainers: list[str] = Field(description="Trainers of TRL that train on it correctly as it stands.")
    completions_end_at: Literal["answer", "step", "nothing"] = Field(description="Nothing: there are none.")
    end_of_sequence: str = Field(description="What becomes of the end of sequence, and for which settings it is right.")
    chat_template: Literal["applied", "not applied"] = Field(description="Whether the consumer applies the model's.")
    columns: dict[str, Any] = Field(description='"string", "int64", "bool", [list of], {struct}; all may be null.')
    example: dict[str, Any] = Field(description="A row that the shape makes of one fixed pair or sample.")

    @classmethod
    def of(cls, shape: Shape) -> DatasetShapeOut:
        """The answer for a shape of the registry."""
        return cls(
            name=shape.name,
            about=shape.about,
            trainers=shape.trainers,
            loader=shape.loader,
            trl_trainers=list(shape.trl),
            completions_end_at=shape.ends,
            end_of_sequence=shape.eos,
            chat_template=shape.chat_template,
            columns=shape.fields,
            example=example_row(shape),
        )


_ALL = Listing[DatasetShapeOut].whole([DatasetShapeOut.of(shape) for shape in SHAPES.values()])
_DOCUMENTED: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"example": _ALL.model_dump(mode="json")}}}
}


@router.get("/v1/dataset-shapes", responses={**_DOCUMENTED, **documented(401, 403, 422)})
def list_dataset_shapes(caller: Reader) -> Listing[DatasetShapeOut]:  # noqa: ARG001 - the caller must be allowed to read
    """Every shape that `config.shapes` of a dataset may name, with columns, consumer and an example row."""
    return _ALL
