"""The three that do the same work: each as a command line, the way its users run it for many hosts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from toolkit import packages
from toolkit.boards.board import Board
from toolkit.errors import PinnaceError
from toolkit.paths import LOCKS, PROJECT
from toolkit.process import last_line

HERE = Path(__file__).parent
PARALLEL = 25
_LIMIT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Job:
    """The hosts, and where this run's files are: ``files`` are what the boards get."""

    boards: tuple[Board, ...]
    home: Path

    @property
    def files(self) -> Path:
        return self.home / "files"

    @property
    def known_hosts(self) -> Path:
        return self.home / ".ssh" / "known_hosts"


class Tool(ABC):
    """One way to do the work; ``converge`` gives the seconds it took."""

    name: str

    def __init__(self, job: Job) -> None:
        self.job = job
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Write its inventory and settings."""

    @abstractmethod
    def command(self) -> list[str]: ...

    @abstractmethod
    def environment(self) -> dict[str, str]: ...

    def changed(self, output: str) -> bool:
        """Whether it says that it changed something."""
        return re.search(r"changed=[1-9]", output) is not None

    def converge(self, *, changes: bool) -> float:
        """Seconds; raises :class:`PinnaceError` when it fails, or does not say that it changed as much as it should."""
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.job.home), "LC_ALL": "C.UTF-8", "COLUMNS": "200",
            "FLEET_FILES": str(self.job.files), **self.environment(),
        }  # fmt: skip
        started = time.monotonic()
        done = subprocess.run(
            self.command(), cwd=self.job.home, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=_LIMIT_SECONDS, check=False,
        )  # fmt: skip
        seconds = time.monotonic() - started
        (self.job.home / f"{type(self).__name__}.log").write_text(done.stdout)
        if done.returncode:
            raise PinnaceError(f"{self.name} failed: {last_line(done.stdout)}")
        if self.changed(done.stdout) != changes:
            raise PinnaceError(f"{self.name} was to change {'something' if changes else 'nothing'}: {last_line(done.stdout)}")  # fmt: skip
        return seconds

    def _ini(self, name: str) -> Path:
        """An inventory that both ours and Ansible read."""
        lines = [
            f"{board.name} ansible_host={board.address} ansible_user={board.ssh_user} ansible_ssh_private_key_file={board.ssh_key}"
            for board in self.job.boards
        ]
        path = self.job.home / name
        path.write_text("[fleet]\n" + "\n".join(lines) + "\n[fleet:vars]\nroles=fleetwork\n")
        return path


class Ours(Tool):
    """Without the confirmation over a second connection, which the others do not have."""

    name = "pinnace"
    confirm = "0"

    def prepare(self) -> None:
        self._inventory = self._ini("inventory.ini")

    def command(self) -> list[str]:
        return [
            sys.executable, "-m", "invoke", "--search-root", str(PROJECT), "provision", "--inventory", str(self._inventory),
            "--host", "fleet", "--no-verify", "--parallel", str(PARALLEL), "--confirm", self.confirm,
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {"PINNACE_ROLES": str(HERE / "roles")}


class Confirmed(Ours):
    """As it is used: what could lock the laptop out is put back unless it is confirmed."""

    name = "pinnace, confirmed"
    confirm = "60s"


class Ansible(Tool):
    """Its settings for speed: no facts, pipelining, a connection that persists between runs, as many forks."""

    def prepare(self) -> None:
        self.path = packages.installed(LOCKS / "ansible.lock", "ansible-core, the peer")
        self.name = f"ansible-core {_version(self.path, 'ansible_core')}"
        self._inventory = self._ini("ansible.ini")

    def command(self) -> list[str]:
        words = [sys.executable, "-m", "ansible.cli.playbook", "-i", str(self._inventory), "-e", f"files={self.job.files}"]  # fmt: skip
        return [*words, str(HERE / "work" / "playbook.yml")]

    def environment(self) -> dict[str, str]:
        known = f"-o UserKnownHostsFile={self.job.known_hosts} -o IdentitiesOnly=yes"
        return {
            "PYTHONPATH": str(self.path),
            "ANSIBLE_FORKS": str(PARALLEL),
            "ANSIBLE_TIMEOUT": "120",  # 25 logins at once take two processors longer than its 10 s
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_SSH_ARGS": f"-C -o ControlMaster=auto -o ControlPersist=60s {known}",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.job.home / "cp"),
            "ANSIBLE_LOCAL_TEMP": str(self.job.home / "ansible"),
            "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
            "ANSIBLE_NOCOWS": "1",
        }


class Pyinfra(Tool):
    def prepare(self) -> None:
        self.path = packages.installed(LOCKS / "pyinfra.lock", "pyinfra, the peer")
        self.name = f"pyinfra {_version(self.path, 'pyinfra')}"
        hosts = [
            (board.address, {"ssh_user": board.ssh_user, "ssh_key": str(board.ssh_key), "ssh_known_hosts_file": str(self.job.known_hosts)})
            for board in self.job.boards
        ]  # fmt: skip
        self._inventory = self.job.home / "inventory.py"
        self._inventory.write_text(f"fleet = {hosts!r}\n")

    def command(self) -> list[str]:
        program = "import sys; from pyinfra_cli.main import cli; sys.exit(cli())"
        return [sys.executable, "-c", program, "-y", "--parallel", str(PARALLEL), str(self._inventory), str(HERE / "work" / "deploy.py")]  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.path)}

    def changed(self, output: str) -> bool:
        total = re.search(r"Grand total\s+\d+\s+(\S+)", output)
        return total is not None and total[1] != "-"


def _version(path: Path, package: str) -> str:
    found = next(path.glob(f"{package}-*.dist-info"))
    return found.name.removeprefix(f"{package}-").removesuffix(".dist-info")
