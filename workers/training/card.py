"""The model card of a trained model: what it came from and how, as README.md with YAML front matter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_OBJECTIVE = {
    "dpo": "preference learning on step and full pairs (RISE, arXiv 2410.06638)",
    "sft": "fine-tuning on its own correct solutions (the control)",
}


def render_card(lineage: Mapping[str, Any], config: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """The card's text. ``lineage`` names model, base model, run, dataset, injection jobs and problem sets."""
    front = {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["errata", config["objective"]]}
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---", ""]
    lines += [f"# {lineage.get('name', 'A model trained by Errata')}", ""]
    lines += [f"Made from **{lineage.get('base_model', 'its base model')}** by {_OBJECTIVE[config['objective']]}.", ""]
    lines += ["## Lineage", "", "| | |", "|---|---|"]
    lines += [f"| {key.replace('_', ' ')} | {_cell(value)} |" for key, value in lineage.items()]
    lines += ["", "## Training", "", "| figure | value |", "|---|---|"]
    lines += [f"| {key.replace('_', ' ')} | {_cell(value)} |" for key, value in summary.items()]
    lines += ["", "## Settings", "", "```json", json.dumps(config, indent=1, sort_keys=True), "```", ""]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("|", "\\|").replace("\n", " ")
