"""What boards use of this machine together, in one place: which run, who needs the network.

Boards of several checkouts, users' state directories and test runs may run at once, while bridge,
addresses, cgroup names and the kernel's binfmt_misc table exist once per machine. So each running
board has a record in ``/run``, which a reboot of the machine clears; a record whose supervisor is
gone is stale, and :func:`sweep` takes away what it left. Everything here is done under one lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from toolkit.arch import Arch
from toolkit.boards import binfmt, cgroups, network, watches
from toolkit.process import start_time

RUN = Path("/run/pinnace-boards")


@dataclass(frozen=True, slots=True)
class Record:
    """A running board: who watches over it and what it uses.

    ``emulator`` is the path of the emulator that binfmt_misc must know, empty on a native board;
    ``launcher`` is the process whose child is the board's PID 1, 0 while there is none.
    """

    id: str
    name: str
    state: str
    arch: str
    address: str
    emulator: str
    supervisor: int
    supervisor_started: int
    launcher: int = 0
    launcher_started: int = 0

    @property
    def alive(self) -> bool:
        return start_time(self.supervisor) == self.supervisor_started

    @property
    def link(self) -> str:
        """The name of the machine's end of the board's network cable."""
        return f"pnb{self.address.rpartition('.')[2]}"


@contextmanager
def locked() -> Iterator[None]:
    """Hold the machine's lock for boards. Needs root."""
    RUN.mkdir(mode=0o755, exist_ok=True)
    with (RUN / "lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def records() -> list[Record]:
    """The records of boards, oldest first; stale ones among them. Needs no root."""
    found = []
    for path in RUN.glob("board-*.json"):
        with suppress(FileNotFoundError, ValueError, TypeError):
            found.append((path.stat().st_mtime_ns, Record(**json.loads(path.read_text()))))
    return [record for _, record in sorted(found, key=lambda pair: pair[0])]


def record(board_id: str) -> Record | None:
    """The record of one board. Needs no root."""
    with suppress(FileNotFoundError, ValueError, TypeError):
        return Record(**json.loads(_path(board_id).read_text()))
    return None


def _path(board_id: str) -> Path:
    return RUN / f"board-{board_id}.json"


def write(record: Record) -> None:
    """Keep ``record``; replaces one of the same board."""
    path = _path(record.id)
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(asdict(record)))
    os.replace(scratch, path)


def sweep() -> None:
    """Take away what boards left whose supervisor is gone. Call it with the lock held."""
    for record in records():
        if not record.alive:
            release(record)
    settle()


def release(record: Record) -> None:
    """End what is left of a board and forget it. Call it with the lock held, then :func:`settle`."""
    if record.launcher and start_time(record.launcher) == record.launcher_started:
        # It takes the board's PID 1, and with it all its processes and mounts, down with it.
        with suppress(ProcessLookupError):
            os.kill(record.launcher, signal.SIGKILL)
    cgroups.remove(record.id)
    network.unplug(record.link)
    _path(record.id).unlink(missing_ok=True)


def settle(starting: list[tuple[Arch, Path]] | None = None) -> None:
    """Fit the shared things to the boards that run, and to those about to start. Hold the lock.

    Registers and removes emulators in binfmt_misc, makes room for their systemds, and takes the bridge away after the last user.
    """
    running = [
        (Arch.from_machine(one.arch), Path(one.emulator)) for one in records() if one.emulator
    ]
    binfmt.reconcile([*running, *(starting or [])])
    watches.fit(len(records()), RUN / "inotify")
    if not starting and not records() and not _holders():
        network.down()


# -- others that need the boards' network: the lab registry ------------------------------------


def hold_network(holder: str, pid: int) -> None:
    """Keep the boards' network up while process ``pid`` lives, or until :func:`drop_network`.

    After this a server can listen on ``network.GATEWAY``. ``holder`` names it (``registry``).
    """
    with locked():
        sweep()
        network.up()
        text = json.dumps({"pid": pid, "started": start_time(pid)})
        (RUN / f"holder-{holder}.json").write_text(text)


def drop_network(holder: str) -> None:
    """Say that ``holder`` needs the network no longer; it goes when no board runs either."""
    with locked():
        (RUN / f"holder-{holder}.json").unlink(missing_ok=True)
        sweep()


def _holders() -> list[str]:
    """Who needs the network and still lives; forgets the others."""
    living = []
    for path in RUN.glob("holder-*.json"):
        with suppress(FileNotFoundError, ValueError):
            entry = json.loads(path.read_text())
            if start_time(entry["pid"]) == entry["started"]:
                living.append(path.stem.removeprefix("holder-"))
            else:
                path.unlink()
    return living


def wait_until(condition: Callable[[], bool], seconds: float, interval: float = 0.05) -> bool:
    """Whether ``condition()`` becomes true within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True
