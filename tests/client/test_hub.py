"""Pushing to the hub: ``huggingface_hub`` itself against a server that speaks the hub's protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from errata_client import ErrataError
from errata_client.hub import HubTarget, Pushed, push_folder, set_licence, write_model_card
from tests.hub_server import TOKEN, HubServer, Repository

CARD = "---\npretty_name: mine\nconfigs:\n- config_name: trl\n---\n\n# mine\n"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub of this test's own, without Xet storage."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    with HubServer() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a download leaves: a card, a manifest, a small file and one that the hub takes as a large one."""
    made = tmp_path / "dataset"
    (made / "trl").mkdir(parents=True)
    (made / "README.md").write_text(CARD, encoding="utf-8")
    (made / "manifest.json").write_text("{}\n", encoding="utf-8")
    (made / "trl" / "train.jsonl").write_text('{"prompt": "é"}\n', encoding="utf-8")
    (made / "trl" / "train.parquet").write_bytes(bytes(range(256)) * 40)
    return made


def push(hub: HubServer, folder: Path, repo: str = "me/pairs", **more: object) -> Pushed:
    return push_folder(folder, "dataset", HubTarget(repo, endpoint=hub.url, token=TOKEN, **more), "Errata dataset ds_1")  # type: ignore[arg-type]


def test_a_pushed_dataset_comes_back_byte_by_byte(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    pushed = push(hub, folder)
    assert pushed.private
    assert pushed.url.endswith("/datasets/me/pairs")
    back = Path(
        HfApi(endpoint=hub.url, token=TOKEN).snapshot_download(
            "me/pairs", repo_type="dataset", revision=pushed.commit, local_dir=tmp_path / "back"
        )
    )
    for path in (path for path in folder.rglob("*") if path.is_file()):
        assert (back / path.relative_to(folder)).read_bytes() == path.read_bytes()
    assert hub.repositories["dataset", "me/pairs"].commits == ["Errata dataset ds_1"]


def test_a_second_push_leaves_no_file_of_the_first(hub: HubServer, folder: Path) -> None:
    push(hub, folder)
    (folder / "trl" / "train.jsonl").rename(folder / "trl" / "test.jsonl")
    push(hub, folder)
    names = {name for name in hub.repositories["dataset", "me/pairs"].files if name.startswith("trl/")}
    assert names == {"trl/test.jsonl", "trl/train.parquet"}


def test_a_private_push_never_goes_into_a_public_repository(hub: HubServer, folder: Path) -> None:
    hub.repositories["dataset", "me/pairs"] = Repository(private=False)
    with pytest.raises(ErrataError, match="me/pairs is public; say private=False"):
        push(hub, folder)
    assert not hub.repositories["dataset", "me/pairs"].files
    assert not push(hub, folder, private=False).private


@pytest.mark.parametrize("repo", ["a/b/c", "bad name/x", ""])
def test_a_name_the_hub_does_not_take_is_refused_with_its_words(hub: HubServer, folder: Path, repo: str) -> None:
    with pytest.raises(ErrataError, match="the hub did not take"):
        push(hub, folder, repo)


def test_a_wrong_token_and_a_hub_that_is_away_say_so(hub: HubServer, folder: Path) -> None:
    with pytest.raises(ErrataError, match="Invalid username"):
        push_folder(folder, "dataset", HubTarget("me/pairs", endpoint=hub.url, token="hf_wrong"), "m")
    with pytest.raises(ErrataError, match="the hub did not take me/pairs"):
        push_folder(folder, "dataset", HubTarget("me/pairs", endpoint="http://127.0.0.1:9", token=TOKEN), "m")


def test_a_licence_goes_into_the_head_of_the_card_once(folder: Path) -> None:
    set_licence(folder, "mit")
    set_licence(folder, "apache-2.0")
    assert (folder / "README.md").read_text(encoding="utf-8") == CARD.replace(
        "---\n", '---\nlicense: "apache-2.0"\n', 1
    )
    (folder / "README.md").write_text("# no head\n", encoding="utf-8")
    with pytest.raises(ErrataError, match="no head"):
        set_licence(folder, "mit")


def test_a_model_gets_a_card_unless_it_has_one(tmp_path: Path) -> None:
    write_model_card(tmp_path, "mine", "Qwen/Qwen2.5-0.5B", "mit")
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert 'license: "mit"' in text
    assert "mine, trained by Errata from Qwen/Qwen2.5-0.5B." in text
    write_model_card(tmp_path, "other", None, None)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == text
