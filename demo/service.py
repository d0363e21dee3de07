"""The service the demo talks to: one that runs already, or one started here as a child process (``errata serve``)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from errata_client import Errata, NotFoundError
from workers.child_process import ChildEnded, ChildLate, ChildProcess

_MARK = "Errata listens on "
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0


class DemoError(Exception):
    """Why the demo cannot go on, in a line that says what to do."""


def home() -> Path:
    """The folder everything is written to (``ERRATA_HOME``)."""
    return Path(os.environ.get("ERRATA_HOME") or "data")


@contextmanager
def service(url: str | None) -> Iterator[Errata]:
    """A client of the service at ``url``, or of one of our own that ends with the block. Raises DemoError."""
    if url is not None:
        with Errata(url) as errata:
            if not errata.ready():
                raise DemoError(f"{url} does not answer; start it with `errata serve`")
            yield errata
        return
    with _child() as own, Errata(own) as errata:
        yield errata


def register(errata: Errata, name: str, folder: Path, *, own: bool) -> None:
    """Put a model folder into the registry, as an operator would; on a foreign service it must be there already."""
    if own:  # through the command, as an operator does: the route asks for a list of allowed folders
        command = [sys.executable, "-m", "cli.main", "models", "add", name]
        command += ["--path", str(folder), "--setting", "batch_size=128"]
        command += ["--local"]  # whatever profile the user has: the service was started on this database
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DemoError(f"the model could not be registered: {done.stderr.strip()}")
    try:
        errata.models.get(name)
    except NotFoundError:
        raise DemoError(
            f"this service knows no language model '{name}'; its operator adds it with"
            f" `errata models add {name} --path {folder}`"
        ) from None


@contextmanager
def _child() -> Iterator[str]:
    """The address of ``errata serve`` as a child. It ends with us whatever happens: it watches its parent.

    Raises DemoError when it ends instead, or takes too long to start.
    """
    logs = home() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    log_file = logs / "serve.log"
    # A model of a million parameters gains nothing from a second thread, and grading works beside it.
    env = {"ERRATA_TORCH_THREADS": "1", **os.environ}
    command = [sys.executable, "-m", "cli.main", "serve", "--with-parent"]
    child = ChildProcess("serve", command, env=env, log_file=log_file)
    try:
        try:
            address = child.wait_ready(_address, _START_SECONDS)
        except (ChildEnded, ChildLate):
            words = child.last_words(lines=5)
            raise DemoError(f"the service did not start; the end of {log_file}:\n{words}") from None
        assert address is not None  # nobody cancels
        yield address
    finally:
        child.stop(_STOP_SECONDS)


def _address(line: str) -> str | None:
    """The address in the line that the child prints once it answers requests."""
    return line.removeprefix(_MARK).strip() if line.startswith(_MARK) else None
