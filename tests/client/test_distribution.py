"""The client as a distribution of its own: what it holds, what it needs, and what lies beside it."""

from __future__ import annotations

import marshal
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import find_namespace_packages

import errata_client
from tests.processes import ROOT

CLIENT = ROOT / "client"
_BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the client, built from a copy: building leaves files behind."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(CLIENT, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    subprocess.run([sys.executable, "-c", _BUILD, str(folder)], cwd=source, check=True, capture_output=True)
    return next(folder.glob("errata_client-*.whl"))


def needed(names: list[str]) -> dict[str, metadata.Distribution]:
    """Installed distributions with everything that they need here."""
    found: dict[str, metadata.Distribution] = {}
    while names:
        name = canonicalize_name(names.pop())
        if name not in found:
            found[name] = metadata.distribution(name)
            asked = map(Requirement, found[name].requires or [])
            names += [each.name for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="session")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``pip install`` of the wheel leaves it: the client, what it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    for each in needed(["httpx2", "pydantic"]).values():
        for part in {file.parts[0] for file in each.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            (folder / part).symlink_to(str(each.locate_file(part)))
    return folder


def test_the_wheel_holds_the_client_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [about] = [name for name in names if name.endswith(".dist-info/METADATA")]
        told = archive.read(about).decode()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"errata_client", about.split("/")[0]}
    assert {"errata_client/py.typed", "errata_client/_async/service.py"} <= set(names)
    requires = [Requirement(line) for line in re.findall(r"(?m)^Requires-Dist: (.*)$", told)]
    assert {each.name for each in requires if each.marker is None} == {"httpx2", "pydantic"}
    assert (CLIENT / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_both_distributions_agree() -> None:
    ours, service = (
        tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"] for folder in (CLIENT, ROOT)
    )
    assert ours["version"] == service["version"]
    assert set(ours["dependencies"]) <= set(service["dependencies"])


def test_the_service_packages_the_client_once_and_the_old_name() -> None:
    find = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"][
        "find"
    ]
    found = [
        package
        for where in find["where"]
        for package in find_namespace_packages(str(ROOT / where), find["exclude"], find["include"])
    ]
    assert {package for package in found if package.startswith("client")} == {"client"}
    assert {"errata_client", "errata_client._async", "cli.user"} <= set(found)


def test_nothing_of_ours_uses_the_old_name() -> None:
    rooms = ("api", "bench", "cli", "client/src", "demo", "errata", "models", "tests", "workers")
    files = [path for room in rooms for path in (ROOT / room).rglob("*.py") if path != Path(__file__)]
    old = re.compile(r"^\s*(from client[. ]|import client\b)", re.M)
    assert [str(path) for path in files if old.search(path.read_text(encoding="utf-8"))] == []


def test_the_links_of_its_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (CLIENT / "README.md").read_text(encoding="utf-8")):
        assert (CLIENT / target).exists(), target


def test_every_name_it_exports_is_there() -> None:
    for name in errata_client.__all__:
        assert getattr(errata_client, name).__name__ == name
    assert not hasattr(errata_client, "AsyncNothing")


def test_it_is_small() -> None:
    """In bytes, as pip installs it: unpacked, and with the bytecode that pip adds unless told `--no-compile`."""
    sources = list(CLIENT.glob("src/errata_client/**/*.py"))
    size = sum(file.stat().st_size for file in sources)
    bytecode = sum(len(marshal.dumps(compile(file.read_text(encoding="utf-8"), file.name, "exec"))) for file in sources)
    for each in needed(["httpx2", "pydantic"]).values():
        for file in each.files or []:
            if file.suffix != ".pyc":
                size += file.size or 0
            elif (there := Path(str(each.locate_file(file)))).is_file():
                bytecode += there.stat().st_size
    assert len(sources) > 30
    assert size < 10_000_000
    assert size + bytecode < 15_000_000


PROJECT = """
import sys
import client, errata_client, models
BEFORE = set(sys.modules)
from errata_client import AsyncErrata, Errata, ErrataError
print(client.NAME, models.NAME)
print(sorted(name for name in ("asyncio", "pandas", "datasets", "rich", "typer", "sqlalchemy") if name in BEFORE))
try:
    Errata("http://127.0.0.1:9", retries=0).datasets.to_pandas("ds_1")
except ErrataError as error:
    print(error)
"""


def test_a_project_with_a_client_and_models_of_its_own(site: Path, tmp_path: Path) -> None:
    for name in ("client", "models"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"NAME = 'my {name}'\n", encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(site)}
    bare = subprocess.run([sys.executable, "-S", "-c", PROJECT], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert bare.stdout.splitlines() == [
        "my client my models",
        "[]",
        "to_pandas needs the package pandas, which is not installed: pip install pandas pyarrow",
    ], bare.stderr
    beside = "import client, models, errata_client; print(client.NAME, models.NAME, errata_client.Errata.__name__)"
    del env["PYTHONPATH"]  # the service's own installation beside such a project
    full = subprocess.run([sys.executable, "-c", beside], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert full.stdout.split() == ["my", "client", "my", "models", "Errata"], full.stderr


def test_the_old_name_is_the_same_modules_with_a_warning() -> None:
    code = "from client.records import Job; from client import Errata; import errata_client.records as new"
    code += "; print(Job is new.Job, Errata.__module__)"
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "errata_client.service"], done.stderr
    assert "DeprecationWarning: the package client is now errata_client" in done.stderr
