"""The daemon: its parts, put together from the configuration.

It starts nothing that listens: ``pinnace.cli.pinnaced`` puts the API in front of it.
"""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING, Any

from pinnace.daemon import plugins, runtimes, sandbox
from pinnace.daemon.catalog import Catalog
from pinnace.daemon.checkpoints import Checkpoints
from pinnace.daemon.collector import Collector
from pinnace.daemon.config import reloaded
from pinnace.daemon.events import Exchange
from pinnace.daemon.restart import Monitor
from pinnace.daemon.settings import SETTINGS, seconds
from pinnace.daemon.streams import Streams
from pinnace.daemon.tasks import Tasks
from pinnace.errors import Error
from pinnace.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from pinnace.daemon.backends import Backend
    from pinnace.daemon.config import Config
    from pinnace.daemon.log import Log
    from pinnace.daemon.runtimes import Runtime
    from pinnace.daemon.shims import Shims
    from pinnace.store.gc import Stats
    from pinnace.store.records import TypedValue


_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Daemon:
    """Everything that services work with. ``start`` brings back what ran before."""

    def __init__(
        self, config: Config, log: Log, shims: Shims, programs: Callable[[], Backend] | None = None
    ) -> None:
        """Open the stores; raises what ``Store`` does. ``programs`` is for shims that are not our own."""
        self.config = config
        self.log = log
        self.store = Store(config.text("root"))
        if self.store.notice:
            log.warn(self.store.notice)
        self.events = Exchange()
        self.collector = Collector(
            self._collect,
            self._next_expiry,
            log.error,
            delay=seconds(config.text("gc_schedule_delay")) or 0.0,
            start_delay=seconds(config.text("gc_startup_delay")) or 0.0,
        )
        self.catalog = Catalog(self.store, self.events, self.collector)
        self.tasks = Tasks(
            os.path.join(config.text("state"), "io.containerd.runtime.v2.task"),
            shims,
            self.events,
            log,
            programs,
        )
        self.checkpoints = Checkpoints(
            os.path.join(self.store.root, "checkpoints"), self.store.content, self.tasks
        )
        self._restart = Monitor(
            self.store,
            self.catalog,
            self.tasks,
            self.events,
            log,
            seconds(config.text("restart_interval")) or 10.0,
            self.runtime,
        )
        self.streams: Streams[Any] = Streams()
        self._sandbox_image = threading.Thread(target=self._import_sandbox_image, daemon=True)
        self.uuid = self._read_uuid()

    def start(self) -> None:
        """Connect to the shims of an earlier daemon, start what is to run, and begin to collect garbage."""
        self.tasks.reconnect()
        self.checkpoints.clear(list(self.store.namespaces.list()))
        self.collector.start()
        self._restart.start()
        self._sandbox_image.start()

    def stop(self) -> None:
        """Let go of everything; containers go on."""
        if self._sandbox_image.is_alive():
            self._sandbox_image.join()
        self._restart.stop()
        self.collector.stop()
        self.tasks.close()
        self.store.close()

    def reconfigure(self, new: Config) -> tuple[list[str], list[str]]:
        """Take over what can be of a changed configuration; what changed, and what waits for a start."""
        self.config, changed, waiting = reloaded(self.config, new)
        self.log.set_level(self.config.text("log_level"))
        return changed, waiting

    def runtime(self, name: str, options: TypedValue | None) -> Runtime:
        """What runs a container whose record names ``name``; raises NotFound, InvalidArgument."""
        return runtimes.find(name, self.config["runtime_programs"], options)

    def plugins(self) -> list[plugins.Plugin]:
        """What the daemon is made of, in containerd's terms."""
        return plugins.table((s.name, s.root) for s in self.store.snapshotters.values())

    def _import_sandbox_image(self) -> None:
        name = self.config.text("sandbox_image")
        if name != SETTINGS["sandbox_image"].default:
            return
        try:
            if sandbox.ensure(
                self.store, name, sandbox.archive_path(), self.config.text("snapshotter")
            ):
                self.log.info(f"imported the built-in image {name}")
        except Error as problem:
            # Pods can't run until it is pulled; everything else can.
            self.log.error(f"cannot import the built-in image {name}: {problem}")

    def _collect(self) -> Stats:
        from pinnace.store import gc

        return gc.collect(self.store.db, self.store.content, self.store.snapshotters)

    def _next_expiry(self) -> float | None:
        from pinnace.store import gc

        return gc.next_expiry(self.store.db)

    def _read_uuid(self) -> str:
        """The identity of this root directory, made once."""
        directory = os.path.join(self.store.root, "io.containerd.grpc.v1.introspection")
        path = os.path.join(directory, "uuid")
        try:
            with open(path, encoding="ascii") as file:
                found = file.read().strip()
            if _UUID.fullmatch(found):
                return found
        except (OSError, ValueError):
            pass  # the first start, or what a power cut left
        with open("/proc/sys/kernel/random/uuid", encoding="ascii") as file:
            found = file.read().strip()
        os.makedirs(directory, mode=0o711, exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(found)
        return found
