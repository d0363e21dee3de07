"""The prompts, versioned, and the reply: how solver and editor are asked, and how an edited step is read back.

Knows neither tokenizers nor engines: an engine renders the turns through the model's own chat template and forces
the reply to open with ``assistant_prefix``. Layouts (docs/method.md step 6):

- ``errata`` (ours): general instructions, question, the whole solution with numbered steps, then which unit of which
  step and which kind last, so that all edits of one solution share a long prefix in the engine's cache. The model
  rewrites that unit alone. With examples an equation is shown alone: beside its own solution a small model copies it;
- ``paper``: question, the solution up to the step, the step, then the instruction (arXiv 2410.06638, figure 2);
- ``scripts``: the ``paper`` layout with the reply's fence opened but the step's label left to the model.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from errata.arithmetic import find_equations, strip_marks
from errata.edit_turns import ALONE, FENCE, EditTask, edit_answer, edit_turn, example_task
from errata.few_shot import shown_edit, solved_examples
from errata.prompt_config import (
    OPENING_NONE,
    OPENING_STEPS,
    EditExample,
    EditPromptConfig,
    SolvePromptConfig,
    filled,
)
from errata.steps import separator
from errata.thoughts import after_thoughts
from errata.types import Domain, Message, Prompt, Reason, Step
from errata.units import Unit

Layout = Literal["errata", "paper", "scripts"]

SOLVE_VERSION = "solve/1"
MINED_VERSION = "mined/1"
SLIP_VERSION = "slip/1"
EDIT_VERSIONS: dict[Layout, str] = {"errata": "edit-errata/2", "paper": "edit-paper/1", "scripts": "edit-scripts/1"}
FEW_SHOT_VERSION = "edit-errata/3"

_REASON: dict[Domain, str] = {
    Domain.MATH: "Please reason step by step, and put your final answer within \\boxed{}.",
    Domain.CHOICE: "Please reason step by step, and put the letter of your choice within \\boxed{}.",
    Domain.LOGIC: "Please reason step by step, and give your final answer as JSON within \\boxed{}.",
    Domain.CODE: "Please reason step by step, and give your final answer as Python code in a code fence.",
}
_OURS = SolvePromptConfig()
SOLVE_PREFIX = "Let's think step by step.\nStep 1: "

_FENCED = re.compile(r"```[\w+-]*[ \t]*\n?")
_ANY_LABEL = re.compile(r"\A\s*(?:\[\d+\]\s*)?(?:(?:\*\*)?Step\s+\d+\s*[:.)](?:\*\*)?\s*)?", re.I)
_PROSE = re.compile(
    r"\A\s*(?:sure|certainly|of course|okay|ok|here(?:'s| is)|(?:the )?(?:edited|rewritten|modified|revised|new) step)"
    r"[^\n]*?:[ \t]*\n",
    re.I,
)


def solve_prompt(question: str, domain: Domain = Domain.MATH, config: SolvePromptConfig | None = None) -> Prompt:
    """The prompt that asks for a solution. The full solution text is ``assistant_prefix`` + completion.

    The prefix is part of the solution (docs/method.md step 2): a stored solution starts with it. ``config``: system
    prompt, examples, template and opening; without one, ours alone.
    """
    asked = config or _OURS
    examples = solved_examples(asked.few_shot, domain, question)
    turns = [turn for each in examples for turn in _turns(_solve_turn(each.question, domain, asked), each.solution)]
    user = Message("user", _solve_turn(question, domain, asked))
    return Prompt((*_system(asked.system), *turns, user), solve_opening(asked.opening, domain), solve_version(asked))


def solve_message(question: str, domain: Domain) -> str:
    """The user's turn of ``solve_prompt`` without a configuration, for those who make it of many questions."""
    return _solve_turn(question, domain, _OURS)


def solve_messages(questions: Iterable[str], domain: Domain) -> list[str]:
    """``solve_message`` of each question."""
    return [_solve_turn(question, domain, _OURS) for question in questions]


def solve_version(config: SolvePromptConfig) -> str:
    """The version of the texts that a solution is asked with; a template of the operator's own has a hash of it."""
    return SOLVE_VERSION if config.template is None else _own_version("solve", config.template)


def solve_opening(opening: str, domain: Domain = Domain.MATH) -> str:
    """The text that a setting ``opening`` makes a solution begin with; a solution in code begins as the model likes."""
    if opening == OPENING_NONE:
        return ""
    if opening == OPENING_STEPS:
        return SOLVE_PREFIX if domain is not Domain.CODE else ""
    return opening


def _solve_turn(question: str, domain: Domain, config: SolvePromptConfig) -> str:
    if config.template is None:
        return f"{question.strip()}\n\n{_REASON[domain]}"
    return filled(config.template, {"question": question.strip(), "instruction": _REASON[domain]})


def _system(text: str | None) -> tuple[Message, ...]:
    return () if text is None else (Message("system", text),)


def _turns(asked: str, answered: str) -> tuple[Message, Message]:
    return Message("user", asked), Message("assistant", answered)


def _own_version(name: str, template: str) -> str:
    return f"{name}-own/{hashlib.sha256(template.encode()).hexdigest()[:12]}"


