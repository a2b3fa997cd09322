"""What every board is to the rest of the toolkit, whichever way it is emulated.

Two tiers have this interface: ``emu-*`` under user emulation, and full-system boards, ``sys-*``. Roles
and tests see a host with an address, a key and a user, like any other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from toolkit import debian
from toolkit.arch import Arch
from toolkit.boards import capability
from toolkit.errors import UsageError
from toolkit.paths import state_dir


class Board(ABC):
    """A board that this machine can make, start and throw away.

    ``create`` makes its disk, ``start`` boots it and returns when SSH accepts a login, ``stop`` powers
    it off and leaves nothing running, ``destroy`` forgets it with its disk. Each changes nothing and
    says so where the board is that way already, and raises a :class:`~toolkit.errors.PinnaceError` when it cannot be done; a failed
    ``create`` or ``start`` leaves nothing behind.
    """

    name: str
    arch: Arch
    release: str
    ssh_user = "pi"

    @property
    def ssh_port(self) -> int:
        """The TCP port of its SSH server at :attr:`address`."""
        return 22

    @property
    @abstractmethod
    def tier(self) -> str:
        """How it is emulated: ``native`` (not at all), ``user`` or ``system``."""

    @property
    @abstractmethod
    def cpu(self) -> str:
        """Its processor: QEMU's name of it, or ``host``."""

    @property
    @abstractmethod
    def kernel(self) -> str:
        """Whose kernel it runs: ``host`` with this machine's release, or a Debian package's name."""

    @property
    @abstractmethod
    def shows(self) -> frozenset[str]:
        """What it can show, in the words of :mod:`toolkit.boards.capability`."""

    @property
    @abstractmethod
    def is_created(self) -> bool:
        """Whether it has a disk."""

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """Whether it runs; true to the facts also after a crash of whatever ran it."""

    @property
    @abstractmethod
    def address(self) -> str:
        """The IPv4 address where it answers; it may change from one start to the next."""

    @property
    @abstractmethod
    def ssh_key(self) -> Path:
        """The private key that its user ``pi`` accepts."""

    @property
    @abstractmethod
    def host_key(self) -> str:
        """Its public host key, as in an SSH known_hosts file without the name: ``ssh-ed25519 AAAA...``"""

    @property
    @abstractmethod
    def known_hosts(self) -> Path:
        """A known_hosts file with this board's key, for strict checking."""

    @abstractmethod
    def create(self, *, yes: bool = False, system: str = "", image: Path | None = None) -> None:
        """``system``: whose kernel it is like, ``raspberry-pi-os``; ``image``: the directory of an exported board.

        A board on this machine's kernel refuses both.
        """

    @abstractmethod
    def start(self, *, yes: bool = False, cold: bool = False) -> None:
        """``cold``: boot it, also where a snapshot could be restored instead."""

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def destroy(self) -> None: ...

    # -- what only a machine of its own can do; the others refuse ------------------------------

    @property
    def console(self) -> Path:
        """The file with what it wrote on its serial console."""
        raise self._cannot(capability.CONSOLE)

    @property
    def machine(self) -> str:
        """The machine whose exported images it can be made from; empty when from none."""
        return ""

    def export(self, target: Path) -> None:
        """Write the directory ``target``, from which new boards can be created; the board is off."""
        raise self._cannot(capability.OWN_KERNEL)

    def snapshot(self, tag: str = "kept") -> None:
        """Keep the running board as ``tag``, memory and disk; it goes on running afterwards."""
        raise self._cannot(capability.SNAPSHOT)

    def restore(self, tag: str = "") -> None:
        """Make it what it was at the snapshot ``tag``, or right after its first boot; it runs then."""
        raise self._cannot(capability.SNAPSHOT)

    def reset(self) -> None:
        """Press its reset button, and wait until it has booted again."""
        raise self._cannot(capability.OWN_KERNEL)

    def power_cut(self, *, kept: float = 0.0, seed: int = 0) -> None:
        """Cut its power: what the board wrote and did not sync is lost. It is off then.

        A share ``kept`` of what its disk had not written for good yet, block by block and chosen by
        ``seed``, is there nevertheless, as a real disk may have it.
        """
        raise self._cannot(capability.POWER_CUT)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else makes or starts it meanwhile. A board that does not exist afterwards leaves no lock behind."""
        path = state_dir("boards") / f"{self.name}.lock"
        with debian.locked(path):
            try:
                yield
            finally:
                if not self.is_created:
                    path.unlink(missing_ok=True)

    def _cannot(self, word: str) -> UsageError:
        return UsageError(
            f"{self.name} does not show {word}", hint="a full-system board does: sys-arm64"
        )

    def ensure_started(self, *, yes: bool = False) -> None:
        """Create and start it, where it is not so already."""
        if not self.is_created:
            self.create(yes=yes)
        self.start(yes=yes)

    def ssh_command(self, words: Sequence[str] = (), *, terminal: bool = False) -> list[str]:
        """The ssh(1) command line that runs ``words`` on the board, or a login shell."""
        return [
            "ssh",
            "-F", "none",
            "-i", str(self.ssh_key),
            "-p", str(self.ssh_port),
            "-o", "IdentitiesOnly=yes",
            "-o", "StrictHostKeyChecking=yes",
            "-o", f"UserKnownHostsFile={self.known_hosts}",
            "-o", f"HostKeyAlias={self.name}",
            "-o", "LogLevel=ERROR",
            *(["-t"] if terminal else []),
            f"{self.ssh_user}@{self.address}",
            *(["--", *words] if words else []),
        ]  # fmt: skip
