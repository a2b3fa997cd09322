"""Running a shim's program: ``start`` gives the address of a shim, ``delete`` clears up after one.

What such a program is given, and answers, is containerd's (core/runtime/v2/README.md).
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from pinnace.api.schema.types import RuntimeInfo
from pinnace.api.schema.wellknown import Any
from pinnace.errors import Error, Unimplemented

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.daemon.task import Task
    from pinnace.store.records import TypedValue

_SECONDS = 30.0
_MAX_VERSION = 3
"""Of the Task service that we speak; programs older than version 3 do not know the variable."""


class Address(NamedTuple):
    """Where a shim listens, and the version of its Task service (2 or 3)."""

    path: str
    version: int


def parse(text: str) -> Address:
    """What ``start`` printed: a URL, or JSON around one. Raises Error when we can't talk to that."""
    text = text.strip()
    version, url = 2, text
    if text.startswith("{"):
        try:
            found = json.loads(text)
            version, url = int(found["version"]), str(found["address"])
            protocol = str(found.get("protocol") or "ttrpc")
        except (ValueError, KeyError, TypeError):
            raise Error(f"a shim's answer is not understood: {text[:200]}") from None
        if protocol != "ttrpc":
            raise Error(f"a shim speaks {protocol}, this daemon ttrpc only")
    path = url.removeprefix("unix://")
    if version not in (2, 3) or not path.startswith("/"):
        raise Error(f"a shim's answer is not understood: {text[:200]}")
    return Address(path, version)


class Programs:
    """Runs shim programs for a daemon that listens on ``address`` and, for events, ``ttrpc_address``."""

    def __init__(self, address: str, ttrpc_address: str) -> None:
        self._address = address
        self._ttrpc_address = ttrpc_address

    def start(self, program: str, task: Task, options: TypedValue | None) -> str:
        """Start a shim for a bundle; what it printed, an address. Raises Error with what went wrong."""
        message = b""
        if options is not None:
            message = Any(type_url=options.type_url, value=options.value).encode()
        text = self._run(program, task, ["start"], message).decode("utf-8", "replace").strip()
        parse(text)
        return text

    def delete(self, program: str, task: Task) -> None:
        """Have the program kill and remove what a shim left. Raises Error with what went wrong."""
        self._run(program, task, ["-bundle", task.bundle, "delete"], b"")

    def _run(self, program: str, task: Task, more: Sequence[str], stdin: bytes) -> bytes:
        words = [program, "-namespace", task.namespace, "-id", task.id, "-address", self._address]
        try:
            done = subprocess.run(
                [*words, "-publish-binary", _publisher(), *more], input=stdin, capture_output=True,
                cwd=task.bundle, env=self._environment(task), timeout=_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Error(f"{program} {more[-1]} did not end in {_SECONDS:.0f} s") from None
        except OSError as problem:
            raise Error(f"{program} cannot be run: {problem.strerror}") from None
        if done.returncode:
            said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
            raise Error(f"{program} {more[-1]} failed: {said[-2000:] or 'it said nothing'}")
        return done.stdout

    def _environment(self, task: Task) -> dict[str, str]:
        return {
            **os.environ,
            "GRPC_ADDRESS": self._address,
            "TTRPC_ADDRESS": self._ttrpc_address,
            "NAMESPACE": task.namespace,
            "MAX_SHIM_VERSION": str(_MAX_VERSION),
            "GOMAXPROCS": "2",
        }


def info(program: str, options: Any | None) -> RuntimeInfo:
    """What a program says of itself (``-info``, which those of containerd 2 know). Raises Error."""
    try:
        done = subprocess.run(
            [program, "-info"], input=options.encode() if options is not None else b"",
            capture_output=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise Error(f"{program} -info: {problem}") from None
    if done.returncode:
        raise Unimplemented(f"{program} says nothing of itself (-info)")
    return RuntimeInfo.decode(done.stdout)


def _publisher() -> str:
    """The program that publishes events (``publish --topic T --namespace N``), for shims that run one."""
    here = os.path.dirname(os.path.abspath(__file__))
    ours = os.path.normpath(os.path.join(here, *[".."] * 4, "bin", "pinnaced"))
    return ours if os.path.exists(ours) else "pinnaced"
