"""Control groups that systemd makes: a transient unit for each container, asked for over D-Bus.

systemd owns the tree; what is delegated to us (``Delegate=``) we write as usual, so that everything but
making, changing and removing is the business of the version's own class. A new scope needs a process:
a placeholder is in it until the container's is (``Placeholder.release``).
"""

from __future__ import annotations

import os
import signal
from typing import Any

from pinnace.errors import Error, FailedPrecondition, Unavailable
from pinnace.linux import dbus
from pinnace.linux.cgroups import units
from pinnace.linux.dbus import Connection, DBusError
from pinnace.linux.dbus.connection import socket_path
from pinnace.linux.dbus.wire import Message

_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")  # fmt: skip
_JOB_SECONDS = 30.0
_EXISTS = "org.freedesktop.systemd1.UnitExists"
_GONE = ("org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.DBus.Error.UnknownObject")


class Placeholder:
    """A process that only is there; ends with us, or when it is released."""

    def __init__(self) -> None:
        inner, self._outer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._outer)
            os.read(inner, 1)
            os._exit(0)
        os.close(inner)

    def release(self) -> None:
        """End it; harmless when done twice."""
        if self.pid:
            os.close(self._outer)
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0


def connect() -> Connection:
    """systemd of this machine, or for other users than root, the user's own.

    Raises Unavailable when it cannot be reached.
    """
    tried = []
    for path, is_bus in _places():
        try:
            return Connection(path, is_bus=is_bus)
        except Unavailable as problem:
            tried.append(problem.message)
    raise Unavailable(
        f"systemd cannot be asked for control groups: {'; '.join(tried)}",
        hint="is this machine run by systemd? --cgroup-manager cgroupfs does without",
    )


def _places() -> list[tuple[str, bool]]:
    if os.geteuid() == 0:
        bus = socket_path(os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", ""))
        # The second is systemd's own, for root only; it is there without a bus.
        return [(bus or "/run/dbus/system_bus_socket", True), ("/run/systemd/private", False)]
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    bus = socket_path(os.environ.get("DBUS_SESSION_BUS_ADDRESS", ""))
    return [(bus or f"{runtime}/bus", True), (f"{runtime}/systemd/private", False)]


def start(what: units.Unit, properties: units.Properties) -> str:
    """Start a transient unit and wait for it; the path of its control group.

    Raises Unavailable, DeadlineExceeded, FailedPrecondition as systemd refuses.
    """
    with connect() as systemd:
        _listen(systemd)
        for attempt in range(2):
            try:
                job = _call(systemd, "StartTransientUnit", "ssa(sv)a(sa(sv))", what.name, "replace", properties, [])  # fmt: skip
                break
            except DBusError as problem:
                if problem.name != _EXISTS or attempt:
                    raise _in_words(what, problem) from None
                _reset(systemd, what.name)  # one that failed is kept until somebody has seen it
        result = _wait(systemd, job[0])
        if result != "done":
            raise FailedPrecondition(f"systemd could not start {what.name}: {result}")
        return _control_group(systemd, what)


def update(name: str, properties: units.Properties) -> None:
    """Change properties of a running unit until it ends. Raises as ``start`` does."""
    if not properties:
        return
    with connect() as systemd:
        try:
            _call(systemd, "SetUnitProperties", "sba(sv)", name, True, properties)
        except DBusError as problem:
            raise _in_words(units.Unit(name, ""), problem) from None


def stop(name: str) -> None:
    """Stop a unit and forget its failure; one that is gone is fine. Raises as ``start`` does."""
    with connect() as systemd:
        _listen(systemd)
        try:
            (job,) = _call(systemd, "StopUnit", "ss", name, "replace")
            _wait(systemd, job)
        except DBusError as problem:
            if problem.name not in _GONE:
                raise _in_words(units.Unit(name, ""), problem) from None
        _reset(systemd, name)


def _call(systemd: Connection, member: str, signature: str = "", *values: Any) -> list[Any]:
    return systemd.call(*_MANAGER, member, signature, *values)


def _listen(systemd: Connection) -> None:
    """Have ends of jobs signalled; before a job is asked for, so that none is missed."""
    if systemd.is_bus:
        systemd.watch(f"type='signal',interface='{_MANAGER[2]}',member='JobRemoved'")
    _call(systemd, "Subscribe")


def _wait(systemd: Connection, job: str) -> str:
    """How a job ended: ``done``, or else."""

    def is_end(message: Message) -> bool:
        return message.fields.get("member") == "JobRemoved" and message.body[1:2] == [job]

    return str(systemd.signal(is_end, _JOB_SECONDS).body[3])


def _reset(systemd: Connection, name: str) -> None:
    try:
        _call(systemd, "ResetFailedUnit", "s", name)
    except DBusError as problem:
        if problem.name not in _GONE:
            raise


def _control_group(systemd: Connection, what: units.Unit) -> str:
    """Where the unit's control group is: of a user's systemd it is somewhere below."""
    (path,) = _call(systemd, "GetUnit", "s", what.name)
    kind = "Slice" if what.name.endswith(".slice") else "Scope"
    (found,) = systemd.call(
        _MANAGER[0], path, "org.freedesktop.DBus.Properties", "Get",
        "ss", f"org.freedesktop.systemd1.{kind}", "ControlGroup",
    )  # fmt: skip
    return str(found.value) or what.path


def _in_words(what: units.Unit, problem: dbus.DBusError) -> Error:
    return FailedPrecondition(f"systemd refuses {what.name}: {problem.message} ({problem.name})")


def driver_names() -> dict[tuple[str, int], str]:
    """Names of drivers by kind (``char``, ``block``) and major number, from /proc/devices."""
    found: dict[tuple[str, int], str] = {}
    kind = ""
    with open("/proc/devices", encoding="ascii", errors="replace") as file:
        for line in file:
            words = line.split()
            if line.startswith(("Character", "Block")):
                kind = "char" if line.startswith("Character") else "block"
            elif len(words) == 2 and words[0].isdigit():
                found[kind, int(words[0])] = words[1]
    return found
