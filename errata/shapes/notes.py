"""What to say of a dataset whose pairs have few whole forms: why, what a loader then gets, and what helps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from errata.output_config import ShapeName
from errata.rests import LeftOut
from errata.shapes.registry import SHAPES

_FEW = 0.5  # a smaller share of whole pairs is told

_WHY: Mapping[LeftOut, str] = {
    LeftOut.ANSWER_STAYS: "their rejected side would come to the right answer all the same",
    LeftOut.NO_REST: "the error cannot be carried to an answer by program, and no continuation ends at a wrong one",
    LeftOut.CUT: "a solution was cut at its limit of tokens",
}
_HELPS: Mapping[LeftOut, str] = {
    LeftOut.ANSWER_STAYS: (
        '`editing.form: {"consistent": 1}`, mode `dynamic` or `proof.continuations.when: "always"` in the injection'
        " job; or `whole_right_answers: true` in the dataset, which is right for DPO and ORPO and wrong for KTO"
    ),
    LeftOut.NO_REST: '`proof.continuations.when: "always"` in the injection job: a model then goes on from the error',
    LeftOut.CUT: "a higher `sampling.max_tokens` in the injection job",
}


def whole_notes(
    whole: int, left_out: Mapping[LeftOut, int], shapes: Iterable[ShapeName], default: ShapeName | None
) -> list[str]:
    """Sentences for a dataset of these shapes in which ``whole`` pairs go on to their answers; none where most do.

    ``left_out`` counts the others by reason. ``default``: what ``load_dataset(folder)`` gives.
    """
    wanted = [name for name in shapes if SHAPES[name].ends == "answer" and SHAPES[name].samples is None]
    total = whole + sum(left_out.values())
    if not wanted or not total or whole / total >= _FEW:
        return []
    named = ", ".join(f"`{name}`" for name in wanted)
    pairs, holds = "pair has" if total == 1 else "pairs have", "holds" if len(wanted) == 1 else "hold"
    if whole:
        notes = [f"Only {whole:,} of {total:,} {pairs} a whole form: {named} {holds} no others."]
    else:
        notes = [f"None of the {total:,} {pairs} a whole form, so {named} {holds} no rows. {_loaded(default)}"]
    for why, count in sorted(left_out.items(), key=lambda item: (-item[1], item[0])):
        if count:
            notes.append(f"{count:,} have none because {_WHY[why]}. What helps: {_HELPS[why]}.")
    return notes


def _loaded(default: ShapeName | None) -> str:
    own = "Errata's own trainer takes the pairs as they are (`steps_and_full`)."
    if default is None:
        return f"`load_dataset` without a name gives nothing. {own}"
    trained = SHAPES[default].trl
    if "SFTTrainer" in trained:
        return f"`load_dataset` without a name gives `{default}`: correct samples to imitate, no preferences. {own}"
    return f"`load_dataset` without a name gives `{default}`. {own}"