def edit_prompt(
    question: str,
    solution: str,
    steps: Sequence[Step],
    index: int,
    kind: str,
    *,
    domain: Domain = Domain.MATH,
    layout: Layout = "errata",
    offered: int | None = None,
    unit: Unit | None = None,
    config: EditPromptConfig | None = None,
    examples: Sequence[EditExample] = (),
) -> Prompt:
    """The prompt that asks for one erroneous rewriting in step ``index``.

    Layout ``errata``: the model rewrites ``unit`` alone, by default all that is offered. The reply opens inside a code
    fence, behind all that the step says before the unit, and ends with the unit's line, or at the closing fence where
    the unit has several lines (``parse_unit_reply`` reads it). The other layouts ask for the whole step: the reply
    opens behind the step's label (``paper``) or at once (``scripts``), and ends at the closing fence (``parse_reply``).
    ``offered``: the offset in ``solution`` from which the step may be changed (errata.steps.offered_span); what stands
    before it opens the reply too (``scripts``: does not). ``config``: system prompt and template. ``examples`` stand
    first, as turns (errata.few_shot.edit_examples); one that shows no edit of a unit is left out. Raises KeyError for a
    kind the domain does not have.
    """
    asked = config or EditPromptConfig()
    alone = bool(examples) and asked.context == "unit" and asked.template is None
    task = EditTask(question, solution, steps, index, kind, domain, layout, offered, unit, alone)
    version = edit_version(layout, few_shot=bool(examples), template=asked.template)
    turns: list[Message] = [*_system(asked.system or (ALONE if alone and layout == "errata" else None))]
    for example in examples:
        if (shown := shown_edit(example, domain)) is not None:
            own = example_task(example, shown, task)
            turns += _turns(edit_turn(own, asked.template), edit_answer(own, shown))
    turns.append(Message("user", edit_turn(task, asked.template)))
    return Prompt(tuple(turns), task.opening, version, (task.stop,))


def edit_version(layout: Layout, *, few_shot: bool = False, template: str | None = None) -> str:
    """The version of the texts that an edit is asked with; a template of the operator's own has a hash of it."""
    if template is not None:
        return _own_version(f"edit-{layout}", template)
    return FEW_SHOT_VERSION if few_shot and layout == "errata" else EDIT_VERSIONS[layout]


def edit_version_of(config: EditPromptConfig) -> str:
    """The version of the texts that a job's edits are asked with."""
    return edit_version(config.layout, few_shot=bool(config.few_shot), template=config.template)


@dataclass(frozen=True, slots=True)
class Reply:
    """The edited step as it is to be spliced in, label and separator included; or why there is none."""

    text: str | None
    reason: Reason | None = None


def parse_reply(completion: str, *, original_step: str, label: str) -> Reply:
    """The step a reply holds. ``completion`` continues an opened fence behind ``label`` (``edit_prompt``).

    The label and the separator are the original's: a reply can change neither. A second fenced block wins over prose
    that a model wrote into the first. Thoughts are no part of it. Reasons: ``unparsable_reply``, ``empty``.
    """
    body = _body(after_thoughts(completion))
    if body is None:
        return Reply(None, Reason.NO_REPLY)
    own_label = _ANY_LABEL.match(original_step)
    # Label and separator come from the original step, so that no reply can renumber steps or join two of them.
    kept_label = label or (own_label[0] if own_label else "")
    repeated = _ANY_LABEL.match(body)
    if (kept_label.strip() and repeated and repeated[0].strip()) or (repeated and repeated[0].lstrip().startswith("[")):
        body = body[repeated.end() :]
    body = _without_opening(body.strip(), kept_label)
    if not body:
        return Reply(None, Reason.EMPTY)
    return Reply(kept_label + body + separator(original_step))


def parse_unit_reply(completion: str, solution: str, step: Step, unit: Unit) -> Reply:
    """The unit a reply holds, to be spliced in at the unit's offsets. ``completion`` continues ``edit_prompt``.

    A reply that goes on behind the unit is cut: an equation ends where its last number does, and what follows the unit
    in its line is dropped where the reply repeats it. Calculator marks are dropped too: the program writes them.
    Reasons: ``unparsable_reply``, ``empty``.
    """
    completion = after_thoughts(completion)
    body = completion.split(FENCE)[0].split("\n")[0] if unit.one_line else _body(completion)
    if body is None:
        return Reply(None, Reason.NO_REPLY)
    body = _without_opening(strip_marks(body).strip(), strip_marks(solution[step.start : unit.start]))
    tail = strip_marks(solution[unit.end : step.end].split("\n")[0]).strip()
    if tail and body.endswith(tail) and body != tail:
        body = body[: -len(tail)].rstrip()
    if unit.kind == "equation" and (equations := find_equations(body)):
        body = body[: equations[0].end]
    return Reply(body) if body else Reply(None, Reason.EMPTY)


def _without_opening(body: str, opening: str) -> str:
    """A reply that says again what it was made to open with ("2. ", the sentences it was not offered) says it once."""
    own_label = _ANY_LABEL.match(opening)
    for said in (opening.strip(), opening[own_label.end() if own_label else 0 :].strip()):
        if said and body.startswith(said):
            return body[len(said) :].lstrip()
    return body


def _body(completion: str) -> str | None:
    """The text before the closing fence; where the model opened a fence of its own, the text inside that one."""
    text = _PROSE.sub("", completion)
    fences = list(_FENCED.finditer(text))
    if not fences:
        return text
    # The prompt opened a fence already, so the first fence in the reply closes it, unless the model opened another.
    head = text[: fences[0].start()]
    if head.strip() and not _PROSE.match(head + "\n"):
        return head
    if len(fences) > 1:
        return text[fences[0].end() : fences[1].start()]
    return text[fences[0].end() :] if not head.strip() else None
