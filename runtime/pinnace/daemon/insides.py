"""What the daemon is made of at this moment, as text for people: threads, memory, tasks.

The debug socket serves it under the names of Go's profiles, so that ``ctr pprof`` asks both daemons alike.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from pinnace.daemon.daemon import Daemon

_EVERY = 0.01
_MOST_SECONDS = 300.0
_MOST_KINDS = 40


def threads() -> str:
    """Every thread and where it is."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for number, frame in sorted(sys._current_frames().items()):
        parts.append(
            f"thread {number} [{names.get(number, 'unknown')}]:\n{''.join(_stack(frame))}\n"
        )
    return "".join(parts)


def _stack(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        code = frame.f_code
        yield f"  {code.co_qualname if hasattr(code, 'co_qualname') else code.co_name}\n"
        yield f"      {code.co_filename}:{frame.f_lineno}\n"
        frame = frame.f_back


def memory() -> str:
    """The kernel's account of this process, and the objects of Python's by type."""
    parts = ["# /proc/self/smaps_rollup\n"]
    try:
        with open("/proc/self/smaps_rollup", encoding="ascii") as file:
            parts += [
                line
                for line in file
                if line.split(":")[0] in ("Rss", "Pss", "Private_Dirty", "Swap")
            ]
    except OSError as problem:
        parts.append(f"not there: {problem.strerror}\n")
    objects = gc.get_objects()
    counts = Counter(type(each).__qualname__ for each in objects)
    parts.append(
        f"# objects: {len(objects)} that can be seen, {gc.get_freeze_count()} frozen since the start\n"
    )
    parts += [f"{count:9d} {name}\n" for name, count in counts.most_common(_MOST_KINDS)]
    descriptors = len(os.listdir("/proc/self/fd"))
    parts.append(f"# descriptors: {descriptors}\n# threads: {threading.active_count()}\n")
    return "".join(parts)


def tasks(daemon: Daemon) -> str:
    """Every task of every namespace with its processes, as the daemon knows them."""
    lines = []
    for namespace in daemon.store.namespaces.list():
        for task in daemon.tasks.list(namespace):
            lines.append(f"{namespace} {task.id}\n")
            for each in task.processes():
                name = each.exec_id or "init"
                ended = f" exit {each.exit_status}" if each.exited_at else ""
                lines.append(f"  {name} pid {each.pid} {each.status}{ended}\n")
    return "".join(lines) or "no tasks\n"


def profile(seconds: float) -> str:
    """Where threads are, looked at a hundred times a second: a line per stack with how often it was met.

    The form is that of folded stacks, which flame graph tools read.
    """
    end = time.monotonic() + min(seconds, _MOST_SECONDS)
    met: Counter[str] = Counter()
    own = threading.get_ident()
    while time.monotonic() < end:
        for number, frame in sys._current_frames().items():
            if number != own:
                met[_folded(frame)] += 1
        time.sleep(_EVERY)
    return "".join(f"{stack} {count}\n" for stack, count in met.most_common())


def _folded(frame: FrameType | None) -> str:
    names: list[str] = []
    while frame is not None:
        place = os.path.basename(frame.f_code.co_filename).removesuffix(".py")
        names.append(f"{place}.{frame.f_code.co_name}")
        frame = frame.f_back
    return ";".join(reversed(names))
