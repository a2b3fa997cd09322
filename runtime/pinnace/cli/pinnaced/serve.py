"""Serving: the daemon in the foreground, from its configuration to SIGTERM."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from functools import cache, partial
from typing import TYPE_CHECKING

from pinnace.api.server import Server
from pinnace.api.services import shims_table, table
from pinnace.api.ttrpcserver import TtrpcServer
from pinnace.cli.pinnaced import configuration, observing
from pinnace.daemon import host
from pinnace.daemon.daemon import Daemon
from pinnace.daemon.log import Log
from pinnace.daemon.shims import KeeperShims
from pinnace.errors import Error, PermissionDenied, described
from pinnace.keeper.sockets import MAX_PATH
from pinnace.linux import memory
from pinnace.version import CONTAINERD_VERSION

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    from pinnace.cli.options import Call
    from pinnace.daemon.backends import Backend
    from pinnace.daemon.config import Config

_GRACE_SECONDS = 3.0
STACK_SIZE = 512 * 1024
"""Address space per thread; the default of 8 MiB would exhaust that of a 32-bit board."""


def run(call: Call) -> int:
    """Serve until SIGTERM or SIGINT; returns 0. Raises when the daemon can't start."""
    memory.keep_little()
    threading.stack_size(STACK_SIZE)
    config = configuration.load(call)
    log = Log(
        config.text("log_level"),
        journal="JOURNAL_STREAM" in os.environ,
        form=config.text("log_format"),
    )
    for warning in config.warnings:
        log.warn(warning)
    if os.geteuid() != 0:
        raise PermissionDenied("the daemon must run as root", hint="start it with sudo")
    host.set_oom_score(config.number("oom_score"), log.warn)
    # Held until the process ends.
    locks = [_locked(config.text(name)) for name in ("root", "state")]
    events_address = config.text("ttrpc_address") or f"{config.text('address')}.ttrpc"
    programs = partial(_programs, config.text("address"), events_address, log)
    daemon = Daemon(config, log, KeeperShims(config.text("keeper_address")), cache(programs))
    daemon.start()
    shims_server = _shims_server(config, events_address, daemon)
    if shims_server is not None:
        shims_server.start()
    calls = observing.counter(config)
    server = Server(
        _listen(config), table(daemon), log.debug, log.error, calls, lambda: _rest(daemon)
    )
    windows = observing.start(daemon, calls, log)
    _stop_on_signal(server, log)
    _reload_on_hangup(call, daemon)
    log.info(f"pinnaced {CONTAINERD_VERSION} serves {config.text('address')}")
    _settle()
    host.notify("READY=1")
    server.serve()
    host.notify("STOPPING=1")
    server.stop(_GRACE_SECONDS)
    if shims_server is not None:
        shims_server.stop()
    for window in windows:
        window.stop()
    daemon.stop()
    for lock in locks:
        os.close(lock)
    log.info("stopped; containers go on")
    return 0


def _shims_server(config: Config, address: str, daemon: Daemon) -> TtrpcServer | None:
    """The socket for shims that are not our own; the daemon's address may be too long to have one beside it."""
    if not config.text("ttrpc_address") and len(os.fsencode(address)) > MAX_PATH:
        daemon.log.warn(
            f"{address} is too long for a socket; shims that are not our own need ttrpc.address"
        )
        return None
    listener = host.listen(address, config.number("ttrpc_uid"), config.number("ttrpc_gid"))
    return TtrpcServer(listener, shims_table(daemon), daemon.log.error)


def _programs(address: str, events_address: str, log: Log) -> Backend:
    """Shims that are not our own; most daemons have none."""
    from pinnace.api.foreign.backend import ForeignShims

    return ForeignShims(address, events_address, log)


def _locked(directory: str) -> int:
    try:
        os.makedirs(directory, mode=0o711, exist_ok=True)
    except OSError as problem:
        raise PermissionDenied(f"cannot create {directory}: {problem.strerror}") from None
    return host.lock(directory)


def _listen(config: Config) -> socket.socket:
    return host.listen(config.text("address"), config.number("uid"), config.number("gid"))


def _stop_on_signal(server: Server, log: Log) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        log.info(f"got {signal.Signals(number).name}")
        _beside(server.interrupt, number, log)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def _reload_on_hangup(call: Call, daemon: Daemon) -> None:
    one_at_a_time = threading.Lock()

    def reload() -> None:
        with one_at_a_time:
            host.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            _reload(call, daemon)
            host.notify("READY=1")

    def hang_up(number: int, frame: FrameType | None) -> None:
        _beside(reload, number, daemon.log)

    signal.signal(signal.SIGHUP, hang_up)


def _beside(action: Callable[[], None], number: int, log: Log) -> None:
    """Run what a signal asks for in a thread: its handler runs between any two instructions of the main thread.

    Without a thread to be had the signal comes again a second later.
    """
    try:
        threading.Thread(target=action, name="signal", daemon=True).start()
    except RuntimeError as problem:
        log.error(f"{signal.Signals(number).name} has to wait: {described(problem)}")
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), number))
        signal.alarm(1)


def _reload(call: Call, daemon: Daemon) -> None:
    """Read the files again. A mistake in them changes nothing."""
    log = daemon.log
    try:
        new = configuration.load(call)
    except Error as problem:
        log.error(f"the configuration stays as it was: {problem}")
        return
    _forget_parser()
    for warning in new.warnings:
        log.warn(warning)
    changed, waiting = daemon.reconfigure(new)
    log.info(f"read the configuration again; changed: {', '.join(changed) or 'nothing'}")
    if waiting:
        log.warn(f"changed in the files, in effect with the next start: {', '.join(waiting)}")


def _forget_parser() -> None:
    for name in (
        "tomllib",
        "tomllib._parser",
        "tomllib._re",
        "tomllib._types",
        "string",
        "difflib",
    ):
        sys.modules.pop(name, None)


def _rest(daemon: Daemon) -> None:
    """Nothing was asked for a while: be small."""
    daemon.store.db.rest()
    gc.collect()
    memory.give_back()


def _settle() -> None:
    """What only starting needed is given back; what stays is not looked at again."""
    _forget_parser()
    gc.collect()
    gc.freeze()
