"""What follows the steps of pairs that are frozen (errata.rests): as stored, or found for pairs of before it was."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pyarrow as pa
from sqlalchemy.orm import Session

from errata.rests import LeftOut, Rest, RestKind, allowing_right_answers
from errata.types import Domain
from models.jobs import PairRow
from workers.stages.base import StageContext
from workers.stages.bulk_reading import fetch, table_of, text_list
from workers.stages.dataset_rows import in_slices
from workers.stages.dataset_selection import DatasetSelection
from workers.stages.rests import older_rests

_STORED = pa.schema([("pair_id", pa.string()), ("rest", pa.string())])


class Rests:
    """Finds the rests of tables of pairs. The session is its own: the freeze's belongs to a thread that reads ahead."""

    def __init__(self, context: StageContext, session: Session, chosen: DatasetSelection) -> None:
        self._context, self._session, self._chosen = context, session, chosen

    def of(self, table: pa.Table) -> list[Rest | None]:
        """The rest of each pair, in order; all None where no shape is written that ends at an answer.

        A table without the column ``rest`` came from files: its pairs are looked up. Raises what the judge raises.
        """
        if not self._chosen.with_rests:
            return [None] * table.num_rows
        ids = text_list(table["pair_id"])
        stored = text_list(table["rest"]) if "rest" in table.column_names else self._stored(ids)
        known = [None if told is None or told == "null" else Rest.from_dict(orjson.loads(told)) for told in stored]
        if None in known:
            known = [rest or given for rest, given in zip(known, _of_imports(table), strict=True)]
        missing = [rest is None for rest in known]
        older = self._older(table.filter(pa.array(missing, pa.bool_()))) if any(missing) else {}
        return [self._allowed(rest or older.get(id_)) for id_, rest in zip(ids, known, strict=True)]

    def _allowed(self, rest: Rest | None) -> Rest | None:
        if rest is None or not self._chosen.config.whole_right_answers:
            return rest
        return allowing_right_answers(rest)

    def _stored(self, ids: Sequence[str]) -> list[str | None]:
        found: dict[str, str | None] = {}
        columns = {"pair_id": PairRow.id, "rest": PairRow.rest}
        for query in in_slices(columns, PairRow.id, ids):
            told = table_of(fetch(self._session, query), _STORED)
            found.update(zip(told["pair_id"].to_pylist(), told["rest"].to_pylist(), strict=True))
        return [found.get(id_) for id_ in ids]

    def _older(self, table: pa.Table) -> dict[str, Rest]:
        found: dict[str, Rest] = {}
        for group in table.group_by(["job_id", "domain"]).aggregate([("pair_id", "list")]).to_pylist():
            thoughts = self._chosen.thoughts(group["job_id"])
            ids = group["pair_id_list"]
            found |= older_rests(self._context, self._session, ids, Domain(group["domain"]), thoughts)
        return found


def _of_imports(table: pa.Table) -> list[Rest | None]:
    """The rests of pairs of imported files, which are of no job: replies are whole, and steps go on in no way."""
    found = {"full": Rest(RestKind.IMPORTED), "step": Rest(None, why=LeftOut.NO_REST)}
    jobs, types = table["job_id"].to_pylist(), table["type"].to_pylist()
    return [found[type_] if job is None else None for job, type_ in zip(jobs, types, strict=True)]
