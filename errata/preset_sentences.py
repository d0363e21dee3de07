"""What each preset is for, in a sentence: shown where one is chosen. The presets themselves stand in their modules."""

from __future__ import annotations

#: Of injection jobs (errata.config.PRESETS).
INJECTION: dict[str, str] = {
    "errata": "the model edits in words, then by its likely slips, then rules do; only proven errors",
    "paper": "as in the paper: five samples, greedy edits, unproven ones kept",
    "scripts": "as the paper's released scripts do it",
    "full-only": "a control: pairs of whole solutions, no step pairs",
    "step-only": "a control: step pairs, no pairs of whole solutions",
    "random-token": "a control: a token replaced by chance, unproven",
    "rules": "rules edit in place of a model; needs brought solutions or a model that solves",
    "slip": "the model's own likeliest wrong tokens; for models below 1 billion weights",
    "mined": "the model writes every step anew; what is proven wrong of that is the rejected side",
}
#: Of training runs (workers.training.config.PRESETS).
TRAINING: dict[str, str] = {
    "errata": "DPO with our settings",
    "paper": "DPO as in the paper: NLL weight 0.05, a mean for each term, end of sequence after full solutions",
    "scripts": "DPO as the paper's released scripts do it",
    "sft": "imitates the chosen solutions, no preferences",
    "step-nll": "imitates the chosen steps alone, no preferences",
}
