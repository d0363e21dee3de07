"""Rows of known projects as problems: GSM8K, MATH, Step-DPO, verl, and conversations (``messages``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from api.http import strict_json
from api.problem_sets.fields import ProblemFields, RowError, foreign_fields
from errata.answers.boxes import final_boxes, find_boxes

TURNS = ("messages", "conversations")
_GOLD_NAMES = ("answer", "final_answer", "ground_truth", "solution")
_ROLES = {"human": "user", "gpt": "assistant"}  # ShareGPT's names
_THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?")
_MARK = "####"
_PLAIN_ANSWER = 200  # characters; a longer "answer" without #### is a text whose answer we cannot tell


def gsm8k(row: Mapping[str, Any], limit: int) -> ProblemFields:
    """``question`` and ``answer``: a solution that ends in ``#### gold``, or one line that is the gold answer."""
    answer, question = row.get("answer"), ("question", row.get("question"))
    if not isinstance(answer, str):
        return foreign_fields(row, limit, "answer", question, ("answer", answer))
    solution, mark, gold = answer.rpartition(_MARK)
    if mark and "\n" in gold.strip():
        raise RowError("'answer' goes on behind the line of its '####' answer; end it there")
    if mark:
        text = solution.rstrip() or None
        return foreign_fields(row, limit, "gsm8k", question, ("answer", _number(gold)), ("gold_solution", text))
    if "\n" in answer.strip() or len(answer) > _PLAIN_ANSWER:
        raise RowError("'answer' has no '####' before its final answer")
    return foreign_fields(row, limit, "answer", question, ("answer", answer))


def math(row: Mapping[str, Any], limit: int) -> ProblemFields:
    """``problem`` and ``solution``; the gold answer is ``answer``, else what the solution's last box holds."""
    solution, gold, boxes = row.get("solution"), row.get("answer"), 0
    if gold is None:
        gold = _boxed(solution)
        if gold is None:
            raise RowError("'solution' has no \\boxed{} final answer, and there is no 'answer'")
        boxes = len(find_boxes(str(solution)))
    question = ("problem", row.get("problem"))
    fields = foreign_fields(row, limit, "math", question, ("answer", gold), ("gold_solution", solution))
    if boxes > 1:
        fields["meta"]["boxes"] = boxes  # told in the answer: which of them is the gold answer was our choice
    return fields


def step_dpo(row: Mapping[str, Any], limit: int) -> ProblemFields:
    """``prompt`` and ``answer``."""
    return foreign_fields(row, limit, "step-dpo", ("prompt", row.get("prompt")), ("answer", row.get("answer")))


def verl(row: Mapping[str, Any], limit: int) -> ProblemFields:
    """``prompt`` (turns or a text) and ``reward_model.ground_truth``; of several the first is the gold answer."""
    prompt = row["prompt"]
    text = isinstance(prompt, str) and not isinstance(_json(prompt), list)
    question, system, _ = (prompt, None, None) if text else _turns("prompt", prompt)
    reward = _json(row["reward_model"])
    truth = reward.get("ground_truth") if isinstance(reward, Mapping) else None
    golds = truth if isinstance(truth, list) and truth else [truth]
    extra = _json(row.get("extra_info"))
    solution = extra.get("answer") if isinstance(extra, Mapping) else None
    # Some put the plain answer there: a solution says more than the gold answer does.
    known = solution if isinstance(solution, str) and solution.strip() != str(golds[0]).strip() else None
    where = "reward_model.ground_truth"
    fields = foreign_fields(
        row, limit, "verl", ("prompt", question), (where, _number(golds[0])), ("extra_info.answer", known)
    )
    if len(golds) > 1:
        fields["meta"]["golds"] = [_further(where, gold) for gold in golds[1:]]
    return _with_system(fields, system)


