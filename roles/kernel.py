"""The kernel as containers need it: overlay, forwarding, and the memory controller on a Raspberry Pi."""

from __future__ import annotations

from collections.abc import Iterator

from roles.context import Board
from toolkit.resources import REBOOT, File, KernelCmdline, KernelModule, Resource, Sysctl


def recipe(board: Board) -> Iterator[Resource]:
    if board.settings.snapshotter == "overlayfs":
        if board.facts["modules"]:
            yield File(path="/etc/modules-load.d/pinnace.conf", source=b"overlay\n")
        yield KernelModule(module="overlay", boot=False)

    parameters = {"net.ipv4.ip_forward": "1", **board.settings.sysctls}
    text = "".join(f"{key} = {value}\n" for key, value in sorted(parameters.items()))
    yield File(path="/etc/sysctl.d/60-pinnace.conf", source=text.encode())
    for key, value in sorted(parameters.items()):
        yield Sysctl(key=key, value=value, path="")

    # Raspberry Pi kernels have the memory controller built in and switched off (pi-gen#917).
    if board.settings.memory_cgroup and board.facts["cmdline"]:
        yield KernelCmdline(
            parameters=("cgroup_enable=memory", "cgroup_memory=1"),
            controller="memory",
            notify=(REBOOT,),
        )
