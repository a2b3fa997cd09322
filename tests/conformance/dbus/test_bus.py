"""Our D-Bus client against the reference bus, and beside systemd's own client."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.errors import DeadlineExceeded, Unavailable
from pinnace.linux.cgroups import systemd
from pinnace.linux.dbus import Connection, DBusError, Variant, wire
from pinnace.linux.dbus.connection import socket_path
from toolkit import debian_program

pytestmark = pytest.mark.peer
_BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>"""


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "bus"
    (tmp_path / "bus.conf").write_text(_CONFIG.format(path=path))
    daemon = debian_program.command("trixie", "dbus-daemon", "usr/bin/dbus-daemon")
    words = [*daemon, f"--config-file={tmp_path}/bus.conf", "--nofork", "--nopidfile"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 10
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield str(path)
        running.terminate()


def _busctl(path: str, *words: str) -> list[str]:
    loader, option, folders, program = debian_program.command("trixie", "systemd", "usr/bin/busctl")
    (shared,) = Path(program).parents[2].glob("usr/lib/*/systemd/libsystemd-shared-*.so")
    busctl = [loader, option, f"{folders}:{shared.parent}", program]
    return [*busctl, f"--address=unix:path={path}", *words]


def test_a_call_and_its_answer(bus: str) -> None:
    with Connection(bus) as connection:
        (names,) = connection.call(*_BUS, "ListNames")
        assert "org.freedesktop.DBus" in names
        assert connection.call(*_BUS, "NameHasOwner", "s", "org.nobody") == [False]
        (pid,) = connection.call(*_BUS, "GetConnectionUnixProcessID", "s", names[-1])
        assert pid == os.getpid()


def test_an_error_has_its_name(bus: str) -> None:
    with Connection(bus) as connection:
        with pytest.raises(DBusError) as caught:
            connection.call(*_BUS, "GetNameOwner", "s", "org.nobody")
        assert caught.value.name == "org.freedesktop.DBus.Error.NameHasNoOwner"


def test_a_signal_from_another_client(bus: str) -> None:
    with Connection(bus) as connection:
        connection.watch("type='signal',interface='org.test.I'")
        values = ["a{sv}u", "1", "key", "at", "2", "7", "8", "9"]
        words = _busctl(bus, "emit", "/org/test", "org.test.I", "Said", *values)
        subprocess.run(words, check=True)
        found = connection.signal(lambda message: message.fields["member"] == "Said", 10)
        assert found.body == [{"key": Variant("at", [7, 8])}, 9]
        with pytest.raises(DeadlineExceeded):
            connection.signal(lambda message: message.fields["member"] == "Said", 0.05)


def test_another_client_reads_what_we_write(bus: str) -> None:
    """The very types that a unit's properties have, decoded by systemd's library."""
    properties = [
        ["PIDs", Variant("au", [1, 2])],
        ["Delegate", Variant("b", True)],
        ["MemoryMax", Variant("t", (1 << 64) - 1)],
        ["AllowedCPUs", Variant("ay", b"\x03\x01")],
        ["DeviceAllow", Variant("a(ss)", [["/dev/char/1:3", "rwm"]])],
    ]
    words = _busctl(bus, "--json=short", "--match=interface='org.test.I'", "monitor")
    fields = {"path": "/o", "interface": "org.test.I", "member": "Said", "signature": "sa(sv)"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as monitor:
        assert monitor.stdout
        deadline = time.monotonic() + 10
        with Connection(bus) as connection:
            while not select.select([monitor.stdout], [], [], 0.1)[0]:  # until it listens
                assert time.monotonic() < deadline
                connection.send(wire.Message(wire.SIGNAL, 0, fields, ["name", properties]))
        line = json.loads(monitor.stdout.readline())
        monitor.kill()
    name, found = line["payload"]["data"]
    assert name == "name"
    assert [(key, value["type"], value["data"]) for key, value in found] == [
        ("PIDs", "au", [1, 2]),
        ("Delegate", "b", True),
        ("MemoryMax", "t", (1 << 64) - 1),
        ("AllowedCPUs", "ay", [3, 1]),
        ("DeviceAllow", "a(ss)", [["/dev/char/1:3", "rwm"]]),
    ]


def test_without_systemd_the_error_says_what_was_tried_and_what_to_do(
    bus: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(systemd, "_places", lambda: [(f"{tmp_path}/nothing", True)])
    with pytest.raises(Unavailable, match=r"nothing: No such file.*--cgroup-manager cgroupfs"):
        systemd.connect()


def test_a_bus_without_systemd(bus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "_places", lambda: [(bus, True)])
    with pytest.raises(DBusError):
        systemd.stop("pinnace-none.scope")


def test_addresses() -> None:
    assert socket_path("tcp:host=x;unix:path=/run/a%20b,guid=1") == "/run/a b"
    assert socket_path("unix:abstract=/x") == ""
