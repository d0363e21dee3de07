"""Rows in the fields of consumers that cannot map ours: Tinker, LLaMA-Factory, and fine-tuning services."""

from __future__ import annotations

from errata.recipes.base import FOLDER, PREFERENCE, SFT, STEPWISE, Row, RowRecipe, Tables, first_of, splits_of

_SERVICES = "OpenAI, Together AI, Fireworks AI: preference (DPO)"
_SERVICES_MAPPING = (
    "prompt → input.messages; chosen → preferred_output; rejected → non_preferred_output (one assistant message each)."
    " The three services document the same fields."
)
Messages = list[dict[str, str]]


def preference_rows(tables: Tables) -> list[RowRecipe]:
    """Preference pairs: for services (unless ``whole_openai`` has them already), Tinker and LLaMA-Factory."""
    source = first_of(tables, PREFERENCE)
    if source is None:
        return []
    splits = splits_of(tables, source)
    found = [
        RowRecipe(
            f"{FOLDER}/tinker",
            "Tinker Cookbook: DPO",
            "ComparisonBuilderFromJsonl(train_path=…) in a DPODatasetBuilderFromComparisons",
            "prompt → comparison.prompt_conversation; chosen → comparison.completion_A; rejected →"
            " comparison.completion_B; label is always A",
            source,
            splits,
            tinker_row,
        ),
        RowRecipe(
            f"{FOLDER}/llamafactory/preference",
            "LLaMA-Factory: rows of dataset_info.json",
            "dataset: errata_preference",
            "prompt → messages; the one message of chosen → chosen; that of rejected → rejected",
            source,
            splits,
            llama_factory_row,
        ),
    ]
    if not tables.get("whole_openai", {}).get("train"):
        found.append(
            RowRecipe(
                f"{FOLDER}/openai",
                _SERVICES,
                "upload the file, purpose fine-tune, method dpo",
                _SERVICES_MAPPING,
                source,
                splits,
                openai_row,
            )
        )
    return found


def message_rows(tables: Tables) -> list[RowRecipe]:
    """Correct samples as one list of messages, which chat fine-tuning takes nearly everywhere."""
    source = first_of(tables, SFT)
    if source is None:
        return []
    return [
        RowRecipe(
            f"{FOLDER}/messages",
            "chat fine-tuning (SFT): Axolotl, LLaMA-Factory, Tinker Cookbook, Oumi, OpenAI, Together AI, Fireworks AI",
            "axolotl/sft.yaml; dataset: errata_sft; FromConversationFileBuilder; text_sft; upload the file",
            "prompt and completion → messages",
            source,
            splits_of(tables, source),
            messages_row,
        )
    ]


def process_reward_rows(tables: Tables) -> list[RowRecipe]:
    """Stepwise supervision for Axolotl, whose loader writes a line break behind each step itself."""
    if first_of(tables, ("process_reward",)) is None:
        return []
    return [
        RowRecipe(
            STEPWISE,
            "Axolotl: process reward models",
            "axolotl/process_reward.yaml",
            "prompt → prompt, ended by an empty line; completions → completions, without the line break behind each"
            " step; labels → labels",
            "process_reward",
            splits_of(tables, "process_reward"),
            stepwise_row,
        )
    ]


def stepwise_row(row: Row) -> Row:
    """Steps without the white space that set them apart: Axolotl sets them apart by its ``step_separator``."""
    steps = [step.rstrip() for step in row["completions"]]
    return {"prompt": f"{row['prompt'].rstrip()}\n\n", "completions": steps, "labels": row["labels"]}


def tinker_row(row: Row) -> Row:
    """A labelled comparison, as Tinker Cookbook's ``ComparisonBuilderFromJsonl`` reads it."""
    prompt, chosen, rejected = _sides(row)
    comparison = {"prompt_conversation": prompt, "completion_A": chosen, "completion_B": rejected}
    return {"comparison": comparison, "label": "A"}


def openai_row(row: Row) -> Row:
    """A preference example in the fields of OpenAI, Together AI and Fireworks AI."""
    prompt, chosen, rejected = _sides(row)
    return {"input": {"messages": prompt}, "preferred_output": chosen, "non_preferred_output": rejected}


def llama_factory_row(row: Row) -> Row:
    """A ranking example: LLaMA-Factory wants each side as one message, and drops the comparison from a list."""
    prompt, [chosen], [rejected] = _sides(row)
    return {"messages": prompt, "chosen": chosen, "rejected": rejected}


def messages_row(row: Row) -> Row:
    """Question and solution as one conversation."""
    return {"messages": [*_turns(row["prompt"], "user"), *_turns(row["completion"], "assistant")]}


def _sides(row: Row) -> tuple[Messages, Messages, Messages]:
    """Prompt, chosen and rejected as messages, whichever of the preference configurations the row is of."""
    if "input" in row:
        return row["input"]["messages"], row["preferred_output"], row["non_preferred_output"]
    return (
        _turns(row["prompt"], "user"),
        _turns(row["chosen"], "assistant"),
        _turns(row["rejected"], "assistant"),
    )


def _turns(value: str | Messages, role: str) -> Messages:
    """Turns as they are; a text as one turn, without the white space that set prompt and completion apart."""
    if isinstance(value, str):
        return [{"role": role, "content": value.strip()}]
    return value
