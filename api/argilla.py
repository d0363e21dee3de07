"""Argilla: a dataset's pairs as records to be reviewed there, and the answers given there as reviews.

The JSON is what Argilla's Python SDK (2.x) reads and writes: ``Record.from_dict`` and ``records.to_list()``, and
``Settings.from_json`` for the questions that are asked of a record. No Argilla server is talked to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from api.http.auth import Reader, Writer
from api.http.errors import Conflict, Invalid, documented
from api.http.routing import ApiDep, make_router
from api.http.rows import PageDep, decode, encode, path_row
from api.reviews import MOST_AT_ONCE
from api.schemas import Request, RowId
from models.curation import add_reviews, standing_reviews
from models.dataset_rows import rows_at, tables
from models.files import FileStore
from models.jobs import PairRow
from models.outputs import Dataset
from models.states import JobState

router = make_router("/v1", "reviews")
_FIELDS = {"question": True, "prefix": False, "chosen": True, "rejected": True}  # name -> whether one is required
_MOST_ANSWERS = 1_000  # of one record to one question
_METADATA = ("type", "error_kind", "split", "problem_id", "job_id")
_GUIDELINES = (
    "`chosen` is a step (or a whole solution) that is right; `rejected` is the same with an error in it. `prefix` is"
    " the solution before the step. Accept the pair when `chosen` is right, `rejected` is wrong, and they differ in"
    " nothing else."
)


class ArgillaRecords(BaseModel):
    """One page of a dataset's pairs as records, with the settings of the Argilla dataset that they belong into."""

    object: Literal["argilla_records"] = "argilla_records"
    settings: dict[str, Any] = Field(description="For `argilla.Settings.from_json`.")
    records: list[dict[str, Any]] = Field(description="Each for `argilla.Record.from_dict`.")
    has_more: bool
    next: str | None


class ArgillaAnswer(BaseModel):
    """One annotator's answer to one question."""

    model_config = ConfigDict(extra="ignore")

    value: Any = None
    user_id: RowId | None = None
    status: Literal["draft", "submitted", "discarded"] | None = None


class ArgillaRecord(BaseModel):
    """A record as ``records.to_list()`` gives it; of its many keys these are read."""

    model_config = ConfigDict(extra="ignore")

    id: RowId
    status: str | None = Field(None, max_length=50)
    server_id: RowId | None = Field(None, alias="_server_id")
    responses: dict[str, Annotated[list[ArgillaAnswer], Field(max_length=_MOST_ANSWERS)]] = Field(default_factory=dict)


class ArgillaReviewsIn(Request):
    """Records that came back from Argilla."""

    records: list[ArgillaRecord] = Field(max_length=MOST_AT_ONCE)


class ArgillaReviews(BaseModel):
    """What became of records: ``received = reviewed + without_answer + len(disagreed) + len(unknown)``."""

    object: Literal["argilla_reviews"] = "argilla_reviews"
    received: int
    reviewed: int = Field(description="The annotators' verdict stands now, or stood before.")
    without_answer: int = Field(description="Nothing submitted yet: pending, draft or discarded.")
    disagreed: list[str] = Field(description="Pairs whose annotators gave both verdicts: nothing was taken.")
    unknown: list[str] = Field(description="Ids of no pair here.")


def settings() -> dict[str, Any]:
    """The settings of the Argilla dataset, as the SDK writes them to JSON."""
    options = [{"text": verdict, "value": verdict} for verdict in ("accepted", "rejected")]
    verdict = {"name": "verdict", "title": "Is this a good pair?", "required": True}
    reason = {"name": "reason", "title": "Why?", "required": False}
    text = {"type": "text", "use_markdown": False}
    terms = {"type": "terms", "visible_for_annotators": True, "values": None}
    return {
        "guidelines": _GUIDELINES,
        "fields": [
            {"name": name, "title": name, "required": needed, "type": "text", "settings": text}
            for name, needed in _FIELDS.items()
        ],
        "questions": [
            {**verdict, "type": "label_selection", "settings": {"type": "label_selection", "options": options}},
            {**reason, "type": "text", "settings": text},
        ],
        "metadata": [
            {"name": name, "title": name, "settings": terms, "visible_for_annotators": True} for name in _METADATA
        ],
        "vectors": [],
        "allow_extra_metadata": True,
        "distribution": {"strategy": "overlap", "min_submitted": 1},
        "mapping": None,
    }