def messages(row: Mapping[str, Any], limit: int, turns: str) -> ProblemFields:
    """A conversation in the field ``turns``: the user asks, the assistant's last turn, if there is one, solves.

    The gold answer is a field of its own (``answer``, ``final_answer``, ``ground_truth``, ``solution``), else the final
    answer that the assistant states in a box or after ``####``.
    """
    question, system, solution = _turns(turns, row[turns])
    name = next((name for name in _GOLD_NAMES if row.get(name) is not None), None)
    gold = row[name] if name else None
    if name is None:
        gold = final_answer(solution)
        if gold is None:
            raise RowError(
                f"'{turns}' has no assistant's turn with a \\boxed{{}} or '####' answer, and there is no 'answer'"
            )
    elif isinstance(gold, str) and (len(gold) > _PLAIN_ANSWER or _MARK in gold or "\\boxed" in gold):
        solution, gold = solution or gold, final_answer(gold)
        if gold is None:
            raise RowError(f"'{name}' has no \\boxed{{}} or '####' before its final answer")
    said = (f"{turns} of the assistant", solution)
    fields = foreign_fields(row, limit, "messages", (turns, question), (name or "answer", _number(gold)), said)
    return _with_system(fields, system)


def final_answer(solution: Any) -> str | None:
    """What a solution states after its last ``####``, else in its last box; None where there is neither."""
    if not isinstance(solution, str):
        return None
    gold = solution.rpartition(_MARK)[2].strip() if _MARK in solution else ""
    return str(_number(gold)) if gold and "\n" not in gold else _boxed(solution)


def reference_text(problem: Mapping[str, Any]) -> str | None:
    """A stored problem's own solution as its row had it: with the line ``#### gold`` that GSM8K ends in."""
    solution: str | None = problem["gold_solution"]
    if solution is None or problem["meta"].get("format") != "gsm8k":
        return solution
    return f"{solution}\n{_MARK} {problem['gold_answer']}"


def _boxed(solution: Any) -> str | None:
    box = final_boxes(solution) if isinstance(solution, str) else None
    return box.content if box else None


def _number(gold: Any) -> Any:
    """A gold answer without the commas of thousands; anything else as it is."""
    if not isinstance(gold, str):
        return gold
    gold = gold.strip()
    return gold.replace(",", "") if _THOUSANDS.fullmatch(gold) else gold


def _further(where: str, gold: Any) -> str:
    if isinstance(gold, bool) or not isinstance(gold, str | int | float) or not str(gold).strip():
        raise RowError(f"'{where}' must be a text or a list of texts")
    return str(_number(gold) if isinstance(gold, str) else gold)


def _with_system(fields: ProblemFields, system: str | None) -> ProblemFields:
    if system is not None:
        fields["meta"]["system"] = system
    return fields


def _turns(name: str, value: Any) -> tuple[str, str | None, str | None]:
    """What is asked, the system's turn, and the answer; of a conversation with one question. Raises RowError."""
    value = _json(value)
    if not isinstance(value, list) or not all(isinstance(turn, Mapping) for turn in value):
        raise RowError(f"'{name}' must be a list of turns with 'role' and 'content'")
    said: dict[str, list[str]] = {"system": [], "user": [], "assistant": []}
    for turn in value:
        role = turn.get("role", turn.get("from"))
        role = _ROLES.get(str(role), str(role))
        if role not in said:
            raise RowError(f"'{name}' has a turn of '{role[:40]}'; known roles: {', '.join(said)}")
        said[role].append(_content(name, turn.get("content", turn.get("value"))))
    if len(said["user"]) != 1 or len(said["assistant"]) > 1:
        raise RowError(f"'{name}' must hold one turn of the user and at most one of the assistant")
    system = "\n".join(said["system"]).strip() or None
    return said["user"][0], system, said["assistant"][0] if said["assistant"] else None


def _content(name: str, content: Any) -> str:
    if isinstance(content, list):  # OpenAI's parts
        texts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        content = "".join(map(str, texts)) if all(isinstance(text, str) for text in texts) else None
    if not isinstance(content, str):
        raise RowError(f"'{name}' has a turn whose 'content' is no text")
    return content


def _json(value: Any) -> Any:
    """A CSV cell, or a column of texts, holds a list or an object as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return strict_json.loads(value)
    except strict_json.JsonError:
        return value
