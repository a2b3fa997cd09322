"""QEMU's command line for a board, and what a running board is recorded as."""

from __future__ import annotations

import json
import random
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from toolkit.boards.system import configure, model, tools
from toolkit.boards.system.image import Image
from toolkit.boards.system.model import Model
from toolkit.errors import PinnaceError
from toolkit.process import start_time

_PORTS = range(20000, 30000)
"""Below the ports that Linux gives outgoing connections, so that nobody takes one by chance."""

NETWORK_DEVICE = "network0"
"""QEMU's id of the network card, by which a late one is plugged in and out."""


@dataclass(frozen=True, slots=True)
class Run:
    """A running board: who watches over it, where its sockets are, where its SSH server answers.

    ``incoming`` is the file with the memory of the snapshot that it starts from, or empty. ``alone``: a
    late network card is left out, so that the machine can be kept. ``system``: whose kernel it is like,
    see :mod:`toolkit.boards.system.firmware`.
    """

    label: str
    image: str
    disk: str
    folder: str
    console: str
    port: int
    incoming: str = ""
    supervisor: int = 0
    supervisor_started: int = 0
    alone: bool = False
    system: str = ""

    @property
    def alive(self) -> bool:
        return self.supervisor > 0 and start_time(self.supervisor) == self.supervisor_started

    @property
    def model(self) -> Model:
        return model.models()[self.label]

    @property
    def monitor(self) -> Path:
        """The socket of QEMU's monitor that commands use; the supervisor has another one."""
        return Path(self.folder, "monitor")

    @property
    def own_monitor(self) -> Path:
        return Path(self.folder, "supervisor")

    @property
    def disk_socket(self) -> Path:
        return Path(self.folder, "disk")

    @property
    def serial(self) -> Path:
        """The socket of the serial console."""
        return Path(self.folder, "serial")

    @property
    def qemu_pid(self) -> Path:
        """The file with QEMU's process id."""
        return Path(self.folder, "pid")

    @property
    def ready(self) -> Path:
        """A file that is there once a restored machine goes on: what connects earlier is forgotten."""
        return Path(self.folder, "ready")

    @property
    def loss(self) -> Path:
        """A file that says what a power cut spares: ``{"kept": 0.5, "seed": 1}``."""
        return Path(self.folder, "loss.json")

    def write(self, path: Path) -> None:
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps(asdict(self), indent=2) + "\n")
        scratch.replace(path)

    @classmethod
    def read(cls, path: Path) -> Run | None:
        """What ``path`` records, or ``None`` when there is nothing (readable)."""
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nobody listens now."""
    for port in random.sample(_PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise PinnaceError(f"found no free port from {_PORTS[0]} to {_PORTS[-1]} of 127.0.0.1")


def command(run: Run, incoming: str, command_line: str, registry: str) -> list[str]:
    """The words that start QEMU; with ``incoming`` it waits for a machine to be restored.

    ``registry`` is the command that is given a connection to the lab registry.
    """
    machine, image = run.model, Image(Path(run.image))
    size = ["-cpu", machine.cpu, "-smp", str(machine.cpus), "-m", str(machine.memory)]
    network = [
        "user",
        f"id={model.NETWORK}",
        "restrict=on",
        f"hostfwd=tcp:127.0.0.1:{run.port}-10.0.2.15:22",
        f"guestfwd=tcp:{configure.REGISTRY_ADDRESS}:443-cmd:{registry}",
    ]
    serial = f"socket,id=serial,path={run.serial},server=on,wait=off,logfile={run.console},logappend=on"  # fmt: skip
    late = machine.late_network
    return [
        "setpriv", "--pdeathsig", "KILL", "--",
        *tools.qemu(machine.program),
        "-nodefaults", "-display", "none", "-no-reboot",
        "-machine", machine.machine,
        *([] if machine.fixed else size),
        "-accel", "tcg,thread=multi,tb-size=256",
        "-pidfile", str(run.qemu_pid),
        "-chardev", serial, "-serial", "chardev:serial",
        "-qmp", f"unix:{run.monitor},server=on,wait=off",
        "-qmp", f"unix:{run.own_monitor},server=on,wait=off",
        "-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", command_line,
        *(["-dtb", str(image.device_tree)] if machine.device_tree else []),
        *_disk(run),
        "-netdev", ",".join(network),
        *([] if late else ["-device", f"{machine.network},id={NETWORK_DEVICE}"]),
        *(["-incoming", "defer"] if incoming else []),
    ]  # fmt: skip


def _disk(run: Run) -> list[str]:
    """The disk's words: a card in the machine's own slot, where it has one, can be no ``-device``."""
    server = {"driver": "nbd", "server": {"type": "unix", "path": str(run.disk_socket)}}
    if run.model.disk:
        disk = {"driver": "qcow2", "node-name": model.DISK, "file": server}
        return ["-blockdev", json.dumps(disk), "-device", run.model.disk]
    path = str(run.disk_socket).replace(",", ",,")
    nbd = f"file.driver=nbd,file.server.type=unix,file.server.path={path}"
    # Linux sends a card without a cache of its own no flush, and counts on what the card has taken: without this
    # even the disk file's own tables would wait in QEMU, and a power cut would take what the board had synced.
    return ["-drive", f"if=sd,driver=qcow2,cache=writethrough,{nbd}"]
