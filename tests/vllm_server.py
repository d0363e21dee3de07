"""A real vLLM server as a process, from the environment that `make test-vllm` builds."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes import until

MODEL = "served"
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "OMP_NUM_THREADS": "1",
    "TORCH_COMPILE_DISABLE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # On CPU: one process for engine and model, as on one GPU. Otherwise two that wait for each other by spinning, and
    # requests starve on few cores.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
    "VLLM_SERVER_DEV_MODE": "1",  # has the page that empties the prefix cache
}


def vllm_python() -> str:
    """The interpreter of the environment that has vLLM; the test fails where ERRATA_VLLM_PYTHON does not name one."""
    python = os.environ.get("ERRATA_VLLM_PYTHON", "")
    if not Path(python).is_file():
        pytest.fail("these tests need vLLM: run them with `make test-vllm`")
    return python


def free_port() -> int:
    """One that stays free until the server listens, and while it is started again.

    It lies below the ports that the kernel gives to outgoing connections: one of those is soon another's.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise OSError("100 ports were tried, and none is free")


class VllmServer:
    """A server of one model on CPU in float32, on a free port, which it keeps when killed and started again."""

    def __init__(
        self, model: Path, *, max_model_len: int = 1024, cache: str = "128M", more: tuple[str, ...] = ()
    ) -> None:
        """``cache``: memory of keys and values; ``more``: arguments for vLLM."""
        self._model, self._context, self._cache, self._more = model, max_model_len, cache, more
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server

    def config(self, **more: Any) -> dict[str, Any]:
        """A registry entry's settings for this server."""
        return {"base_url": self.url, "model": MODEL, **more}

    def start(self) -> None:
        """Start and return at once."""
        command = [vllm_python(), "-m", "vllm.entrypoints.openai.api_server", "--model", str(self._model)]
        command += ["--served-model-name", MODEL, "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--dtype", "float32", "--enforce-eager", "--block-size", "32", "--enable-prompt-tokens-details"]
        command += ["--no-enable-chunked-prefill"]  # on CPU with seeds (workers.engines.vllm_engine)
        command += ["--max-model-len", str(self._context), "--kv-cache-memory-bytes", self._cache]
        command += self._more
        env = os.environ | _ENVIRONMENT
        self._process = subprocess.Popen(
            command, env=env, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def wait(self) -> None:
        """Wait until it answers. Raises AssertionError with its log where it ends instead."""
        until(lambda: self.ended or self._healthy(), "a vLLM server", seconds=420)
        assert not self.ended, self.log()

    def kill(self) -> None:
        """SIGKILL for the server and its engine process."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)

    @property
    def ended(self) -> bool:
        """Whether the server's process is gone."""
        return self._process is None or self._process.poll() is not None

    def metrics(self) -> dict[str, float]:
        """The server's own counters, summed over their labels."""
        totals: dict[str, float] = {}
        for line in httpx.get(f"http://127.0.0.1:{self.port}/metrics").text.splitlines():
            if line.startswith("vllm:"):
                name, _, value = line.rpartition(" ")
                name = name.partition("{")[0]
                totals[name] = totals.get(name, 0.0) + float(value)
        return totals

    def empty_cache(self) -> None:
        """Forget every cached prefix. Raises httpx.HTTPStatusError where it does not."""
        httpx.post(f"http://127.0.0.1:{self.port}/reset_prefix_cache").raise_for_status()

    def version(self) -> str:
        """The version it tells."""
        return str(httpx.get(f"http://127.0.0.1:{self.port}/version").json()["version"])

    def log(self) -> str:
        """The end of what it has written."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-4000:]

    def __enter__(self) -> VllmServer:
        self.start()
        try:
            self.wait()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._log.close()

    def _healthy(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=2).status_code == 200
        except httpx.TransportError:
            return False
