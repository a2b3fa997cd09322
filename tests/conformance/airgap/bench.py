"""A native board, the laptop that makes bundles and releases for it, and a namespace that reaches only the board."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fresh import fresh
from tests.laptop import Laptop
from toolkit import boards
from toolkit.boards import network
from toolkit.boards.emulated import EmulatedBoard
from toolkit.lab import registry
from toolkit.paths import PROJECT, cache_dir

BOARD = "emu-amd64-offline"
NAMESPACE = f"offline-{os.getpid()}"
REPOSITORY = f"{network.REGISTRY}/fleet/t{os.getpid()}"
SECRET = "hunter22hunter"
_HERE = str(network.subnet()[9])


class Bench:
    """The board is the host ``pi`` of the inventory, reached over SSH as a real one is."""

    def __init__(self, board: EmulatedBoard, folder: Path) -> None:
        self.board, self.folder, self.shown = board, folder, ""
        # The state of the laptop is its own: signing keys, known hosts.
        self.roles = folder / "roles"
        self.roles.mkdir()
        self._own = {
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder),
            "PINNACE_ROLES": str(self.roles),
        }
        self.laptop = Laptop(folder, XDG_CACHE_HOME=str(cache_dir().parent), **self._own)
        # Only who provisions has it, not who makes bundles and releases.
        (folder / "group_vars").mkdir()
        (folder / "group_vars" / "fleet.yml").write_text("registry_auth: {'registry.example': {username: pi, password: !secret env:FLEET_PASSWORD}}\n")  # fmt: skip
        self.authority = folder / "lab.pem"
        self.authority.write_bytes(registry.ca_certificate().read_bytes())

    def hosts(self, **variables: Any) -> None:
        """What the inventory says of the board, besides how it is reached and what it follows."""
        about = {
            "ansible_host": self.board.address,
            "ansible_user": "pi",
            "ansible_ssh_private_key_file": str(self.board.ssh_key),
            "follow": REPOSITORY,
            "follow_interval": 86400,
            "registry_ca": json.dumps({network.REGISTRY: str(self.authority)}),
            **variables,
        }
        lines = [f"{name}={value}" for name, value in about.items()]
        self.laptop.inventory("[fleet]\npi\n[fleet:vars]\n" + "\n".join(lines))

    def inv(self, *words: str, status: int = 0) -> str:
        """Output of a command that ends with ``status``, its errors behind it."""
        done = self.laptop.inv(*words)
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    def bundle(self, name: str, *words: str) -> Path:
        path = self.folder / name
        self.shown = self.inv("bundle", "--limit", "pi", "-o", str(path), "--accept-new", *words)
        return path

    def offline(self, path: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """From where no registry, no mirror and no name server is."""
        command = ["ip", "netns", "exec", NAMESPACE, sys.executable, "-m", "invoke", "provision"]
        inventory = ["--inventory", str(self.folder / "inventory.ini")]
        return subprocess.run(
            [*command, *inventory, "--offline", str(path), *words], cwd=PROJECT, capture_output=True,
            text=True, check=False, timeout=600, stdin=subprocess.DEVNULL,
            env={**os.environ, **self._own, "XDG_CACHE_HOME": str(self.folder / "empty"), "COLUMNS": "200", "FLEET_PASSWORD": SECRET},
        )  # fmt: skip

    def on(self, command: str) -> str:
        """What a command as root on the board prints."""
        words = self.board.ssh_command([shlex.join(["sudo", "sh", "-c", command])])
        return subprocess.run(words, capture_output=True, text=True, timeout=600, check=True).stdout

    def state(self) -> str:
        """What a run that is refused must not have touched."""
        return self.on("dpkg -l | md5sum; find /etc /opt /var/lib/pinnace-agent -type f ! -name follow.json | sort | xargs md5sum | md5sum")  # fmt: skip

    def look(self) -> str:
        """Have the board look at the registry now; what it says."""
        return self.on("/usr/bin/python3 -I -S -B /usr/local/lib/pinnace/agent.pyz look; true")

    def reported(self) -> dict[str, Any]:
        """What the board last said of itself in the registry."""
        return dict(json.loads(self.inv("status", "--host", "pi", "--pull", "--json"))["pi"])


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Bench]:
    board = boards.get(BOARD)
    assert isinstance(board, EmulatedBoard)
    registry.start(yes=True)
    registry.fill([board.arch])
    with fresh(board), _namespace(board):
        made = Bench(board, folder)
        # The board does not find the lab registry either, until a test lets it.
        made.on("sed -i 's/registry.lab$/hidden.lab/' /etc/hosts; grep hidden.lab /etc/hosts; rm -rf /var/lib/apt/lists/*")  # fmt: skip
        yield made


@contextlib.contextmanager
def _namespace(board: EmulatedBoard) -> Iterator[None]:
    """While it lasts, from :data:`NAMESPACE` the board can be reached, and nothing else."""
    outer, inner = f"off{os.getpid() % 100000}", "eth0"
    try:
        _ip("netns", "add", NAMESPACE)
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", NAMESPACE)
        _ip("link", "set", outer, "master", network.BRIDGE, "up")
        _ip("-n", NAMESPACE, "address", "add", f"{_HERE}/32", "dev", inner)
        _ip("-n", NAMESPACE, "link", "set", inner, "up")
        _ip("-n", NAMESPACE, "route", "add", f"{board.address}/32", "dev", inner)
        yield
    finally:
        subprocess.run(["ip", "netns", "delete", NAMESPACE], check=False)
