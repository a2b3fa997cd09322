"""A container under a real shim, whose output is collected."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pinnace.daemon.shims import Connection, KeeperShims
from pinnace.errors import Error, Unavailable
from pinnace.keeper import leftovers
from pinnace.linux import cgroups, proc
from pinnace.linux.mount import unmount_all
from pinnace.spec import runtime


class Container:
    """The shim is there from the start; the container is created, and waits for :meth:`start`."""

    made: ClassVar[list[Container]] = []

    def __init__(self, shims: KeeperShims, image: Path, place: Path, *words: str, terminal: bool = False, stdin: str = "", stdout: str = "", reader: bool = True, own_pids: bool = True, resources: Mapping[str, Any] | None = None) -> None:  # fmt: skip
        self.cgroup = f"/pinnace-test-{os.getpid()}-{place.name}"
        self.bundle, self.state = place / "b", place / "s"
        for directory in (self.bundle / "rootfs", self.state, place / "upper", place / "work"):
            directory.mkdir(parents=True)
        spec = runtime.default_spec(self.cgroup)
        spec["process"].update(args=list(words), terminal=terminal)
        spec["linux"]["resources"].update(resources or {})
        if not own_pids:
            spec["linux"]["namespaces"].remove({"type": "pid"})
        (self.bundle / "config.json").write_text(json.dumps(spec))
        self.process = spec["process"]
        self.shim_id = 0
        self.output: list[bytes] = []
        self._reader: threading.Thread | None = None
        if reader:
            self.output, self._reader = self.collect(place / "out")
        elif not stdout:
            os.mkfifo(place / "out")
        self._ended = threading.Condition()
        self.events: list[str] = []
        self._exits: dict[str, Mapping[str, Any]] = {}
        address = shims.start("test", "box", str(self.bundle), str(self.state))
        self.shim = Connection(address, self._on_event, lambda: None)
        self.made.append(self)
        self.shim.call("subscribe")
        options = [f"lowerdir={image}", f"upperdir={place}/upper", f"workdir={place}/work"]
        root = {"type": "overlay", "source": "overlay", "target": "", "options": options}
        made = self.shim.call("create", rootfs=[root], options={}, stdin=stdin, stdout=stdout or str(place / "out"), stderr="", terminal=terminal)  # fmt: skip
        self.pid = int(made["pid"])

    @classmethod
    def remove_all(cls) -> None:
        """Whatever a test came to, its shims end and its containers are removed."""
        while cls.made:
            container = cls.made.pop()
            with contextlib.suppress(Error):
                container.shim.call("shutdown")
            container.shim.close()
            leftovers.remove(str(container.state))
            unmount_all(str(container.bundle / "rootfs"))

    def collect(self, fifo: Path) -> tuple[list[bytes], threading.Thread]:
        os.mkfifo(fifo)
        parts: list[bytes] = []
        reader = threading.Thread(target=lambda: parts.append(fifo.read_bytes()))
        reader.start()
        return parts, reader

    def _on_event(self, event: Mapping[str, Any]) -> None:
        with self._ended:
            self.events.append(str(event["event"]))
            if event["event"] == "exit":
                self._exits[str(event.get("exec_id") or "")] = event
            self._ended.notify_all()

    def start(self) -> None:
        self.shim.call("start", exec_id="")

    def wait(self, exec_id: str = "") -> int:
        with self._ended:
            assert self._ended.wait_for(lambda: exec_id in self._exits, 20)
        return int(self._exits[exec_id]["status"])

    def finish(self) -> str:
        if self._reader is not None:
            self._reader.join(10)
        self.shim.call("delete")
        assert self.is_gone()
        return self.output[0].decode()

    def lost(self) -> bool:
        """Whether the shim stops answering, within two seconds."""
        for _ in range(100):
            try:
                self.shim.call("state", exec_id=None)
            except Unavailable:
                return True
            time.sleep(0.02)
        return False

    def shim_pid(self) -> int:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.state / "shim.sock"))
            peer = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("3i", peer)[0])

    def is_gone(self) -> bool:
        """Neither control groups nor processes nor its state are left."""
        found = proc.stat(self.pid)
        return (
            not cgroups.find(self.cgroup).exists()
            and (found is None or found.state == "Z")
            and not (self.state / "runc/box").exists()
        )
