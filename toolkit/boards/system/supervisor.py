"""Watches over one full-system board: serves its disk, runs QEMU, starts it again when the board reboots.

One small process per running board, in a session of its own. It ends when the board is powered off, or
its QEMU was killed; QEMU ends when it does. ``python -m toolkit.boards.system.supervisor RECORD``.
"""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from toolkit.boards import network
from toolkit.boards.system import disk, firmware, launch, network_card, overlay
from toolkit.boards.system.launch import Run
from toolkit.boards.system.qmp import Monitor, Silence
from toolkit.errors import PinnaceError

_RESTORE_SECONDS = 120.0
_START_SECONDS = 300.0
"""Until QEMU answers; on a loaded machine a large RAM disk is long on its way."""

_TEND_SECONDS = 1.0
_NOISE = (b"Slirp: Failed to send packet", b"usbnet: failed control transaction", b"has no peer")
_AGAIN = ("guest-reset", "host-qmp-system-reset", "subsystem-reset")


def main() -> None:
    """Entry point: the argument is the file with the board's :class:`~toolkit.boards.system.launch.Run`."""
    run = Run.read(Path(sys.argv[1]))
    if run is None:
        sys.exit(f"there is no board in {sys.argv[1]}")
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(run.disk_socket))
            server.listen(1)
            incoming = run.incoming
            while _boot(run, server, incoming) in _AGAIN:
                incoming = ""
    except (PinnaceError, OSError) as problem:
        print(problem, file=sys.stderr, flush=True)
        sys.exit(1)


def _boot(run: Run, server: socket.socket, incoming: str) -> str:
    """One life of the machine, from power on to off or reset; returns why it ended."""
    # A restored machine has its kernel running already.
    command_line = (
        "" if incoming else firmware.command_line(overlay.command_line(Path(run.disk)), run.system)
    )
    words = launch.command(run, incoming, command_line, _forwarder())
    cache = disk.WriteCache(Path(run.disk))
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=subprocess.PIPE, cwd="/"
    ) as qemu:
        serving = threading.Thread(target=_serve, args=(run, server, cache, qemu), daemon=True)
        serving.start()
        threading.Thread(target=_complaints, args=(qemu,), daemon=True).start()
        try:
            with Monitor(
                run.own_monitor, seconds=_START_SECONDS, alive=lambda: qemu.poll() is None
            ) as monitor:
                _begin(run, incoming, monitor)
                return _reason(_shutdown(run, incoming, monitor), qemu)
        except PinnaceError:
            with suppress(subprocess.TimeoutExpired):
                qemu.wait(5)
                return "killed"
            raise
        finally:
            qemu.kill()
            qemu.wait()
            serving.join()
            cache.close()


def _serve(run: Run, server: socket.socket, cache: disk.WriteCache, qemu: subprocess.Popen[bytes]) -> None:  # fmt: skip
    server.settimeout(1)
    while qemu.poll() is None:
        with suppress(TimeoutError):
            connection, _ = server.accept()
            break
    else:
        return
    connection.settimeout(None)
    with connection:
        if not disk.serve(connection, cache):
            spared = json.loads(run.loss.read_text()) if run.loss.exists() else {}
            lost = cache.lose(**spared)
            print(f"the power was cut: {lost} unflushed blocks are lost", file=sys.stderr, flush=True)  # fmt: skip


def _begin(run: Run, incoming: str, monitor: Monitor) -> None:
    """Bring a restored machine to where it was, and let it go on."""
    if not incoming:
        return
    model = run.model
    migrate(monitor, "migrate-incoming", Path(incoming), _RESTORE_SECONDS)
    if model.after_restore:
        model.after_restore(monitor, Path(run.folder))
    if model.late_network and not run.alone:
        network_card.plug_in(monitor, model.network)
    monitor.execute("cont")
    run.ready.touch()


def migrate(monitor: Monitor, command: str, file: Path, seconds: float) -> None:
    """Save the machine's memory and devices in ``file``, or load them; returns when it is done."""
    capability = {"capability": "mapped-ram", "state": True}
    monitor.execute("migrate-set-capabilities", {"capabilities": [capability]})
    monitor.execute(command, {"uri": f"file:{file}"})
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = monitor.execute("query-migrate")
        if status.get("status") == "completed":
            return
        if status.get("status") in ("failed", "cancelled"):
            raise PinnaceError(f"{command} failed: {status.get('error-desc', 'no reason given')}")
        time.sleep(0.01)
    raise PinnaceError(f"{command} of {file} took longer than {seconds:.0f} s")


def _reason(event: dict[str, Any], qemu: subprocess.Popen[bytes]) -> str:
    """Why the machine ended, as the ``event`` has it; QEMU ends with it."""
    with suppress(subprocess.TimeoutExpired):
        qemu.wait(30)
    return str(event["data"]["reason"])


def _shutdown(run: Run, incoming: str, monitor: Monitor) -> dict[str, Any]:
    """Wait for the machine's end, however long it runs, and see to what it needs until then."""
    model = run.model
    plugged = bool(incoming) or run.alone or not model.late_network
    while True:
        busy = model.tend is not None or not plugged
        try:
            return monitor.wait_for("SHUTDOWN", _TEND_SECONDS if busy else float("inf"))
        except Silence:
            pass
        try:
            plugged = plugged or _plugged_in(run, monitor)
            if model.tend:
                model.tend(monitor, Path(run.folder))
        except PinnaceError:
            # It may have ended while it was asked: what was heard before that says why.
            return monitor.wait_for("SHUTDOWN", 0)


def _plugged_in(run: Run, monitor: Monitor) -> bool:
    """Plug the network card of a booting machine in, once that can find it; whether it is in."""
    listens = network_card.host_listens(monitor, run.model.usb_host)
    if listens:
        network_card.plug_in(monitor, run.model.network)
    return listens


def _complaints(qemu: subprocess.Popen[bytes]) -> None:
    """Pass on what QEMU has to say, but not what it says a thousand times of a card without a driver yet."""
    assert qemu.stderr is not None
    for line in qemu.stderr:
        if not any(noise in line for noise in _NOISE):
            sys.stderr.buffer.write(line)
            sys.stderr.flush()


def _forwarder() -> str:
    script = Path(__file__).with_name("forward.py")
    words: Sequence[str] = [sys.executable, "-IS", str(script), str(network.registry_record())]
    return shlex.join(words).replace(",", ",,")


if __name__ == "__main__":
    main()
