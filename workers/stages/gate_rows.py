"""What the gates read: texts that do not fit into memory, the pairs to check again, benchmarks, tokenizers."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session

from errata.config import InjectionConfig
from errata.gates.labels import Label, LabelCheck
from errata.gates.lengths import Count
from errata.prompts import solve_prompt
from errata.thoughts import Markers
from errata.types import Domain, Problem, Verdict
from models.jobs import EditRow, InjectionJob, PairRow, SolutionRow
from models.workspaces import LanguageModel, ProblemRow, ProblemSet
from workers.engines.base import Cancelled, EngineError
from workers.engines.rendering import LocalTokenizer
from workers.judge import JudgeItem
from workers.stages.base import StageContext

_PAGE = 500
CHARACTERS: tuple[str, Count] = ("characters", lambda texts: [len(text) for text in texts])
_CHECKED = (
    *(PairRow.id, PairRow.job_id, PairRow.type, PairRow.prefix, PairRow.chosen, PairRow.rejected, PairRow.start),
    *(PairRow.end, PairRow.editor),
    *(PairRow.step_index, PairRow.evidence_kind, PairRow.evidence, SolutionRow.text, EditRow.original, EditRow.edited),
    *(ProblemRow.question, ProblemRow.gold_answer, ProblemRow.gold_solution, ProblemRow.subject, ProblemRow.meta),
)


class TextFile:
    """Texts on disk, read again by their place. Memory: 8 bytes a text. The file has no name and ends when closed."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._ends = array("Q", [0])
        self._at_end = True

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, text: str) -> None:
        """Append a text."""
        if not self._at_end:  # a seek writes out what is buffered
            self._file.seek(0, 2)
            self._at_end = True
        self._ends.append(self._ends[-1] + self._file.write(text.encode("utf-8", "surrogatepass")))

    def __getitem__(self, at: int) -> str:
        """The text at a place. Raises IndexError."""
        if not 0 <= at < len(self):
            raise IndexError(at)
        self._at_end = False
        self._file.seek(self._ends[at])
        return self._file.read(self._ends[at + 1] - self._ends[at]).decode("utf-8", "surrogatepass")

    def close(self) -> None:
        """Give the space back."""
        self._file.close()


def questions_of(
    session: Session,
    job: InjectionJob,
    pairs: Sequence[ColumnElement[bool]],
    problems: Sequence[ColumnElement[bool]],
    samples: Sequence[ColumnElement[bool]] | None,
) -> Iterator[tuple[str, str]]:
    """Id and question of every problem that gives a job's pairs (or, with ``samples``, samples), in posting order.

    The three say which pairs, which problems and which samples are meant.
    """
    gives: ColumnElement[bool] = exists().where(PairRow.problem_id == ProblemRow.id, PairRow.job_id == job.id, *pairs)
    if samples is not None:
        of_job = (SolutionRow.problem_id == ProblemRow.id, SolutionRow.job_id == job.id)
        gives = or_(gives, exists().where(*of_job, *samples))
    query = (
        select(ProblemRow.id, ProblemRow.question)
        .where(ProblemRow.problem_set_id == job.problem_set_id, *problems, gives)
        .order_by(ProblemRow.position)
        .execution_options(yield_per=_PAGE)
    )
    yield from ((id_, question) for id_, question in session.execute(query))


@dataclass(frozen=True)
class BenchmarkProblem:
    """Where a benchmark's problem is found."""

    problem_set_id: str
    name: str
    problem_id: str


def benchmark_problems(session: Session, workspace_id: str) -> Iterator[tuple[BenchmarkProblem, str]]:
    """The problems of every problem set of the workspace that is marked as a benchmark, with their questions."""
    query = (
        select(ProblemSet.id, ProblemSet.name, ProblemRow.id, ProblemRow.question)
        .join(ProblemSet, ProblemSet.id == ProblemRow.problem_set_id)
        .where(ProblemSet.workspace_id == workspace_id, ProblemSet.benchmark.is_(True))
        .order_by(ProblemSet.created_at, ProblemSet.id, ProblemRow.position)
        .execution_options(yield_per=_PAGE)
    )
    for set_id, name, problem_id, question in session.execute(query):
        yield BenchmarkProblem(set_id, name, problem_id), question


@dataclass(frozen=True)
class CheckedPair:
    """A pair of the sample: what its label rests on, the markers of its thoughts, and its texts for a trainer.

    ``unjudged``: why nothing can be judged of its label; empty where it can.
    """

    pair_id: str
    check: LabelCheck
    thoughts: Markers
    prompt: str
    unjudged: str = ""


class CheckedRows(Protocol):
    """Where the gates look pairs up again, and what they count lengths in.

    ``no_tokenizer``: why lengths are counted in characters, where they are.
    """

    no_tokenizer: str

    def pairs(self, ids: Sequence[str]) -> Iterator[list[CheckedPair]]:
        """The pairs with these ids, some at a time."""
        ...

    def counters(self) -> list[tuple[str, Count]]:
        """Units of length with how each is counted: one at least."""
        ...


