"""OpenAI's files and batches on a free port, answered by somebody who knows every problem, and told how batches end.

What is answered follows from the request alone: solutions by the problem, every third sample wrong, edits by the step.
A batch is worked on when it is looked at and ``going`` is set; ``ends`` says how the batches end, in the order in which
they are made, and all others are completed. ``worked`` holds every line that was answered, whoever hears of it.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from errata.types import Problem
from tests.openai_http_server import Answered, HttpServer, Page

_LAST_NUMBER = re.compile(r"\d+(?=\D*$)")
_DISPOSITION = re.compile(rb'name="(\w+)"(?:; filename="([^"]*)")?')


class BatchServer(HttpServer):
    """A server with a Batch API. Its completions at once are counted in ``seen`` like all other POSTs."""

    def __init__(self, problems: Iterable[Problem], *, ends: tuple[str, ...] = (), owner: str = "vllm") -> None:
        self.problems = list(problems)
        self.ends: deque[str] = deque(ends)
        self.going = threading.Event()
        self.going.set()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.worked: Counter[str] = Counter()
        self.deleted: list[str] = []
        self.lists = True
        self._at_files = threading.RLock()
        super().__init__(owner=owner)

    def page(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Page | None:
        """Files and batches."""
        where = urlsplit(path)
        parts = where.path.removeprefix("/v1/").split("/")
        if parts[0] not in ("files", "batches"):
            return None
        with self._at_files:
            if parts[0] == "files":
                return self._file(method, parts[1:], headers, content)
            if method == "POST":
                return self._make(json.loads(content)) if len(parts) == 1 else self._cancel(parts[1])
            return self._list(parse_qs(where.query)) if len(parts) == 1 else self._look(parts[1])

    def answer(self, path: str, body: dict[str, Any], gone: Any) -> Answered:
        """What a chat that opens the reply goes on with."""
        *_, last = messages = body["messages"]
        opening = last["content"] if last["role"] == "assistant" else ""
        asked = "\n".join(each["content"] for each in messages)  # an edit's question stands before its turns
        solution = str(max(self.problems, key=lambda problem: _told_of(problem, asked)).gold_solution)
        texts = [_went_on(solution, opening, body["seed"] + at) for at in range(body.get("n", 1))]
        choices = [
            {"index": at, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            for at, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": len(asked) // 4, "completion_tokens": sum(len(text) for text in texts) // 4}
        return 200, {"choices": choices[::-1], "usage": usage}

    def asked_at_once(self) -> int:
        """How many completions were asked for outside of batches."""
        return sum("completions" in path for path, _, _ in self.seen)

    def _file(self, method: str, parts: list[str], headers: dict[str, str], content: bytes) -> Page:
        if method == "POST":
            form = _form(headers["Content-Type"], content)
            if form.get("purpose") != b"batch":
                return 400, {"error": {"message": "purpose must be batch"}}
            return 200, {"id": self._kept(form["file"]), "object": "file", "purpose": "batch"}
        if parts[0] not in self.files:
            return 404, {"error": {"message": "No such File object"}}
        if method == "DELETE":
            self.deleted.append(parts[0])
            del self.files[parts[0]]
            return 200, {"id": parts[0], "deleted": True}
        return 200, self.files[parts[0]]

    def _kept(self, content: bytes) -> str:
        name = f"file-{len(self.files) + len(self.deleted)}"
        self.files[name] = content
        return name

    def _make(self, body: dict[str, Any]) -> Page:
        lines = self.files[body["input_file_id"]].splitlines()
        batch = {
            "id": f"batch_{len(self.batches)}",
            "status": "validating",
            "created_at": int(time.time()),
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
            "end": self.ends.popleft() if self.ends else "completed",
            **body,
        }
        self.batches[batch["id"]] = batch
        return 200, batch

    def _list(self, query: dict[str, list[str]]) -> Page:
        if not self.lists:
            return 404, {"error": {"message": "Not found"}}
        newest = list(self.batches)[::-1]
        first = newest.index(query["after"][0]) + 1 if "after" in query else 0
        size = int(query["limit"][0])
        data = [self.batches[name] for name in newest[first : first + size]]
        return 200, {"data": data, "has_more": first + size < len(newest)}

    def _cancel(self, name: str) -> Page:
        if self.batches[name]["status"] in ("completed", "failed", "expired", "cancelled"):
            return 400, {"error": {"message": "Cannot cancel a batch that has ended"}}
        self.batches[name]["status"] = "cancelled"
        return 200, self.batches[name]

    def _look(self, name: str) -> Page:
        batch = self.batches.get(name)
        if batch is None:
            return 404, {"error": {"message": "No such Batch object"}}
        if batch["status"] == "validating":
            self._validate(batch)
        elif batch["status"] == "in_progress" and self.going.is_set():
            batch["status"] = "finalizing"
        elif batch["status"] == "finalizing":
            self._work(batch)
        return 200, batch

    def _validate(self, batch: dict[str, Any]) -> None:
        end, _, detail = batch["end"].partition(" ")
        batch["status"] = "cancelled" if end == "cancelled" else "in_progress"
        if end == "failed":
            told = {"code": detail, "message": "told to fail", "line": 1}
            batch |= {"status": "failed", "errors": {"object": "list", "data": [told]}}

    def _work(self, batch: dict[str, Any]) -> None:
        """Answer the lines, the last one first; of some of them as the batch's end says."""
        end, _, detail = batch["end"].partition(" ")
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        spoilt = lines[: int(detail or 0)]
        answers, errors = [], []
        for line in reversed(lines):
            if line in spoilt:
                errors += [] if end == "missing" else [_error(end, line["custom_id"])]
                continue
            self.worked[line["custom_id"]] += 1
            status, body = self.answer(line["url"], line["body"], lambda: False)
            told = {"custom_id": line["custom_id"], "response": {"status_code": status, "body": body}, "error": None}
            (answers if status == 200 else errors).append(told)
        batch["status"] = "expired" if end == "expired" else "completed"
        for name, told in (("output_file_id", answers), ("error_file_id", errors)):
            if told:
                batch[name] = self._kept("\n".join(map(json.dumps, told)).encode() + b"\nnot JSON\n")


