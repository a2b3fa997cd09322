"""``python -m pinnace.keeper --address SOCKET [--cli MODULE:FUNCTION] [--preload MODULE]...``"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from pinnace.errors import Error, InvalidArgument
from pinnace.keeper import command, server, sockets
from pinnace.linux import sealed
from pinnace.linux.kernel import KERNEL

ADDRESS = "/run/pinnace/keeper.sock"
CLI = "pinnace.cli.main:main"
PRELOAD = ("pinnace.keeper.shim", "pinnace.cli.warm")
_SHIMS = {
    "": "pinnace.keeper.shim:serve_frame",
    "ttrpc": "pinnace.api.taskshim.shim:serve_frame",
}
"""What a shim is by the protocol that is asked for: our daemon's, or containerd's."""


def main(words: list[str]) -> int:
    """Serve until SIGTERM; returns the exit status."""
    try:
        address, cli, preload = _parse(words)
        sealed.run_from_memory()
        # Executed from memory, its name would be that descriptor's number.
        KERNEL.set_process_name("pinnace-keeper")
        for module in preload:
            importlib.import_module(module)
        entry = command.load(cli)
        listener = sockets.listen(address)
        listener.setblocking(False)
    except (Error, OSError) as problem:
        sys.stderr.write(f"pinnace-keeper: {problem}\n")
        return 1

    def start_shim(frame: dict[str, Any], ready: Any) -> bool:
        entry = _SHIMS.get(str(frame.get("protocol") or ""))
        if entry is None:
            raise InvalidArgument(f"no shim speaks {frame['protocol']!r}")
        shim: Any = command.load(entry)
        return bool(shim(frame, ready))

    server.share()
    server.notify_ready()
    try:
        refuses, rehearse = command.refusal_beside(cli), command.rehearsal_beside(cli)
        lesson = command.lesson_beside(cli)
        server.Keeper(listener, entry, start_shim, _release(), refuses, rehearse, lesson).run()
    finally:
        os.unlink(address)
    return 0


def _parse(words: list[str]) -> tuple[str, str, list[str]]:
    """Address, entry point of commands, modules to import."""
    given: dict[str, list[str]] = {"--address": [], "--cli": [], "--preload": []}
    rest = [part for word in words for part in word.split("=", 1)]
    while rest:
        name = rest.pop(0)
        if name not in given or not rest:
            raise InvalidArgument(f"unexpected argument {name}", hint=f"known: {', '.join(given)}")
        given[name].append(rest.pop(0))
    preload = given["--preload"] or list(PRELOAD)
    return (given["--address"] or [ADDRESS])[-1], (given["--cli"] or [CLI])[-1], preload


def _release() -> str:
    """The directory of this release: above the ``lib`` that holds the package."""
    here = os.path.dirname(os.path.realpath(__file__))
    return os.path.dirname(os.path.dirname(os.path.dirname(here)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
