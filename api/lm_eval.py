"""``/v1/problem-sets/{id}/lm-eval``: a problem set as a task folder of lm-eval (EleutherAI's evaluation harness).

The folder is a zip: the task's YAML, the problems as JSON lines, and a scorer with the source of the verifier that
Errata judges with. So an evaluation with lm-eval gives the verdicts that an evaluation here would give.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import yaml
from fastapi import Path as PathParameter
from fastapi import Query, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import select

import errata
from api import lm_eval_task
from api.http.auth import Reader
from api.http.errors import documented
from api.http.routing import ApiDep, make_router
from api.http.rows import path_row
from errata.prompts import solve_prompt
from errata.types import Domain
from models.session import Database
from models.workspaces import ProblemRow, ProblemSet

router = make_router("/v1/problem-sets", "problem sets")
_PAGE = 500
_MODIFIED = (1980, 1, 1, 0, 0, 0)  # the same problems give the same bytes
#: The verifiers and what they import; tests/api/test_lm_eval.py runs them without the rest.
_VERIFIER = ("__init__.py", "patterns.py", "thoughts.py", "types.py", "answers/*.py", "arithmetic/*.py")
_ANSWERS = {
    200: {"description": "The task's folder.", "content": {"application/zip": {}}},
    **documented(404),
}


@router.get("/{problem_set_id}/lm-eval", responses=_ANSWERS, response_class=Response)
def download_lm_eval_task(
    caller: Reader,
    api: ApiDep,
    problem_set_id: Annotated[str, PathParameter()],
    max_tokens: Annotated[int, Query(ge=1, le=32768, description="Tokens that an answer may have.")] = 1024,
) -> Response:
    """The set as a task folder of lm-eval, as a zip: unpack it, then `lm_eval --include_path FOLDER --tasks TASK`."""
    with api.db.read() as session:
        problem_set = path_row(session, ProblemSet, problem_set_id, caller.workspace_id)
    task = task_name(problem_set.name, problem_set.id)
    headers = {"Content-Disposition": f'attachment; filename="{task}.zip"'}
    return StreamingResponse(_archive(api.db, problem_set, task, max_tokens), 200, headers, "application/zip")


def task_name(name: str, set_id: str) -> str:
    """``errata_`` and what of the set's name a task may be called by; the set's id where nothing is left."""
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:60]
    return f"errata_{slug or set_id}"


def task_yaml(task: str, problem_set: ProblemSet, max_tokens: int) -> str:
    """The task. Prompts and the gold answer are columns; loading and scoring are functions of ``utils.py``."""
    metrics = [
        {"metric": name, "aggregation": "mean", "higher_is_better": name == "exact_match"}
        for name in ("exact_match", "unparsable", "timeout")
    ]
    values = {
        "task": task,
        "output_type": "generate_until",
        "test_split": "test",
        "doc_to_text": "prompt",
        "doc_to_target": "gold_answer",
        "generation_kwargs": {"until": [], "do_sample": False, "temperature": 0.0, "max_gen_toks": max_tokens},
        "metric_list": metrics,
        "num_fewshot": 0,
        **({"unsafe_code": True} if problem_set.domain == Domain.CODE else {}),
        "metadata": {"version": 1.0, "problem_set": problem_set.id, "content_sha256": problem_set.content_sha256},
    }
    functions = "custom_dataset: !function utils.problems\nprocess_results: !function utils.process_results\n"
    return yaml.safe_dump(values, sort_keys=False) + functions


def _archive(db: Database, problem_set: ProblemSet, task: str, max_tokens: int) -> Iterator[bytes]:
    """The zip in pieces: never more than a page of problems is held."""
    out = _Pieces()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry(f"{task}/{task}.yaml"), task_yaml(task, problem_set, max_tokens))
        for path, source in _sources():
            archive.writestr(_entry(f"{task}/{path}"), source)
        with archive.open(_entry(f"{task}/problems.jsonl"), "w", force_zip64=True) as file:
            for page in _problems(db, problem_set):
                file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in page).encode())
                yield out.taken()
    yield out.taken()


def _problems(db: Database, problem_set: ProblemSet) -> Iterator[list[dict[str, object]]]:
    """Pages of rows, each read in a session of its own: a slow download holds no transaction open."""
    domain, after = Domain(problem_set.domain), -1
    own = select(ProblemRow).where(ProblemRow.problem_set_id == problem_set.id).order_by(ProblemRow.position)
    while True:
        with db.read() as session:
            found = session.scalars(own.where(ProblemRow.position > after).limit(_PAGE)).all()
        if not found:
            return
        after = found[-1].position
        yield [_row(problem, domain) for problem in found]


def _row(problem: ProblemRow, domain: Domain) -> dict[str, object]:
    """``meta`` is JSON text: it differs from problem to problem, and a column has one type."""
    return {
        "id": problem.external_id or problem.id,
        "prompt": solve_prompt(problem.question, domain).messages[-1].content,
        "question": problem.question,
        "gold_answer": problem.gold_answer,
        "domain": domain.value,
        "meta": json.dumps(problem.meta, ensure_ascii=False, sort_keys=True),
    }


def _sources() -> Iterator[tuple[str, str]]:
    """Scorer and verifier, as they stand in this installation."""
    task, package = Path(lm_eval_task.__file__).parent, Path(errata.__file__).parent
    for name in ("utils.py", "judge.py"):
        yield name, (task / name).read_text(encoding="utf-8")
    for pattern in _VERIFIER:
        for path in sorted(package.glob(pattern)):
            yield f"errata/{path.relative_to(package).as_posix()}", path.read_text(encoding="utf-8")


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _MODIFIED)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


class _Pieces(io.RawIOBase):
    """A file that cannot seek, whose content is taken away while it is written."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._held += data
        return len(data)

    def taken(self) -> bytes:
        """What was written since the last time."""
        piece = bytes(self._held)
        self._held.clear()
        return piece
