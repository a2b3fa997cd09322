"""The running kernel: parameters, modules, and the Raspberry Pi's boot command line."""

from __future__ import annotations

import os

from toolkit.agent.errors import AgentError
from toolkit.agent.kinds.base import Change, Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolkit.agent.kinds.base import Contents, Resource, State
    from toolkit.agent.system import System

CMDLINES = ("/boot/firmware/cmdline.txt", "/boot/cmdline.txt")
"""Where Raspberry Pi OS keeps the kernel's command line: since Debian 12, and before."""


class Sysctl(Kind):
    """``key`` has ``value`` now (that it stays so is a file in /etc/sysctl.d)."""

    def look(self, resource: Resource, system: System) -> State:
        value = system.read(_proc(resource["key"]))
        return {"value": None if value is None else " ".join(value.decode().split())}

    def diff(self, resource: Resource, state: State) -> list[Change]:
        if state["value"] is None:
            raise AgentError(f"the kernel has no parameter {resource['key']}")
        wanted = " ".join(resource["value"].split())
        return [] if state["value"] == wanted else [Change("value", state["value"], wanted)]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        with open(system.path(_proc(resource["key"])), "w", encoding="ascii") as file:
            file.write(resource["value"])


def _proc(key: str) -> str:
    return "/proc/sys/" + (key if "/" in key else key.replace(".", "/"))


class Module(Kind):
    """The kernel module ``module`` is there, built in or loaded."""

    def look(self, resource: Resource, system: System) -> State:
        name = resource["module"].replace("-", "_")
        known = system.read_text("/proc/filesystems").split()
        return {"present": name in known or system.lstat(f"/sys/module/{name}") is not None}

    def diff(self, resource: Resource, state: State) -> list[Change]:
        return [] if state["present"] else [Change("module", "absent", "loaded")]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        system.check(["modprobe", resource["module"]])


class KernelCmdline(Kind):
    """``parameters`` stand in cmdline.txt, which stays one line; without one there is nothing to do.

    ``controller`` names the cgroup controller that they switch on: where the kernel already has it,
    the file stays as it is.
    """

    def look(self, resource: Resource, system: System) -> State:
        path = _cmdline(system)
        return {
            "path": path,
            "text": system.read(path) if path else None,
            "controllers": controllers(system),
        }

    def diff(self, resource: Resource, state: State) -> list[Change]:
        if not state["path"] or resource["controller"] in state["controllers"]:
            return []
        present = (state["text"] or b"").decode("utf-8", "replace").split()
        missing = [word for word in resource["parameters"] if word not in present]
        return [Change("parameter", "absent", word) for word in missing]

    def places(self, resource: Resource) -> list[tuple[str, int]]:
        return [(path, 4096) for path in CMDLINES]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        state = self.look(resource, system)
        words = (state["text"] or b"").decode("utf-8").split()
        words += [change.after for change in self.diff(resource, state)]
        system.rewrite(state["path"], (" ".join(words) + "\n").encode())


def _cmdline(system: System) -> str:
    return next((path for path in CMDLINES if os.path.isfile(system.path(path))), "")


def controllers(system: System) -> list[str]:
    """The cgroup controllers that the kernel has on.

    cgroup v2 names them itself; /proc/cgroups is right for version 1 (on 6.12 and later it misses
    controllers that only exist in version 2, so it is asked second).
    """
    unified = system.read_text("/sys/fs/cgroup/cgroup.controllers").split()
    rows = [line.split() for line in system.read_text("/proc/cgroups").splitlines()]
    classic = [row[0] for row in rows if len(row) == 4 and row[3] == "1"]
    return sorted(set(unified) | set(classic))
