"""The kinds of resources that a plan can hold."""

from __future__ import annotations

from toolkit.agent.kinds.accounts import AuthorizedKey, Group, User
from toolkit.agent.kinds.bundle import Bundle
from toolkit.agent.kinds.files import Directory, File, Link
from toolkit.agent.kinds.images import Image
from toolkit.agent.kinds.kernel import KernelCmdline, KernelModule, Sysctl
from toolkit.agent.kinds.lines import Line
from toolkit.agent.kinds.machine import Clock, Hostname, Reboot, Timezone
from toolkit.agent.kinds.mounts import Mount, Swap
from toolkit.agent.kinds.packages import Package
from toolkit.agent.kinds.units import Unit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolkit.agent.kinds.base import Kind


def all_kinds() -> dict[str, Kind]:
    """A fresh instance of each kind by the name that plans use."""
    return {
        "file": File(),
        "directory": Directory(),
        "link": Link(),
        "line": Line(),
        "package": Package(),
        "unit": Unit(),
        "sysctl": Sysctl(),
        "kernel_module": KernelModule(),
        "kernel_cmdline": KernelCmdline(),
        "reboot": Reboot(),
        "user": User(),
        "group": Group(),
        "authorized_key": AuthorizedKey(),
        "mount": Mount(),
        "swap": Swap(),
        "hostname": Hostname(),
        "timezone": Timezone(),
        "clock": Clock(),
        "bundle": Bundle(),
        "image": Image(),
    }
