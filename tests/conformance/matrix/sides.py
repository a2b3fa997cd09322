"""The two sides of the matrix: a ctr with a daemon, each side in an arena of its own.

A side runs a command line and says what a user would see of it, without what differs from run to run
(see :mod:`tests.conformance.matrix.normal`). What both sides are given is the same: files, image, order.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.conformance.ctr.daemons import busybox, environment
from tests.conformance.daemon.world import CTR_RELEASES
from tests.conformance.matrix.normal import Image, normal
from toolkit.arch import Arch
from toolkit.arena import Arena
from toolkit.debian import Archive
from toolkit.lab.server import RegistryServer
from toolkit.paths import RUNTIME

_SECONDS = 60.0
_THEIRS = "/run/peer/peer.sock"
_OURS = "/run/pinnace/pinnace.sock"
_KEEPER = "/run/pinnace/keeper.sock"
_CONFIG = """\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{address}"
[ttrpc]
address = "{address}.ttrpc"
"""


class Row(NamedTuple):
    """One command line of a story.

    Attributes:
        words: as one types them behind ``ctr``; ``{image.layer}``, ``{tmp}`` are filled in.
        stdin: what the command reads.
        env: variables for it alone.
        again: run it again while its error has these words: it asks for what is about to happen.
        measured: its numbers are what it has measured: not compared.
        progress: what it prints while it works depends on how fast that is: not compared.
        archive: what it writes. containerd 2.1 leaves out the end of one in twenty, and says nothing: again, then.
    """

    words: str
    stdin: str = ""
    env: Mapping[str, str] = {}
    measured: bool = False
    progress: bool = False
    again: str = ""
    archive: str = ""


class Seen(NamedTuple):
    """What a command showed."""

    status: int
    out: str
    err: str


class Side:
    """One daemon in its arena, and one ctr."""

    def __init__(self, arena: Arena, address: str, ctr: list[str], image: Image) -> None:
        self.arena = arena
        self.address = address
        self.image = image
        self.ctr = ctr
        self.registry = ""
        """Where a registry of its own listens, without TLS."""
        self.tmp = arena.scratch / "story"
        for name in ("target", "rw"):
            (self.tmp / name).mkdir(parents=True, exist_ok=True)

    def with_ctr(self, ctr: list[str]) -> Side:
        """The same daemon under another ctr."""
        found = Side(self.arena, self.address, ctr, self.image)
        found.registry = self.registry
        return found

    def see(self, row: Row) -> Seen:
        """Run the row; raises TimeoutExpired when it does not end."""
        seen = self._run(row)
        deadline = time.monotonic() + _SECONDS
        while self._is_early(row, seen) and time.monotonic() < deadline:
            seen = self._run(row)
        return seen

    def _is_early(self, row: Row, seen: Seen) -> bool:
        if row.archive and _is_peer(self.ctr, self.address):
            return not _is_whole(Path(row.archive.format(tmp=self.tmp)))
        return bool(row.again) and row.again in seen.err

    def _run(self, row: Row) -> Seen:
        names = {"image": self.image, "tmp": self.tmp, "registry": self.registry}
        words = [word.format(**names) for word in shlex.split(row.words)]
        common = ["--address", self.address, "--namespace", self.arena.name]
        done = self.arena.run(
            [*self.ctr, *common, *words],
            input=row.stdin,
            env={**os.environ, "PYTHONPATH": str(RUNTIME), **row.env},
            errors="backslashreplace",
            timeout=_SECONDS,
        )
        out = self._normal("" if row.progress else done.stdout)
        if row.measured:
            out = re.sub(r"\d+", "N", out)
        err = self._normal(done.stderr)
        return Seen(done.returncode, out, err)

    def _normal(self, text: str) -> str:
        places = {str(self.tmp): "TMP", self.arena.name: "NS", self.address: "ADDRESS"}
        if self.registry:
            places[self.registry] = "REGISTRY"
        return normal(text, places, self.image)


def _is_peer(ctr: list[str], address: str) -> bool:
    return address == _THEIRS or ctr != our_ctr()


def _is_whole(archive: Path) -> bool:
    """Whether a tar has its end: two blocks of zeros (POSIX, pax)."""
    return not archive.exists() or archive.read_bytes().endswith(bytes(1024))


def real_ctr(series: str) -> list[str]:
    """Debian's ctr of containerd's ``series``."""
    return [str(_peer(series) / "usr/bin/ctr")]


def our_ctr() -> list[str]:
    return [sys.executable, "-m", "pinnace.cli.main", "ctr"]


def _peer(series: str) -> Path:
    """containerd, its shim and runc, unpacked."""
    arch = Arch.from_machine(os.uname().machine)
    return Archive(CTR_RELEASES[series], arch.facts.debian).unpack(["containerd"])


@contextmanager
def containerd(series: str) -> Iterator[Side]:
    """Debian's containerd with its own ctr."""
    arch = Arch.from_machine(os.uname().machine)
    # Its C library is this machine's.
    runc = Archive("bookworm", arch.facts.debian).unpack(["runc"], dependencies=False)
    peer = _peer(series)
    with Arena() as arena:
        image = _image(arena)
        config = arena.scratch / "peer.toml"
        config.write_text(
            _CONFIG.format(root=arena.scratch / "root", state="/run/peer", address=_THEIRS)
        )
        path = f"{peer}/usr/bin:{runc}/usr/sbin:{os.environ['PATH']}"
        words: list[str | Path] = [peer / "usr/bin/containerd", "--config", config]
        arena.start(words, log="daemon.log", env={**os.environ, "PATH": path})
        arena.wait_for(_THEIRS, log="daemon.log")
        yield Side(arena, _THEIRS, real_ctr(series), image)


@contextmanager
def pinnaced() -> Iterator[Side]:
    """Our daemon, with our ctr."""
    with Arena() as arena:
        image = _image(arena)
        config = arena.scratch / "ours.toml"
        text = _CONFIG.format(root=arena.scratch / "root", state="/run/pinnace", address=_OURS)
        config.write_text(f'{text}[plugins."io.pinnace.keeper"]\naddress = "{_KEEPER}"\n')
        python = [sys.executable, "-m"]
        keeper = [*python, "pinnace.keeper", "--address", _KEEPER]
        arena.start(keeper, log="keeper.log", env=environment())
        arena.wait_for(_KEEPER, log="keeper.log")
        words: list[str | Path] = [*python, "pinnace.cli.main", "pinnaced", "--config", config]
        arena.start(words, log="daemon.log", env=environment())
        arena.wait_for(_OURS, log="daemon.log")
        yield Side(arena, _OURS, our_ctr(), image)


def _image(arena: Arena) -> Image:
    archive = arena.scratch / "story" / "busybox.tar"
    archive.parent.mkdir()
    archive.write_bytes(busybox())
    return Image.of(archive)


@contextmanager
def registries(place: Path, *served: Side) -> Iterator[None]:
    """A registry for each side, empty."""
    with ExitStack() as stack:
        for number, side in enumerate(served):
            directory = place / str(number)
            directory.mkdir()
            side.registry = stack.enter_context(RegistryServer(directory)).host
        yield
