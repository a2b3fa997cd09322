"""Starting a shim without a keeper: a program that ends once the shim listens, and whose child it is not then."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pinnace.errors import Error
from pinnace.linux import sealed

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[[Callable[[str], None]], object]
    """Be a shim until it ends; calls back with its address once it listens."""


def start(serve: Serve) -> int:
    """Run ``serve`` in a process of its own and print its address; the exit status.

    Who started this program waits for it, and not for the shim, which would be a zombie as long as they live.
    """
    try:
        sealed.run_from_memory()
        result, tell = os.pipe2(os.O_CLOEXEC)
        if os.fork() == 0:
            os.close(result)
            _be(serve, tell)
    except OSError as problem:
        sys.stderr.write(f"pinnace-shim: {problem}\n")
        return 1
    os.close(tell)
    with open(result, encoding="utf-8") as file:
        outcome, _, text = file.read().partition(" ")
    if outcome != "ready":
        sys.stderr.write(f"pinnace-shim: {text or 'it ended before it listened; see shim.log'}\n")
        return 1
    sys.stdout.write(f"{text}\n")
    return 0


def _be(serve: Serve, tell: int) -> None:
    """In the child: be the shim; does not return."""
    status, is_ready = 1, False

    def ready(address: str) -> None:
        nonlocal is_ready
        is_ready = True
        os.write(tell, f"ready {address}".encode())
        os.close(tell)

    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for target in (0, 1, 2):
            os.dup2(null, target)
        os.close(null)
        serve(ready)
        status = 0
    except (Error, OSError) as problem:
        if is_ready:
            sys.stderr.write(f"pinnace-shim: {problem}\n")  # its log
        else:
            os.write(tell, f"failed {problem}".encode("utf-8", "replace")[:4000])
    finally:
        os._exit(status)
