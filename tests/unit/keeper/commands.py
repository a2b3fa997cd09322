"""What the keeper of the tests runs: a command line of a few words that tell what they see."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """One word after the program's name says what to do."""
    doing = argv[1]
    if doing == "tell":
        print(os.getcwd(), os.environ.get("COLOUR"), oct(os.umask(0)), *argv[2:])
        print("error", file=sys.stderr)
        return 7
    if doing == "cat":
        sys.stdout.write(sys.stdin.read())
        return 0
    if doing == "fds":
        kinds = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]  # fmt: skip
        print(len([kind for kind in kinds if kind.startswith("socket:")]))
        return 0
    if doing == "wait":
        print("waiting", flush=True)
        threading.Event().wait(20)
        return 1
    if doing in ("modules", "lesson"):
        print(" ".join(sorted(sys.modules)))
        return 0
    if doing == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if doing == "break":
        raise RuntimeError("a defect")
    return 0


def lesson(argv: Sequence[str]) -> str:
    """What a keeper learns for the next one."""
    return "wave" if argv[1] == "lesson" else ""