@router.get("/datasets/{dataset_id}/argilla", responses=documented(404, 409))
def list_argilla_records(caller: Reader, api: ApiDep, dataset_id: str, page: PageDep) -> ArgillaRecords:
    """A dataset's pairs as Argilla records. The review that stands is each record's suggestion."""
    with api.db.read() as session:
        dataset = path_row(session, Dataset, dataset_id, caller.workspace_id)
        if dataset.state != JobState.SUCCEEDED or not tables(dataset):
            raise Conflict(f"the dataset is {dataset.state} and has no pairs to review")
    start, name = 0, f"argilla-{dataset.id}"
    if page.after is not None:
        start = decode(name, page.after, 1)[0]
        if not isinstance(start, int) or not 0 <= start < 2**40:
            raise Invalid.field("after", "this is not a cursor of this list", "give `next` of the page before")
    try:
        rows = rows_at(FileStore(api.store.files), dataset, range(start, start + page.limit + 1))
    except FileNotFoundError:
        raise Conflict("the dataset's files are no longer in the file store") from None
    listed = rows[: page.limit]
    with api.db.read() as session:
        ids = [row["pair_id"] for row in listed]
        found = session.execute(select(PairRow.id, PairRow.review).where(PairRow.id.in_(ids)))
        reviews = {row.id: row.review for row in found}
    records = [_record(row, reviews.get(row["pair_id"])) for row in listed]
    more = len(rows) > page.limit
    cursor = encode(name, [start + page.limit]) if more else None
    return ArgillaRecords(settings=settings(), records=records, has_more=more, next=cursor)


def _record(row: dict[str, Any], review: str | None) -> dict[str, Any]:
    suggestion = {"verdict": {"value": review, "score": None, "agent": "errata"}} if review else {}
    return {
        "id": row["pair_id"],
        "fields": {name: row[name] for name in _FIELDS},
        "metadata": {name: row[name] for name in _METADATA if row[name] is not None},
        "suggestions": suggestion,
        "responses": {},
        "vectors": {},
    }


@router.post("/pairs/reviews/argilla", responses=documented(413, 415))
def take_argilla_records(caller: Writer, api: ApiDep, body: ArgillaReviewsIn) -> ArgillaReviews:
    """Take the answers of Argilla records as reviews, one for each annotator; `records.to_list()` gives the records."""
    answered = [(record, _decisions(record, at)) for at, record in enumerate(body.records)]
    disagreed = [record.id for record, found in answered if len({row["verdict"] for row in found}) > 1]
    with api.db.begin() as session:
        ids = {record.id for record in body.records}
        query = select(PairRow).where(PairRow.id.in_(ids), PairRow.workspace_id == caller.workspace_id)
        pairs = {pair.id: pair for pair in session.scalars(query)}
        standing = standing_reviews(session, list(pairs))
        taken, reviewed, without = [], 0, 0
        for record, found in answered:
            if record.id not in pairs or record.id in disagreed:
                continue
            reviewed, without = reviewed + bool(found), without + (not found)
            # Records are sent again when others have been answered since: what stands already adds nothing.
            last = standing.get(record.id)
            if last is None or not any(_same(last, row) for row in found):
                taken += [(pairs[record.id], {**row, "key_id": caller.key_id, "source": "argilla"}) for row in found]
        add_reviews(session, [pair for pair, _ in taken], [row for _, row in taken])
    unknown = [record.id for record in body.records if record.id not in pairs]
    return ArgillaReviews(
        received=len(body.records),
        reviewed=reviewed,
        without_answer=without,
        disagreed=[pair_id for pair_id in disagreed if pair_id in pairs],
        unknown=unknown,
    )


def _same(review: Any, row: dict[str, Any]) -> bool:
    return all(getattr(review, key) == value for key, value in row.items())


def _decisions(record: ArgillaRecord, at: int) -> list[dict[str, Any]]:
    """The submitted answers of a record, one for each annotator. Raises Invalid for a verdict that is none."""
    reasons = {answer.user_id: answer.value for answer in _submitted(record, "reason")}
    found = []
    for answer in _submitted(record, "verdict"):
        if answer.value not in ("accepted", "rejected"):
            place = f"records.{at}.responses.verdict"
            raise Invalid.field(place, "this verdict is neither accepted nor rejected", "use the settings we give")
        reviewer = f"argilla:{answer.user_id}" if answer.user_id else "argilla"
        found.append({"verdict": answer.value, "reason": _reason(reasons, answer, at), "reviewer": reviewer})
    return found


def _reason(reasons: dict[str | None, Any], answer: ArgillaAnswer, at: int) -> str | None:
    given = reasons.get(answer.user_id)
    if given is None or (isinstance(given, str) and not given.strip()):
        return None
    if not isinstance(given, str) or len(given) > _REASON_LIMIT:
        place = f"records.{at}.responses.reason"
        raise Invalid.field(place, "this reason is no text, or too long", f"give up to {_REASON_LIMIT} characters")
    return given.strip()


_REASON_LIMIT = 10_000


def _submitted(record: ArgillaRecord, question: str) -> Sequence[ArgillaAnswer]:
    """The answers that count. The SDK's export tells no answer's status, but whether a server's record is complete."""
    open_on_server = record.server_id is not None and record.status == "pending"
    return [
        answer
        for answer in record.responses.get(question, [])
        if answer.status == "submitted" or (answer.status is None and not open_on_server)
    ]
