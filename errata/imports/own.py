"""Errata's own row formats read back, Step-DPO's rows, and which completions are steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from errata.answers.extraction import extract_answer
from errata.imports.config import ImportConfig
from errata.imports.rows import PAIR_FIELDS, ImportedPair, ImportedSide
from errata.imports.turns import Ask, RowProblem, ask_messages, ask_text, own_question, text_of, turns_of
from errata.steps import split_steps
from errata.types import Domain

Values = Mapping[str, Any]
PAIR_COLUMNS = tuple(PAIR_FIELDS)
CRITIQUE_COLUMNS = (
    *("question", "flawed_solution", "error_step", "error_start", "error_end", "error_kind", "form", "evidence"),
    "correction",
)
_KEPT_ELSEWHERE = ("question", "prefix", "chosen", "rejected", "type", "domain", "prompt_messages", "prompt_text")


def as_pair(ask: Ask, prefix: str, chosen: str, rejected: str, config: ImportConfig) -> ImportedPair:
    """A pair of a format that does not say whether its sides are steps."""
    pair = ImportedPair(ask, chosen, rejected, prefix)
    return replace(pair, is_step=_is_step(ask, (prefix + chosen, prefix + rejected), config))


def as_side(sample: ImportedSide, label: bool, config: ImportConfig) -> ImportedSide:
    """One side of a pair to come, of a format that does not say whether it is a step."""
    step = _is_step(sample.ask, (sample.prefix + sample.text,), config)
    return replace(sample, label=label, is_step=step)


def _is_step(ask: Ask, sides: Sequence[str], config: ImportConfig) -> bool:
    if config.completions != "auto":
        return config.completions == "step"
    # Of others' rows a completion is a whole reply. Errata writes steps into formats that cannot say so: there it is
    # one where both sides end in the middle, as EOS behind them would teach the model to stop there.
    return _is_own(ask) and all(_ends_in_the_middle(side, ask.domain or Domain.MATH) for side in sides)


def _ends_in_the_middle(text: str, domain: Domain) -> bool:
    """Whether a solution goes on behind ``text``: no answer is stated, or its last line ends and states none itself."""
    if extract_answer(text, domain) is None:
        return True
    steps = split_steps(text, domain)
    return text[-1:].isspace() and not (steps and steps[-1].is_answer)


def _is_own(ask: Ask) -> bool:
    return ask.messages is None and ask.text is None


def solved(row: Values, config: ImportConfig, field: str = "question") -> Ask:
    """The prompt of a row that gives question and domain, and leaves it to Errata how a solver is asked."""
    question = text_of(row.get(field), field)
    try:
        domain = Domain(row.get("domain") or config.domain)
    except ValueError:
        raise RowProblem("'domain' is none of math, choice, logic, code") from None
    # Whatever else asks in Errata's words says the same as its question alone.
    found = own_question(question)
    return Ask(found[0], domain=found[1]) if found else Ask(question, domain=domain)


def read_pair(row: Values, config: ImportConfig) -> ImportedPair:
    """A row of ``steps_and_full``: its columns stay, except that nothing of it counts as proven."""
    if row.get("type") not in ("step", "full"):
        raise RowProblem("'type' is neither step nor full")
    ask = solved(row, config)
    messages, text = row.get("prompt_messages"), row.get("prompt_text")
    if messages:
        turns = turns_of(messages, "prompt_messages")
        if turns is None:
            raise RowProblem("'prompt_messages' is not a list of messages")
        ask = replace(ask_messages(turns, "prompt_messages"), text=text)
    elif text is not None:
        ask = Ask(text_of(text, "prompt_text"), text=text)
    own = {name: row[name] for name in PAIR_FIELDS if name not in _KEPT_ELSEWHERE and row.get(name) is not None}
    for name, value in own.items():
        if PAIR_FIELDS[name] == "float64":
            own[name] = _share(value, name)
            continue
        kind = int if PAIR_FIELDS[name] == "int64" else str
        if kind is int and isinstance(value, str) and value.lstrip("-").isdecimal() and len(value) < 12:
            own[name] = value = int(value)  # a table of texts holds numbers as texts
        if not isinstance(value, kind) or isinstance(value, bool):
            raise RowProblem(f"'{name}' is not {'a whole number' if kind is int else 'a text'}")
    prefix = text_of(row.get("prefix") or "", "prefix")
    chosen, rejected = (text_of(row.get(name), name) for name in ("chosen", "rejected"))
    return ImportedPair(ask, chosen, rejected, prefix, row["type"] == "step", own)


def _share(value: Any, name: str) -> float:
    try:
        found = float(value)  # a table of texts holds numbers as texts
    except (TypeError, ValueError):
        found = -1.0
    if isinstance(value, bool) or not 0 <= found <= 1:
        raise RowProblem(f"'{name}' is not a number from 0 to 1")
    return found


def read_critique(row: Values, config: ImportConfig) -> ImportedPair:
    """A flawed solution, where its error stands, and the correction: a step pair."""
    solution, correction = (text_of(row.get(name), name) for name in ("flawed_solution", "correction"))
    start, end = (_whole(row.get(name), name) for name in ("error_start", "error_end"))
    if not 0 <= start < end <= len(solution):
        raise RowProblem("'error_start' and 'error_end' are no part of 'flawed_solution'")
    own = {name: row[name] for name in ("error_kind", "form", "evidence") if isinstance(row.get(name), str)}
    if row.get("error_step") is not None:
        own["step_index"] = _whole(row["error_step"], "error_step")
    return ImportedPair(solved(row, config), correction, solution[start:end], solution[:start], True, own)


def _whole(value: Any, name: str) -> int:
    if isinstance(value, str) and value.isdecimal() and len(value) < 12:
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RowProblem(f"'{name}' is not a whole number")
    return value


def read_steps(row: Values, config: ImportConfig) -> ImportedSide:
    """Steps with labels: the last one is a side, the right ones before it stand before both sides."""
    steps, labels = row.get("completions"), row.get("labels")
    if not isinstance(steps, list) or not isinstance(labels, list) or not steps or len(steps) != len(labels):
        raise RowProblem("'completions' and 'labels' are not two lists of one length")
    if not all(isinstance(step, str) for step in steps) or not all(isinstance(label, bool) for label in labels):
        raise RowProblem("'completions' are not all texts, or 'labels' not all true or false")
    if not all(labels[:-1]):
        raise RowProblem("a step before the last one is labelled wrong: what follows it is no pair's side")
    name = "prompt" if row.get("prompt") is not None else "question"
    turns = turns_of(row.get(name), name)
    ask, prefix = (ask_messages(turns), "") if turns else ask_text(text_of(row.get(name), name), None, config.prompts)
    # Steps that do not end a line themselves were cut at line ends.
    joint = "" if any(step[-1:].isspace() for step in steps[:-1]) else "\n"
    before = "".join(f"{step}{joint}" for step in cast(list[str], steps[:-1]))
    whole = config.completions == "whole"
    return ImportedSide(ask, steps[-1], labels[-1], prefix + before, not whole)


def read_step_dpo(row: Values, config: ImportConfig) -> ImportedPair:
    """A question, the steps before, and one step right and wrong."""
    name = "prompt" if row.get("prompt") is not None else "question"
    chosen, rejected = (text_of(row.get(field), field) for field in ("chosen", "rejected"))
    prefix = text_of(row.get("initial_reason_steps") or "", "initial_reason_steps")
    return ImportedPair(solved(row, config, name), chosen, rejected, prefix, config.completions != "whole")