def _told_of(problem: Problem, asked: str) -> tuple[bool, int]:
    """How surely a request is about this problem: some layouts of edits tell its steps and not its question."""
    return problem.question in asked, sum(line in asked for line in str(problem.gold_solution).splitlines()[1:])


def _went_on(solution: str, opening: str, seed: int) -> str:
    """The rest of the solution, or of the step that an edit's opening begins, with its last number changed."""
    if solution.startswith(opening):
        rest = solution.removeprefix(opening)
        return rest if seed % 3 else rest.replace("boxed{", "boxed{1")
    begun = opening.splitlines()[-1] if opening else ""
    line = next((line for line in solution.splitlines() if begun and begun in line), solution.splitlines()[1])
    rest = line.partition(begun)[2] if begun in line else line
    return _LAST_NUMBER.sub(lambda found: str(int(found[0]) + 1), rest, count=1) + "\n"


def _error(end: str, custom_id: str) -> dict[str, Any]:
    """A line of a file of errors."""
    if end == "expired":
        error = {"code": "batch_expired", "message": "This request could not be executed before the window expired."}
        return {"custom_id": custom_id, "response": None, "error": error}
    body = {"error": {"message": f"told to answer {end}"}}
    return {"custom_id": custom_id, "response": {"status_code": int(end), "body": body}, "error": None}


def _form(content_type: str, content: bytes) -> dict[str, bytes]:
    """The fields of a multipart form; a file's content under its field's name."""
    boundary = b"--" + content_type.partition("boundary=")[2].strip('"').encode()
    found: dict[str, bytes] = {}
    for part in content.split(boundary)[1:-1]:
        head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        named = _DISPOSITION.search(head)
        assert named is not None, head
        found[named[1].decode()] = data.removesuffix(b"\r\n")
    return found