class JobRowsToCheck:
    """The pairs of injection jobs, in the database."""

    no_tokenizer = "no tokenizer of the jobs' models is on this machine"

    def __init__(self, session: Session, jobs: Sequence[InjectionJob]) -> None:
        self._session, self._jobs = session, jobs

    def pairs(self, ids: Sequence[str]) -> Iterator[list[CheckedPair]]:
        """See CheckedRows."""
        return pairs_to_check(self._session, ids)

    def counters(self) -> list[tuple[str, Count]]:
        """See CheckedRows: the first model of a job whose tokenizer is on this machine. Nothing is fetched."""
        ids = [job.language_model_id for job in self._jobs if job.language_model_id]
        found = (local_counter(self._session.get(LanguageModel, id_)) for id_ in ids)
        return [next((each for each in found if each), CHARACTERS)]


def pairs_to_check(session: Session, ids: Sequence[str]) -> Iterator[list[CheckedPair]]:
    """The pairs with these ids and what they were made from, some at a time."""
    jobs: dict[str, tuple[Domain, Markers]] = {}
    for at in range(0, len(ids), _PAGE):
        query = (
            select(*_CHECKED)
            .join(ProblemRow, ProblemRow.id == PairRow.problem_id)
            .join(SolutionRow, SolutionRow.id == PairRow.solution_id)
            .outerjoin(EditRow, EditRow.id == PairRow.edit_id)
            .where(PairRow.id.in_(ids[at : at + _PAGE]))
        )
        found = {row.id: row for row in session.execute(query)}
        for job_id in {row.job_id for row in found.values()} - set(jobs):
            jobs[job_id] = _about(session, job_id)
        yield [_checked(found[id_], *jobs[found[id_].job_id]) for id_ in ids[at : at + _PAGE] if id_ in found]


def _about(session: Session, job_id: str) -> tuple[Domain, Markers]:
    job = session.get_one(InjectionJob, job_id)
    domain = Domain(session.get_one(ProblemSet, job.problem_set_id).domain)
    return domain, InjectionConfig.model_validate(job.config).thoughts.markers


def _checked(row: Any, domain: Domain, thoughts: Markers) -> CheckedPair:
    # With a rest behind the step the sides are longer than the step and its edit, which the edit's row holds.
    whole = (
        row.original is not None and row.chosen.startswith(row.original) and row.rejected.startswith(row.edited or "")
    )
    original = row.original if whole else row.chosen
    check = LabelCheck(
        type=row.type,
        problem=Problem(row.question, row.gold_answer, row.gold_solution, row.subject, dict(row.meta)),
        domain=domain,
        chosen=row.chosen,
        rejected=row.rejected,
        solution=_with_chosen(row, original) if row.editor == "mined" else row.text,
        original=original,
        edited=row.edited if whole else row.rejected,
        start=row.start or 0,
        step_index=row.step_index or 0,
        evidence=row.evidence_kind,
        detail=row.evidence,
        mined=row.editor == "mined",
    )
    asked = solve_prompt(row.question, domain).messages[0].content
    return CheckedPair(row.id, check, thoughts, f"{asked}\n\n{row.prefix}")


def _with_chosen(row: Any, original: str) -> str:
    """The drawn solution with the chosen side of a mined error, which may be another sample of its step."""
    return str(row.text[: row.start] + original + row.text[row.end :])


def local_counter(model: LanguageModel | None) -> tuple[str, Count] | None:
    """Tokens of a model and how they are counted; None where its tokenizer is not on this machine."""
    source = (model.config.get("tokenizer") or model.config.get("path")) if model else None
    if model is None or not source or not Path(source).is_dir():
        return None
    try:
        return f"tokens of {model.name}", _counting(LocalTokenizer(source).backend_tokenizer)
    except EngineError:
        return None


def _counting(tokenizer: Any) -> Count:
    return lambda texts: [len(found.ids) for found in tokenizer.encode_batch(list(texts), add_special_tokens=False)]


def judged(context: StageContext, pairs: Sequence[CheckedPair]) -> list[tuple[Label, str]]:
    """What each pair's label comes to. Raises Cancelled where the judge stopped early."""
    asked = [(pair, role, text) for pair in pairs for role, text in pair.check.texts.items()]
    items = [JudgeItem(pair.check.problem, text, pair.check.domain, pair.thoughts) for pair, _, text in asked]
    judged = context.judge.judge_many(items, context.cancelled)
    if len(judged) < len(items):
        raise Cancelled
    verdicts: dict[str, dict[str, Verdict]] = {pair.pair_id: {} for pair in pairs}
    for (pair, role, _), found in zip(asked, judged, strict=True):
        verdicts[pair.pair_id][role] = found.verdict
    return [pair.check.result(verdicts[pair.pair_id]) for pair in pairs]
