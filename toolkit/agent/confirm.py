"""A change that is not confirmed takes itself back.

Before a run changes what could lock the laptop out, it leaves a watcher on the board: a unit of systemd
that puts everything back when nobody has come in time over a new connection and said that it is well. The
time counts from the end of the run, and anew from a reboot. While the agent is at work the watcher waits.

    /var/lib/pinnace-agent/armed.json    which run, how many seconds, until when
    /var/lib/pinnace-agent/watch/        the modules that the watcher runs, of the agent that armed it
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from toolkit.agent import undo
from toolkit.agent.errors import AgentError
from toolkit.agent.journal import DIRECTORY, Journal, lock
from toolkit.agent.system import System

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from toolkit.agent.kinds.base import Resource

ARMED = DIRECTORY + "/armed.json"
UNIT = "pinnace-revert.service"
_UNIT_PATH = "/etc/systemd/system/" + UNIT
_CODE = DIRECTORY + "/watch"
_MODULES = ("errors", "system", "journal", "undo", "confirm")
_AFTER_BOOT = 1.5
"""How much longer the laptop has after a reboot: the network comes up after the watcher."""
_TICK = 1.0

RISKY_KINDS = ("bundle", "kernel_cmdline", "hostname", "authorized_key", "user")
RISKY_PATHS = (
    "/boot/", "/etc/NetworkManager/", "/etc/dhcpcd", "/etc/hosts", "/etc/netplan/", "/etc/network/",
    "/etc/nftables", "/etc/pam", "/etc/pinnace/config.toml", "/etc/resolv", "/etc/ssh/", "/etc/sudoers",
    "/etc/systemd/", "/etc/wpa_supplicant/", "/opt/pinnace/", "/root/.ssh/",
)  # fmt: skip
_RISKY_SYSCTLS = ("net.", "net/", "kernel.")

_SERVICE = """[Unit]
Description=Put back what was changed unless the laptop confirms it
ConditionPathExists={armed}

[Service]
ExecStart={python} -I -S -B -c "import sys; sys.path.insert(0, '{code}'); from toolkit.agent.confirm import watch; watch()"

[Install]
WantedBy=multi-user.target
"""


def risky(resource: Resource, paths: Sequence[str] = ()) -> bool:
    """Whether changing ``resource`` could lock the laptop out or end the runtime; ``paths`` are further ones."""
    kind = resource["kind"]
    if kind == "sysctl":
        return str(resource["key"]).startswith(_RISKY_SYSCTLS)
    path = str(resource.get("path", ""))
    return kind in RISKY_KINDS or kind == "unit" or path.startswith((*RISKY_PATHS, *paths))


def armed(system: System) -> dict[str, Any] | None:
    """The change that waits to be confirmed."""
    try:
        found = json.loads(system.read(ARMED) or b"null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def refuse_another(system: System, run: str) -> None:
    """Raise :class:`AgentError` while a change of another run than ``run`` waits to be confirmed."""
    found = armed(system)
    if found is not None and found["run"] != run:
        raise AgentError("a change of an earlier run was not confirmed and is about to be put back", f"wait {found['seconds']:.0f} s and run again")  # fmt: skip


def arm(system: System, run: str, seconds: float) -> None:
    """Have the watcher put back ``run`` unless it is confirmed ``seconds`` after its end."""
    _write(system, ARMED, json.dumps(_armed(system, run, seconds)))
    for name in ("toolkit", "toolkit.agent", *(f"toolkit.agent.{each}" for each in _MODULES)):
        path = name.replace(".", "/")
        leaf = "" if name.rsplit(".", 1)[-1] in _MODULES else "/__init__"
        _write(system, f"{_CODE}/{path}{leaf}.py", _source(name))
    service = _SERVICE.format(armed=ARMED, python=sys.executable, code=_CODE)
    _write(system, _UNIT_PATH, service, 0o644)
    system.check(["systemctl", "daemon-reload"])
    system.check(["systemctl", "enable", "--quiet", UNIT])
    system.check(["systemctl", "restart", UNIT])


def count_from_now(system: System) -> None:
    """The run has ended: from now on the laptop has its time."""
    found = armed(system)
    if found is not None:
        again = _armed(system, found["run"], found["seconds"])
        _write(system, ARMED, json.dumps(again))


def confirm(system: System, run: str) -> None:
    """The change is well: nothing is put back. Raises :class:`AgentError` when it was already."""
    found = armed(system)
    if found is None or found["run"] != run:
        raise AgentError("what was changed is put back already", "nobody confirmed it in time; run again")  # fmt: skip
    _disarm(system)


def put_back(system: System, run: str = "") -> int:
    """Put back the latest run, or ``run`` when that is the latest; returns how many things.

    A run that something came after is left alone: what it found is not what was there last.
    """
    known = undo.runs(system)
    count = 0
    if known and (not run or undo.run_of(known[-1]) == run):
        count = undo.revert(system, known[-1])
    if armed(system) is not None:
        _disarm(system)
    return count


def watch(root: str = "/") -> None:
    """What the unit runs: wait until the change is confirmed, or the time is up and it is put back."""
    system = System(root)
    while True:
        found = armed(system)
        if found is None:
            return
        if found["boot"] != _boot(system) or _time_is_up(system, found):
            try:
                held = lock(system, "the watcher of an unconfirmed change")
            except AgentError:
                time.sleep(_TICK)  # the agent is at work
                continue
            try:
                # It may have been confirmed, or counted anew, until the lock was ours.
                found = armed(system)
                if found is not None and found["boot"] != _boot(system):
                    _count_anew(system, found)
                elif found is not None and _time_is_up(system, found):
                    # A shutdown waits for this, and for the commands that it starts.
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                    _record(system, found, _put_back(system, found))
                    return
            finally:
                os.close(held)
        time.sleep(_TICK)


def _put_back(system: System, found: dict[str, Any]) -> str:
    try:
        return f"{put_back(system, found['run'])} things"
    except AgentError as problem:
        _disarm(system)
        return problem.message


def _record(system: System, found: dict[str, Any], what: str) -> None:
    notes = Journal(system, {"id": found["run"], "by": "the watcher"})
    notes.record(event="reverted", what=what, why=f"not confirmed within {found['seconds']} s")
    notes.close()


def _time_is_up(system: System, found: dict[str, Any]) -> bool:
    """Whether nobody can come any more; in another boot than the run's the time has to count anew first."""
    return bool(found["boot"] == _boot(system)) and _now() >= float(found["until"])


