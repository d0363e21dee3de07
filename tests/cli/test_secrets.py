"""Settings that come as files of a folder: what Docker and Kubernetes mount as secrets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from cli import CliError, read_secrets
from tests.processes import environment, errata


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with mock.patch.dict(os.environ, {"ERRATA_SECRETS": str(tmp_path)}, clear=True):
        yield tmp_path


def test_a_file_is_the_setting_of_its_name_and_the_environment_comes_first(folder: Path) -> None:
    (folder / "database_url").write_text("sqlite:///x.db\n")
    (folder / "BROKER_URL").write_text("redis://elsewhere")
    os.environ["BROKER_URL"] = "memory://"
    read_secrets()
    assert os.environ["DATABASE_URL"] == "sqlite:///x.db"
    assert os.environ["BROKER_URL"] == "memory://"


def test_what_kubernetes_puts_beside_them_is_left_out(folder: Path) -> None:
    data = folder / "..2026_11_27"
    data.mkdir()
    (data / "hf_token").write_text("t")
    (folder / "..data").symlink_to(data.name)
    (folder / "hf_token").symlink_to("..data/hf_token")
    read_secrets()
    assert set(os.environ) - {"PYTEST_CURRENT_TEST"} == {"ERRATA_SECRETS", "HF_TOKEN"}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a\x00b"])
def test_a_file_that_is_no_text_is_refused(folder: Path, content: bytes) -> None:
    (folder / "hf_token").write_bytes(content)
    with pytest.raises(CliError, match="a file of it is no text"):
        read_secrets()


def test_a_folder_that_is_not_there_is_told_with_the_setting(tmp_path: Path) -> None:
    done = errata("presets", env=environment(tmp_path, ERRATA_SECRETS=str(tmp_path / "none")))
    assert done.returncode == 1
    assert "ERRATA_SECRETS=" in done.stderr
    assert "No such file or directory" in done.stderr
