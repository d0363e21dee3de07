"""Runs untrusted code against tests, isolated as far as this machine allows. A script: standard library only.

Reads one JSON job on stdin, forks, isolates and limits the fork, waits for it at most ``seconds``, and prints one JSON
result. Root becomes ``nobody``; anyone else enters a user namespace, and without that nothing is run. Network, process
and mount namespaces are added where the kernel allows; in a mount namespace every file system is read-only but the
scratch folder, and /proc is hidden. Usual modules are imported first, since ``nobody`` may not be able to read them.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
from typing import Any

_USUAL_MODULES = (
    "abc bisect cmath collections collections.abc copy datetime decimal enum fractions functools heapq itertools math"
    " operator random re statistics string textwrap types typing dataclasses"
)
_NEWNS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
_MS_PRIVATE_RECURSIVE = 0x4000 | 0x40000
_NOBODY = 65534
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000
_CAPABILITY_VERSION_3 = 0x20080522
_MAX_RESULT = 10_000

_libc = ctypes.CDLL(None, use_errno=True)


def _unshare(flags: int) -> bool:
    return int(_libc.unshare(flags)) == 0


def isolate() -> bool:
    """Enter new namespaces for what is forked next. False where not even a user of one's own is possible."""
    if os.geteuid() == 0:
        for flags in (_NEWNET | _NEWPID | _NEWIPC | _NEWNS, _NEWNET | _NEWPID | _NEWIPC, _NEWNET):
            if _unshare(flags):
                break
        return True  # becomes nobody in ``_drop``
    for flags in (_NEWNET | _NEWPID | _NEWIPC | _NEWNS, _NEWNET | _NEWPID, _NEWNET):
        if _unshare(_NEWUSER | flags):
            return True
    return False


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns_fd")]


def _hide_files(scratch: str) -> None:
    """Make every file system read-only but the scratch folder, where a mount namespace was granted. Best effort."""
    if _libc.mount(b"none", b"/", None, _MS_PRIVATE_RECURSIVE, None) != 0:
        return
    attributes = _MountAttributes(1, 0, 0, 0)
    _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, ctypes.byref(attributes), ctypes.sizeof(attributes))
    _libc.mount(b"tmpfs", b"/proc", b"tmpfs", 0, b"size=4k")
    _libc.mount(b"tmpfs", scratch.encode(), b"tmpfs", 0, b"size=16m,mode=0777")


def _drop(memory_mb: int, seconds: int) -> None:
    """Give up user, capabilities and resources. Raises OSError where the user cannot be left."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _libc.capset(header, (ctypes.c_uint32 * 6)())
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for limit, amount in (
        (resource.RLIMIT_CPU, seconds + 1),
        (resource.RLIMIT_AS, memory_mb << 20),
        (resource.RLIMIT_FSIZE, 16 << 20),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_NPROC, 32),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        bound = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(limit, (bound, bound))


def run(code: str, tests: list[str]) -> tuple[str, str]:
    """Outcome and report of running the tests in the namespace the code leaves behind."""
    try:
        program = compile(code, "<answer>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return "syntax", f"{type(error).__name__}: {error}"
    namespace: dict[str, Any] = {"__name__": "__answer__"}
    what = "the code itself"
    try:
        exec(program, namespace)
        for number, test in enumerate(tests, start=1):
            what = f"test {number} ({' '.join(test.split())[:200]})"
            exec(compile(test, "<test>", "exec"), namespace)
    except MemoryError:
        return "limit", f"{what}: too much memory"
    except BaseException as error:  # whatever untrusted code raises, SystemExit included, is a failure
        return "failed", f"{what}: {type(error).__name__}: {str(error)[:200]}"
    return "passed", f"{len(tests)} tests passed"


def _inside(job: dict[str, Any], result_fd: int) -> None:
    """The forked side: never returns."""
    nonce = job.pop("nonce")
    try:
        _hide_files(job["scratch"])
        os.chdir(job["scratch"])
        quiet = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(quiet, fd)
        _drop(job["memory_mb"], job["seconds"])
    except OSError as error:
        _send(result_fd, {"outcome": "not_isolated", "report": str(error)})
        os._exit(1)
    outcome, report = run(job["code"], job["tests"])
    _send(result_fd, {"outcome": outcome, "report": report, "nonce": nonce})
    os._exit(0)


def _send(fd: int, result: dict[str, Any]) -> None:
    os.write(fd, json.dumps(result).encode()[: _MAX_RESULT - 1] + b"\n")


def _await(pid: int, fd: int, seconds: int) -> bytes:
    """The fork's result, or what its end says; it is dead when this returns."""
    deadline = time.monotonic() + seconds
    data = b""
    while time.monotonic() < deadline and len(data) < _MAX_RESULT:
        ready, _, _ = select.select([fd], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            break
        piece = os.read(fd, _MAX_RESULT)
        if not piece:
            break
        data += piece
    late = not data and time.monotonic() >= deadline
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if data:
        return data.partition(b"\n")[0]  # a copy of the process, forked by the code, may have written another
    ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if late or ended == signal.SIGXCPU:
        return json.dumps({"outcome": "limit", "report": f"took longer than {seconds} s", "late": True}).encode()
    return json.dumps({"outcome": "failed", "report": "the process ended before its tests did"}).encode()


def main() -> None:
    """One job from stdin to stdout."""
    job = json.load(sys.stdin)
    for name in _USUAL_MODULES.split():
        importlib.import_module(name)
    nonce, seconds = job["nonce"], int(job["seconds"])
    if os.geteuid() == 0:
        os.chown(job["scratch"], _NOBODY, _NOBODY)
    if not isolate():
        print(json.dumps({"outcome": "not_isolated", "report": "no user namespace"}))  # noqa: T201
        return
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _inside(job, writer)
    os.close(writer)
    result = json.loads(_await(pid, reader, seconds))
    if result.pop("late", False):
        result["nonce"] = nonce
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main()
