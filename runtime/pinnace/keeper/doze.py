"""Dozing: a shim to whose container nothing happens becomes a small native program, and itself again when something does.

``runtime/native/doze.c`` is executed in the shim's own process: it stays the parent of the container's processes and keeps its
descriptors; what it has in memory goes through a memory file. The interpreter comes back the same way, as the same sealed
program (:mod:`pinnace.linux.sealed`).

``PINNACE_DOZE_SECONDS`` in the keeper's environment says after how long; 0 never.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from pinnace.linux import sealed

PROGRAM = os.path.abspath(f"{__file__}/../../../../libexec/doze")
"""The native program of this release; a checkout has none, and its shims stay awake."""
_SECONDS = 5.0
_MOST_ITEMS = 60
_MOST_CONNECTIONS = 16
_MOST_ANSWER = 3500
"""Bytes of an answer that fit where ``doze.c`` puts them together."""
_WAKE = (
    "import sys; sys.path[:0] = [{lib!r}]; from pinnace import typing_at_runtime; typing_at_runtime.install(); "
    "from pinnace.keeper import shim; shim.wake(sys.argv[1:])"
)
_LIB = os.path.abspath(f"{__file__}/../../..")

Connections = list[tuple[int, bool]]
"""Descriptor of each, and whether it has subscribed."""


def seconds() -> float:
    """How long it has to be quiet before a shim dozes; 0 for never."""
    if not os.access(PROGRAM, os.X_OK):
        return 0.0
    try:
        return max(0.0, float(os.environ.get("PINNACE_DOZE_SECONDS", "")))
    except ValueError:
        return _SECONDS


def fall_asleep(
    state: dict[str, Any], answers: tuple[object, object], connections: Connections
) -> None:
    """Execute the native program. Returns when it has no room for all this: the caller goes on as it was.

    Args:
        state: as :func:`woken` gives it back. ``listener``, and in ``items`` what ``doze.c`` calls so, without connections;
            ``descriptors`` are all that are to stay open besides.
        answers: to the requests ``state`` and ``subscribe``.

    Raises:
        OSError: it can't be executed here, and will not be.
    """
    told = [json.dumps(answer, separators=(",", ":")) for answer in answers]
    items = [*state["items"], *(f"c{fd}:{int(subscribed)}" for fd, subscribed in connections)]
    if (
        len(items) > _MOST_ITEMS
        or len(connections) >= _MOST_CONNECTIONS
        or max(map(len, told)) > _MOST_ANSWER
    ):
        return
    opened: list[int] = []
    kept = [state["listener"], *state["descriptors"], *(fd for fd, _ in connections)]
    try:
        opened.append(_interpreter())
        opened.append(_memory_file(state))
        for fd in (*kept, *opened):
            os.set_inheritable(fd, True)
        words = [sys.executable, "-ISBc", _WAKE.format(lib=_LIB), str(opened[1])]
        arguments = [str(opened[0]), str(state["listener"]), *told, *items, "--", *words]
        os.execve(PROGRAM, ["pinnace-shim", *arguments], sealed.marked(os.environ))  # noqa: S606 (ourselves)
    finally:
        for fd in kept:
            os.set_inheritable(fd, False)
        for fd in opened:
            os.close(fd)


def woken(words: list[str]) -> tuple[dict[str, Any], Connections]:
    """What :func:`fall_asleep` was given, in the interpreter that the native program has executed with ``words``."""
    number, *items = words
    with open(int(number), "rb") as file:
        file.seek(0)
        state: dict[str, Any] = json.load(file)
    pairs = [item[1:].split(":") for item in items]
    connections = [(int(fd), subscribed == "1") for fd, subscribed in pairs]
    for fd in (state["listener"], *state["descriptors"], *(fd for fd, _ in connections)):
        os.set_inheritable(fd, False)
    return state, connections


def _interpreter() -> int:
    """The program that this process is. Raises OSError where that name is of something else: an emulator may say so."""
    fd = os.open("/proc/self/exe", os.O_RDONLY)
    if os.fstat(fd).st_size != os.stat(sys.executable).st_size:
        os.close(fd)
        raise OSError("/proc/self/exe is not the interpreter")
    return fd


def _memory_file(state: dict[str, Any]) -> int:
    fd = os.memfd_create("state", 0)
    with open(fd, "w", encoding="utf-8", closefd=False) as file:
        json.dump(state, file)
    return fd
