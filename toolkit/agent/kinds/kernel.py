"""The running kernel: parameters, modules, and the Raspberry Pi's boot command line."""

from __future__ import annotations

import os

from toolkit.agent.errors import AgentError
from toolkit.agent.kinds.base import Change, Kind
from toolkit.agent.kinds.lines import decode, put, rewrite, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.agent.kinds.base import Contents, Resource, State, Text
    from toolkit.agent.system import System

BOOT = ("/boot/firmware", "/boot")
"""Where Raspberry Pi OS mounts the boot partition: since Debian 12, and before."""


class Sysctl(Kind):
    """``key`` has ``value`` now, and a line of the file ``path`` (none where empty) keeps it so at boot."""

    def look(self, resource: Resource, system: System) -> State:
        value = system.read(_proc(resource["key"]))
        text = decode(system.read(resource["path"])) if resource["path"] else ""
        return {"value": None if value is None else " ".join(value.decode().split()), "text": text}

    def diff(self, resource: Resource, state: State) -> list[Change]:
        wanted = " ".join(resource["value"].split())
        changes = []
        if state["value"] != wanted:
            # Without a value yet: a module that the plan loads before may bring the parameter.
            changes.append(Change("value", state["value"] or "absent", wanted))
        if _sysctl_file(resource, state["text"]) != state["text"]:
            changes.append(Change(resource["path"], "differs", f"{resource['key']} = {wanted}"))
        return changes

    def texts(self, resource: Resource, state: State) -> list[Text]:
        after = _sysctl_file(resource, state["text"])
        return [(resource["path"], shown(state["text"]), after)] if after != state["text"] else []

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        return [(resource["path"], 4096)] if resource["path"] else []

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        system.changing(_proc(resource["key"]))
        try:
            with open(system.path(_proc(resource["key"])), "w", encoding="ascii") as file:
                file.write(resource["value"])
        except FileNotFoundError:
            raise AgentError(f"the kernel has no parameter {resource['key']}", "which module brings it? declare a KernelModule before it") from None  # fmt: skip
        if resource["path"]:
            text = decode(system.read(resource["path"]))
            rewrite(system, resource["path"], text, _sysctl_file(resource, text))


def _sysctl_file(resource: Resource, text: str) -> str:
    if not resource["path"]:
        return text
    line = f"{resource['key']} = {' '.join(resource['value'].split())}"
    return put(text, line, lambda found: found.partition("=")[0].strip() == resource["key"])


def _proc(key: str) -> str:
    return "/proc/sys/" + (key if "/" in key else key.replace(".", "/"))


class KernelModule(Kind):
    """The kernel module ``module`` is there, built in or loaded; with ``boot`` at the next boot too."""

    def look(self, resource: Resource, system: System) -> State:
        name = resource["module"].replace("-", "_")
        known = system.read_text("/proc/filesystems").split()
        present = name in known or system.lstat(f"/sys/module/{name}") is not None
        return {"present": present, "file": system.read_text(_load(resource))}

    def diff(self, resource: Resource, state: State) -> list[Change]:
        changes = [] if state["present"] else [Change("module", "absent", "loaded")]
        if resource["boot"] and state["file"] != resource["module"] + "\n":
            changes.append(Change("at boot", state["file"].strip() or "absent", "loaded"))
        return changes

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        return [(_load(resource), 4096)] if resource["boot"] else []

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        for change in self.diff(resource, self.look(resource, system)):
            if change.what == "module":
                system.check(["modprobe", resource["module"]])
            else:
                system.rewrite(_load(resource), (resource["module"] + "\n").encode())


def _load(resource: Resource) -> str:
    """The file of modules-load.d(5)."""
    return f"/etc/modules-load.d/pinnace-{resource['module']}.conf"


class KernelCmdline(Kind):
    """``parameters`` stand on the kernel's command line of a Raspberry Pi, and no word of ``absent`` does.

    A word of ``absent`` that ends in ``=`` means all of that name. cmdline.txt stays one line. Where the
    kernel already has the cgroup ``controller`` on that the parameters are for, it stays as it is.
    """

    def look(self, resource: Resource, system: System) -> State:
        path = cmdline(system)
        text = decode(system.read(path)) if path else ""
        return {"path": path, "text": text, "controllers": controllers(system)}

    def diff(self, resource: Resource, state: State) -> list[Change]:
        if resource["controller"]:
            if not state["path"] or resource["controller"] in state["controllers"]:
                return []
        elif not state["path"]:
            raise AgentError("the board has no cmdline.txt", f"looked in {' and '.join(BOOT)}; is the boot partition mounted?")  # fmt: skip
        before, after = state["text"].split(), _words(resource, state["text"])
        removed = [Change("parameter", word, "removed") for word in before if word not in after]
        return removed + [Change("parameter", "absent", word) for word in after if word not in before]  # fmt: skip

    def texts(self, resource: Resource, state: State) -> list[Text]:
        after = " ".join(_words(resource, state["text"])) + "\n"
        return [(state["path"], shown(state["text"]), shown(after))]

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        return [(f"{directory}/x", 4096) for directory in BOOT]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        state = self.look(resource, system)
        if self.diff(resource, state):
            after = " ".join(_words(resource, state["text"])) + "\n"
            rewrite(system, state["path"], state["text"], after)


def _words(resource: Resource, text: str) -> list[str]:
    gone = resource["absent"]
    names = tuple(word for word in gone if word.endswith("="))
    wanted = resource["parameters"]
    kept = [
        word
        for word in text.split()
        if word in wanted or not (word in gone or (names and word.startswith(names)))
    ]
    return kept + [word for word in wanted if word not in kept]


def cmdline(system: System) -> str:
    """The file that the firmware reads the kernel's command line from; empty where there is none.

    config.txt can name another file (``cmdline=``) and a directory of it (``os_prefix=``, also of Ubuntu's
    /boot/firmware/current): raspberrypi.com, "config.txt", boot options.
    """
    for directory in BOOT:
        named = _boot_options(system.read_text(f"{directory}/config.txt"))
        name = named.get("cmdline", "cmdline.txt")
        for prefix in (named.get("os_prefix", ""), ""):
            path = os.path.normpath(f"{directory}/{prefix}{name}")
            if path.startswith(directory) and os.path.isfile(system.path(path)):
                return path
    return ""


def _boot_options(text: str) -> dict[str, str]:
    """What config.txt says for every board: filters such as [pi4] begin sections for some."""
    options, everywhere = {}, True
    for line in text.splitlines():
        word = line.partition("#")[0].strip()
        if word.startswith("["):
            everywhere = word == "[all]"
        elif everywhere and "=" in word:
            name, _, value = word.partition("=")
            options[name.strip()] = value.strip()
    return options


def controllers(system: System) -> list[str]:
    """The cgroup controllers that the kernel has on.

    cgroup v2 names them itself; /proc/cgroups is right for version 1 (on 6.12 and later it misses
    controllers that only exist in version 2, so it is asked second).
    """
    unified = system.read_text("/sys/fs/cgroup/cgroup.controllers").split()
    rows = [line.split() for line in system.read_text("/proc/cgroups").splitlines()]
    classic = [row[0] for row in rows if len(row) == 4 and row[3] == "1"]
    return sorted(set(unified) | set(classic))