def _count_anew(system: System, found: dict[str, Any]) -> None:
    """After a reboot the laptop has its time again, from when the watcher is up.

    Not from when the kernel is: a board that is a container has its host's clock.
    """
    until = _now() + float(found["seconds"]) * _AFTER_BOOT
    _write(system, ARMED, json.dumps({**found, "until": until, "boot": _boot(system)}))


def _armed(system: System, run: str, seconds: float) -> dict[str, Any]:
    return {"run": run, "seconds": seconds, "until": _now() + seconds, "boot": _boot(system)}


def _now() -> float:
    """Seconds since the board was started: its clock may jump (no RTC), this one does not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot(system: System) -> str:
    return system.read_text("/proc/sys/kernel/random/boot_id").strip()


def _disarm(system: System) -> None:
    system.remove(ARMED)
    system.run(["systemctl", "disable", "--quiet", UNIT])
    system.remove(_UNIT_PATH)
    _remove_tree(system.path(_CODE))
    # Last, and without waiting: the one who is stopped may be who calls this.
    system.run(["systemctl", "daemon-reload"])
    system.run(["systemctl", "stop", "--no-block", UNIT])


def _write(system: System, path: str, text: str, mode: int = 0o600) -> None:
    # Past the notes of what is to be put back: these files are the watcher's own.
    with system.unnoted():
        system.write(path, iter((text.encode(),)), mode, os.getuid(), os.getgid())


def _source(name: str) -> str:
    """The source of a module, which came over the connection or lies in a file."""
    loader: Any = sys.modules[name].__spec__.loader  # type: ignore[union-attr]
    return str(loader.get_source(name))


def _remove_tree(path: str) -> None:
    if not os.path.isdir(path):
        return
    for parent, _, files in os.walk(path, topdown=False):
        for name in files:
            os.unlink(os.path.join(parent, name))
        os.rmdir(parent)


def units(resources: Sequence[Resource], handlers: Sequence[dict[str, Any]]) -> set[str]:
    """The units that a run may start, restart or enable."""
    named = {resource["unit"] for resource in resources if resource["kind"] == "unit"}
    return named | {handler["unit"] for handler in handlers if handler.get("unit")}
