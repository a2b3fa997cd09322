"""The three runtimes, each in an arena of its own, and one run of a row by one of them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import termios
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.conformance.runc.differential.bundle import ID, Bundle
from tests.conformance.runc.differential.rows.namespaces import JOINED
from tests.conformance.runc.differential.table import Row
from toolkit.arch import Arch
from toolkit.arena import Arena
from toolkit.debian import Archive

PEER_SUITE = "forky"
"""The newest release whose runc and crun start here."""

_SECONDS = 30


@dataclass(frozen=True)
class Observed:
    """What a run gave: the exit status of the command, the program's output, the errors."""

    status: int
    output: str
    error: str
    hooks: str = ""


class Runtime:
    """A command with runc's verbs, and where it is run."""

    def __init__(
        self, name: str, arena: Arena, command: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self._environment = {"PATH": os.environ["PATH"], **environment}
        self._arena = arena
        self._command = command
        self._root = str(arena.scratch / "state")

    def namespaces(self) -> dict[str, str]:
        """The namespaces that the command itself runs in, by name."""
        place = Path(f"/proc/{self._arena.pid}/ns")
        return {name: os.readlink(place / name) for name in os.listdir(place)}

    def observe(self, row: Row, bundle: Bundle) -> Observed:
        """Make the bundle of ``row`` anew and run it; nothing of the container is left afterwards."""
        bundle.renew()
        row.apply(bundle)
        if row.process is not None:
            bundle.spec["process"]["args"] = ["/bin/probe", "pause"]
        bundle.write()
        try:
            seen = self._exec(row, bundle) if row.process is not None else self._run(row, bundle)
        finally:
            if os.path.exists(f"{self._root}/{ID}"):  # a run that went well has deleted it
                self._call(bundle, ["delete", "--force", ID])
        return replace(seen, hooks=bundle.hooks_seen())

    def _run(self, row: Row, bundle: Bundle) -> Observed:
        if row.terminal:
            return self._call_on_terminal(bundle, ["run", "--bundle", str(bundle.place), ID])
        return self._call(bundle, ["run", "--bundle", str(bundle.place), ID])

    def _exec(self, row: Row, bundle: Bundle) -> Observed:
        started = self._call(bundle, ["run", "--detach", "--bundle", str(bundle.place), ID])
        if started.status:
            return started
        process = {
            **bundle.spec["process"],
            "args": ["/bin/probe", *row.ask],
            **(row.process or {}),
        }
        (bundle.place / "process.json").write_text(json.dumps(process))
        words = ["exec", "--process", str(bundle.place / "process.json"), ID]
        return self._call_on_terminal(bundle, words) if row.terminal else self._call(bundle, words)

    def _words(self, words: Sequence[str]) -> list[str]:
        return self._arena.command([*self._command, "--root", self._root, *words])

    def _call(self, bundle: Bundle, words: Sequence[str]) -> Observed:
        """Output goes to files: a container may hold it longer than the command."""
        places = [bundle.place / name for name in ("output", "error")]
        with open(places[0], "wb") as output, open(places[1], "wb") as error:
            done = subprocess.run(
                self._words(words), stdin=subprocess.DEVNULL, stdout=output, stderr=error,
                cwd=bundle.place, env=self._environment, timeout=_SECONDS, check=False,
            )  # fmt: skip
        return Observed(done.returncode, *(path.read_text() for path in places))

    def _call_on_terminal(self, bundle: Bundle, words: Sequence[str]) -> Observed:
        master, slave = pty.openpty()
        termios.tcsetwinsize(
            slave, (33, 91)
        )  # rows, columns: foreground runs take over the caller's
        try:
            with subprocess.Popen(
                self._words(words), stdin=slave, stdout=slave, stderr=slave,
                cwd=bundle.place, env=self._environment, start_new_session=True,
            ) as running:  # fmt: skip
                os.close(slave)
                text = _read_all(master).replace("\r\n", "\n")
                status = running.wait(_SECONDS)
        finally:
            os.close(master)
        return Observed(status, text, "" if "== " in text else text)


def _read_all(master: int) -> str:
    found = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break  # EIO: how Linux says that a terminal's other side is closed
        if not part:
            break
        found += part
    return found.decode(errors="replace")


@contextlib.contextmanager
def three(release: Path) -> Iterator[dict[str, Runtime]]:
    """Ours, runc and crun, by name. crun refuses a hybrid of both cgroup versions: none sees version 2.

    Ours is that of an unpacked ``release``, through a warm keeper but for what always starts cold: detached containers.
    """
    archive = Archive(PEER_SUITE, Arch.from_machine(os.uname().machine).facts.debian)
    commands = {
        "ours": ("true", [str(release / "bin/runc")]),
        "runc": _peer(archive, "runc", "usr/sbin/runc"),
        "crun": _peer(archive, "crun", "usr/bin/crun"),
    }
    with contextlib.ExitStack() as stack:
        found = {}
        for name, (setup, command) in commands.items():
            arena = stack.enter_context(Arena(_SETUP.format(more=setup)))
            more = _warmed(arena, release) if name == "ours" else {}
            found[name] = Runtime(name, arena, command, more)
        yield found


def _warmed(arena: Arena, release: Path) -> dict[str, str]:
    """Start a keeper in ``arena``; the environment that leads commands to it."""
    address = "/run/keeper.sock"
    arena.start([release / "bin/pinnace-keeper", "--address", address], log="keeper.log")
    arena.wait_for(address, log="keeper.log")
    return {"PINNACE_KEEPER": address, "PINNACE_SECCOMP": os.environ["PINNACE_SECCOMP"]}


_SETUP = f"""
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi &&
mkdir {JOINED} && cd {JOINED} && touch net ipc uts pid time cgroup user &&
unshare --net={JOINED}/net --ipc={JOINED}/ipc --uts={JOINED}/uts --time={JOINED}/time \\
    --cgroup={JOINED}/cgroup hostname joined || exit 1
(unshare --pid={JOINED}/pid --fork sleep infinity >/dev/null 2>&1 &)
unshare --user sleep infinity >/dev/null 2>&1 &
first=$! &&
while [ $(readlink /proc/$first/ns/user) = $(readlink /proc/self/ns/user) ]; do sleep 0.01; done &&
for map in uid_map gid_map; do echo 0 100000 65536 > /proc/$first/$map || exit 1; done &&
mount --bind /proc/$first/ns/user {JOINED}/user && cd / && {{more}}"""


def _peer(archive: Archive, package: str, program: str) -> tuple[str, list[str]]:
    """How to start a program of a newer release: with that release's libraries in place of ours.

    Older programs run with a newer C library, so that the helpers of the arena keep working. The dynamic
    loader by itself is not enough: both runtimes execute themselves again.
    """
    root = archive.unpack([package], dependencies=True)
    library = next(root.glob("usr/lib/*-linux-gnu"))
    setup = f"mount --bind '{library}' /usr/lib/{library.name}"
    extra = ["--cgroup-manager", "cgroupfs"] if package == "crun" else []
    return setup, [str(root / program), *extra]
