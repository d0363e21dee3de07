"""Datasets and trained models to the Hugging Face hub, from the machine that the client runs on.

The hub's token never reaches the service: what is pushed is downloaded first, checked against its manifest, and then
uploaded by ``huggingface_hub`` (extra ``hub``). The hub's address and token are that library's own (``HF_ENDPOINT``,
``HF_TOKEN`` or ``hf auth login``) unless they are given. A hub of one's own without Xet storage needs
``HF_HUB_DISABLE_XET=1``: large files then go by LFS.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from errata_client.errors import ErrataError
from errata_client.records import LanguageModel

RepoType = Literal["dataset", "model"]
_CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push left on the hub: the repository's address, the commit, and whether only its owner sees it."""

    url: str
    commit: str
    private: bool


@dataclass(frozen=True, slots=True)
class HubTarget:
    """Where to: ``repo`` is ``owner/name``. ``revision``: a branch that exists; None: the main one."""

    repo: str
    private: bool = True
    revision: str | None = None
    token: str | None = None
    endpoint: str | None = None


def push_folder(folder: Path, kind: RepoType, target: HubTarget, message: str) -> Pushed:
    """Upload a folder as one commit, in place of what the repository holds; make the repository where it is missing.

    Raises ErrataError where ``huggingface_hub`` is not installed, where a private push would go into a repository that
    is public, and with the hub's own words where it refuses or cannot be reached.
    """
    api = _library().HfApi(endpoint=target.endpoint, token=target.token)
    try:
        made = api.create_repo(target.repo, repo_type=kind, private=target.private, exist_ok=True)
        private = bool(api.repo_info(target.repo, repo_type=kind).private)
        if target.private and not private:
            raise ErrataError(f"{target.repo} is public; say private=False to push to it, or name another repository")
        commit = api.upload_folder(
            repo_id=target.repo,
            repo_type=kind,
            folder_path=folder,
            revision=target.revision,
            commit_message=message,
            delete_patterns="*",  # files of an earlier version must not be read with those of this one
        )
    except ErrataError:
        raise
    except Exception as error:  # whatever the library and its transports raise: httpx, xet, validation, OSError
        raise ErrataError(f"the hub did not take {target.repo}: {error}") from error
    return Pushed(str(made), commit.oid, private)


def push_dataset(folder: Path, dataset_id: str, target: HubTarget, licence: str | None) -> Pushed:
    """Upload a downloaded dataset to the hub's dataset repository.

    ``licence`` goes into the card, as the hub names licences (``mit``). Raises ErrataError where the hub refuses, or
    where a private push is asked of a public repository.
    """
    if licence is not None:
        set_licence(folder, licence)
    return push_folder(folder, "dataset", target, f"Errata dataset {dataset_id}")


def push_model(folder: Path, model: LanguageModel, target: HubTarget, licence: str | None) -> Pushed:
    """Upload a downloaded model to the hub's model repository, as for a dataset."""
    write_model_card(folder, model.id, model.base_model, licence)
    return push_folder(folder, "model", target, f"Errata model {model.id}")


def set_licence(folder: Path, licence: str) -> None:
    """Write the licence into the head of a dataset's card. Its manifest describes the card as it was frozen."""
    card = folder / _CARD
    head, mark, rest = card.read_text(encoding="utf-8").removeprefix("---\n").partition("\n---\n")
    if not mark:
        raise ErrataError(f"{_CARD}: the card has no head to write the licence into")
    lines = [line for line in head.split("\n") if not line.startswith("license:")]
    card.write_text(
        "---\n" + "\n".join([f"license: {json.dumps(licence)}", *lines]) + mark + rest, encoding="utf-8", newline="\n"
    )


def write_model_card(folder: Path, name: str, base: str | None, licence: str | None) -> None:
    """A card for a trained model that has none."""
    if (folder / _CARD).exists():
        return
    head = ["library_name: transformers", "tags:", "- dpo", "- errata"]
    head += [f"license: {json.dumps(licence)}"] if licence else []
    text = f"{name}, trained by Errata" + (f" from {base}." if base else ".")
    (folder / _CARD).write_text("\n".join(["---", *head, "---", "", f"# {name}", "", text, ""]), encoding="utf-8")


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise ErrataError(
            "pushing needs the package huggingface_hub, which is not installed: pip install huggingface_hub"
        ) from None
    return huggingface_hub
