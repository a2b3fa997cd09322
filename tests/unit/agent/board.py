"""A board made of a directory, and the agent run on it as a real process, over pipes."""

from __future__ import annotations

import getpass
import grp
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.plan import ship
from toolkit.plan.model import Planned, make
from toolkit.resources import Content, File, Resource

OWNER = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}


class Pipes:
    """The agent's streams, as an SSH channel would carry them."""

    def __init__(self, root: Path, python: Sequence[str] = (sys.executable,)) -> None:
        """``python``: the words that start an interpreter."""
        command = [*python, *ship.command("")[1:], str(root)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def read_line(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def wait(self) -> int:
        return self.process.wait(10)

    def stderr(self) -> bytes:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def close(self) -> None:
        self.process.communicate(timeout=10)


def file(path: str, text: str, **more: Any) -> File:
    return File(path=path, source=text.encode(), **{**OWNER, **more})


def converge(
    root: Path,
    resources: Iterable[Resource],
    *,
    mode: str = "apply",
    contents: Mapping[str, Content] | None = None,
) -> list[dict[str, Any]]:
    """All events of one run, whose contents come from ``contents`` if given; raises what :meth:`toolkit.plan.ship.Agent.converge` raises."""
    plan = make(Planned("test", resource) for resource in resources)
    pipes = Pipes(root)
    try:
        agent = ship.Agent("board", pipes)
        agent.hello()
        run = {"id": "1", "by": "somebody@laptop"}
        message = {**plan.wire(), "mode": mode, "show_text": True, "run": run}
        return list(
            agent.converge(
                message, plan.contents if contents is None else contents, lambda *_: None
            )
        )
    finally:
        pipes.close()


def counts(events: list[dict[str, Any]]) -> Mapping[str, int]:
    """The recap: ok, changed, failed."""
    return dict(events[-1]["counts"])


def snapshot(root: Path) -> dict[str, tuple[int, str, bytes]]:
    """Every path below ``root`` with mode, link target and contents; /run, a tmpfs, does not count."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.relative_to(root).parts[0] == "run":
            continue
        link = os.readlink(path) if path.is_symlink() else ""
        data = path.read_bytes() if path.is_file() and not link else b""
        found[str(path.relative_to(root))] = (path.lstat().st_mode, link, data)
    return found
