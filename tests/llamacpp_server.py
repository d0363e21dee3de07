"""A real llama.cpp server as a process, from the package ``xllamacpp``, which embeds it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

from tests.lacking import lacking
from tests.processes import ROOT, until
from tests.vllm_server import free_port

MODEL = "served"
# Run by the server's process: it serves until it is ended.
_SERVE = """
import sys, threading, xllamacpp
gguf, port, context, slots, alias = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path, params.model_alias = gguf, [alias]
params.hostnames, params.port = ["127.0.0.1"], int(port)
params.n_parallel, params.n_ctx = int(slots), int(context) * int(slots)
# One thread, waiting without spinning: on busy cores two that spin for each other starve.
for used in (params.cpuparams, params.cpuparams_batch):
    used.n_threads, used.poll = 1, 0
params.n_threads_http = int(slots) + 2
params.warmup, params.offline = False, True
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
threading.Event().wait()
"""


def need_llamacpp() -> None:
    """Skip the test where xllamacpp is not installed, but in CI: `make test-llamacpp` installs it."""
    if find_spec("xllamacpp") is None:
        lacking("xllamacpp is not installed; run `make test-llamacpp`")


class LlamaServer:
    """A server of one GGUF file on CPU; ``slots`` sequences at once, each with a context of ``context`` tokens."""

    def __init__(self, gguf: Path, *, context: int = 1024, slots: int = 4) -> None:
        self._arguments = (str(gguf), str(context), str(slots))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server

    def config(self, **more: Any) -> dict[str, Any]:
        """A registry entry's settings for this server."""
        return {"base_url": self.url, "model": MODEL, **more}

    def __enter__(self) -> LlamaServer:
        gguf, *sizes = self._arguments
        command = [sys.executable, "-c", _SERVE, gguf, str(self.port), *sizes, MODEL]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, env=env, cwd=ROOT, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            until(lambda: self.ended or self._healthy(), "a llama.cpp server", seconds=180)
            assert not self.ended, self.log()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._log.close()

    @property
    def ended(self) -> bool:
        """Whether the server's process is gone."""
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """SIGKILL for the server."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)

    def log(self) -> str:
        """The end of what it has written."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-4000:]

    def _healthy(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=2).status_code == 200
        except httpx.TransportError:
            return False
