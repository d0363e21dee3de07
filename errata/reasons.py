"""Why an input yields no pair: every reason of the funnel, with the sentence a person is shown."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Each sample, problem, step and edit that yields no pair has exactly one of these."""

    # problems
    NO_SAMPLES = "no_samples"
    NO_CORRECT = "no_correct_solution"
    NO_INCORRECT = "no_incorrect_solution"
    LABEL_SUSPECT = "label_suspect"
    # samples
    NOT_DRAWN = "not_drawn"
    ADMITS_MISTAKE = "admits_mistake"
    UNPARSABLE = "unparsable_answer"
    TIMEOUT = "answer_timeout"
    PROBLEM_DROPPED = "problem_dropped"
    # steps
    ANSWER_STEP = "answer_step"
    NO_KIND = "no_kind_applies"
    FALSE_STEP = "step_already_false"
    OVER_QUOTA = "over_quota"
    # edits
    NO_RULE_EDIT = "no_rule_edit"
    NO_CHANGE = "no_change"
    EMPTY = "empty"
    NO_REPLY = "unparsable_reply"
    ADDED_STEP = "adds_or_removes_step"
    ADMITS_ERROR = "admits_error"
    BROKEN_FORMAT = "broken_format"
    LEFT_SPAN = "left_offered_span"
    TOO_FAR = "distance_too_large"
    MARK_MISMATCH = "mark_disagrees"
    FALSE_NEGATIVE = "false_negative"
    UNPROVEN = "unproven"
    NO_REST = "no_diverging_rest"
    NOT_CHOSEN = "not_chosen"


SENTENCES: dict[Reason, str] = {
    Reason.NO_SAMPLES: "The problem has no solution at all.",
    Reason.NO_CORRECT: "No sampled solution reached the gold answer.",
    Reason.NO_INCORRECT: "Every solution was right, and the preset wants a wrong one too.",
    Reason.LABEL_SUSPECT: "The samples agree with each other against the gold answer, which may be wrong.",
    Reason.NOT_DRAWN: "Another solution of the problem was drawn.",
    Reason.ADMITS_MISTAKE: "The solution admits or repairs a mistake in its own text.",
    Reason.UNPARSABLE: "No final answer could be read from the solution.",
    Reason.TIMEOUT: "Comparing the answer took too long.",
    Reason.PROBLEM_DROPPED: "The problem as a whole was set aside.",
    Reason.ANSWER_STEP: "The step only states the final answer.",
    Reason.NO_KIND: "No error kind has a false edit of this step.",
    Reason.FALSE_STEP: "An equation of the step is false already.",
    Reason.OVER_QUOTA: "The solution's quota of edited steps was used up.",
    Reason.NO_RULE_EDIT: "The rule found nothing to change.",
    Reason.NO_CHANGE: "The edit equals the original step.",
    Reason.EMPTY: "The edit is empty.",
    Reason.NO_REPLY: "No step could be read from the model's reply.",
    Reason.ADDED_STEP: "The edit adds or removes a step.",
    Reason.ADMITS_ERROR: "The edit says that it contains an error.",
    Reason.BROKEN_FORMAT: "The edit breaks fences, braces or the answer box.",
    Reason.LEFT_SPAN: "The edit changes text outside the part that was offered.",
    Reason.TOO_FAR: "The edit is farther from the original than the job allows.",
    Reason.MARK_MISMATCH: "A calculator mark disagrees with the text it annotates.",
    Reason.FALSE_NEGATIVE: "The edited step is still true, and its continuations reach the gold answer.",
    Reason.UNPROVEN: "Nothing proves the edit wrong, and the job drops unproven edits.",
    Reason.NO_REST: "No continuation of the edit missed the gold answer, and the job wants one on the rejected side.",
    Reason.NOT_CHOSEN: "The problem already has its number of step pairs.",
}
