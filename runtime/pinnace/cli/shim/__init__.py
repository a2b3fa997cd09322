"""``containerd-shim-pinnace-v2``: our shim for Debian's containerd, which calls it as it calls every shim.

``start`` in a bundle's directory starts a shim, through the keeper where one runs, and prints its address; ``delete`` clears
up after one that was killed. Flags are those of containerd's shims (core/runtime/v2/README.md), as Go has them.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from hashlib import sha256
from typing import NamedTuple

from pinnace.errors import InvalidArgument
from pinnace.version import CONTAINERD_VERSION, REVISION

NAME = "containerd-shim-pinnace-v2"
RUNTIME = "io.containerd.pinnace.v2"
_SOCKETS = "/run/containerd/s"
_STATE = "pinnace"
"""Below the bundle: the shim's own files, which containerd removes with it."""
_KEEPER = "/run/pinnace/keeper.sock"
_KILLED = 137
_VALUES = ("namespace", "id", "address", "publish-binary", "bundle", "socket")
_SWITCHES = ("debug", "info", "v", "version", "h", "help")
_USAGE = f"""\
usage: {NAME} -namespace NAMESPACE -id ID [-address SOCKET] [-publish-binary PROGRAM] [-bundle DIRECTORY] start|delete
       {NAME} -info | -v

What containerd runs for containers of the runtime {RUNTIME}: ctr run --runtime {RUNTIME} ...
"""


class Words(NamedTuple):
    """A command line."""

    flags: dict[str, str]
    action: str


def parse(words: list[str]) -> Words:
    """Flags with one dash or two, the value behind them or after ``=``. Raises InvalidArgument."""
    flags: dict[str, str] = {}
    rest = list(words)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).lstrip("-").partition("=")
        if name in _SWITCHES:
            flags[name] = value or "true"
        elif name in _VALUES:
            if not equals and not rest:
                raise InvalidArgument(f"flag needs an argument: -{name}")
            flags[name] = value if equals else rest.pop(0)
        else:
            raise InvalidArgument(f"flag provided but not defined: -{name}", hint=f"{NAME} -help")
    if len(rest) > 1:
        raise InvalidArgument(f"unexpected argument {rest[1]}", hint=f"{NAME} -help")
    return Words(flags, rest[0] if rest else "")


def main(words: list[str]) -> int:
    """Returns the exit status; raises what went wrong."""
    flags, action = parse(words)
    if "h" in flags or "help" in flags:
        sys.stdout.write(_USAGE)
    elif "v" in flags or "version" in flags:
        sys.stdout.write(f"{NAME}:\n  Version:  {CONTAINERD_VERSION}\n  Revision: {REVISION}\n")
    elif "info" in flags:
        _info()
    elif action == "start":
        _start(flags)
    elif action == "delete":
        _delete(flags)
    else:
        raise InvalidArgument(
            f"{action or 'no action'}: start or delete is expected", hint=f"{NAME} -help"
        )
    return 0


def _start(flags: dict[str, str]) -> None:
    from pinnace.daemon.shims import KeeperShims

    namespace, identifier, bundle = _container(flags)
    state = os.path.join(bundle, _STATE)
    os.makedirs(state, mode=0o700, exist_ok=True)
    shims = KeeperShims(os.environ.get("PINNACE_KEEPER", _KEEPER))
    shims.module = "pinnace.api.taskshim.shim"
    address = shims.launch(
        {
            "namespace": namespace,
            "id": identifier,
            "bundle": bundle,
            "state": state,
            "protocol": "ttrpc",
            "address": _socket(flags, namespace, identifier),
            "events": os.environ.get("TTRPC_ADDRESS", ""),
        }
    )
    url = f"unix://{address}"
    with open(os.path.join(bundle, "address"), "w", encoding="utf-8") as file:
        file.write(url)  # where containerd 1.6 and 1.7 look for it after their restart
    version = os.environ.get("MAX_SHIM_VERSION", "")
    if version.isdecimal() and int(version) >= 3:
        sys.stdout.write(json.dumps({"version": 3, "address": url, "protocol": "ttrpc"}))
    else:
        sys.stdout.write(url)


def _delete(flags: dict[str, str]) -> None:
    """Kill and remove what a shim left; what is printed says how its container ended."""
    from pinnace.api.schema.shims import DeleteResponse
    from pinnace.api.services import convert
    from pinnace.daemon import bundle as bundles
    from pinnace.keeper import leftovers
    from pinnace.linux import mount

    namespace, identifier, bundle = _container(flags)
    state = os.path.join(bundle, _STATE)
    recorded = bundles.read_exit(state) or {}
    leftovers.remove(state)
    rootfs = os.path.join(bundle, "rootfs")
    if os.path.isdir(rootfs):
        mount.unmount_all(rootfs)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_socket(flags, namespace, identifier))
    answer = DeleteResponse(
        pid=int(recorded.get("pid") or 0),
        exit_status=int(recorded.get("status", _KILLED)),
        exited_at=convert.timestamp(int(recorded.get("exited_at") or time.time_ns())),
    )
    sys.stdout.flush()
    sys.stdout.buffer.write(answer.encode())


def _socket(flags: dict[str, str], namespace: str, identifier: str) -> str:
    """The name that containerd's own shims have, by which ``ctr shim`` finds them."""
    name = f"{flags.get('address', '')}/{namespace}/{identifier}"
    return f"{_SOCKETS}/{sha256(name.encode()).hexdigest()}"


def _container(flags: dict[str, str]) -> tuple[str, str, str]:
    """Namespace, id and bundle, which is the working directory unless it is named."""
    for name in ("namespace", "id"):
        if not flags.get(name):
            raise InvalidArgument(f"-{name} is required", hint=f"{NAME} -help")
    return flags["namespace"], flags["id"], os.path.abspath(flags.get("bundle") or os.getcwd())


def _info() -> None:
    """RuntimeInfo, which containerd 2 asks for."""
    from pinnace.api.schema.types import RuntimeInfo, RuntimeVersion
    from pinnace.api.schema.wellknown import Any
    from pinnace.runc import features

    document = json.dumps(features.describe()).encode()
    url = "types.containerd.io/opencontainers/runtime-spec/1/features/Features"
    answer = RuntimeInfo(
        name=RUNTIME,
        version=RuntimeVersion(version=CONTAINERD_VERSION, revision=REVISION),
        features=Any(type_url=url, value=document),
    )
    sys.stdout.flush()
    sys.stdout.buffer.write(answer.encode())
