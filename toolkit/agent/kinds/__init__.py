"""The kinds of resources that a plan can hold."""

from __future__ import annotations

from toolkit.agent.kinds.bundle import Bundle
from toolkit.agent.kinds.files import Directory, File, Line, Link
from toolkit.agent.kinds.kernel import KernelCmdline, Module, Sysctl
from toolkit.agent.kinds.machine import Clock, Hostname
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
        "module": Module(),
        "kernel_cmdline": KernelCmdline(),
        "clock": Clock(),
        "hostname": Hostname(),
        "bundle": Bundle(),
    }
