"""What a role declares: the things that a board should have.

A resource is data. Rendering it (:meth:`Resource.wire`) gives what the plan says about it; looking at
it and changing it is the agent's work (``toolkit/agent/kinds``, one class for each here).
"""

from __future__ import annotations

from toolkit.resources.base import Content, Handler, Resource
from toolkit.resources.kinds import (
    Bundle,
    Clock,
    Directory,
    File,
    Hostname,
    KernelCmdline,
    Line,
    Link,
    Module,
    Package,
    Sysctl,
    Unit,
)
from toolkit.resources.templates import render, template

__all__ = [
    "Bundle",
    "Clock",
    "Content",
    "Directory",
    "File",
    "Handler",
    "Hostname",
    "KernelCmdline",
    "Line",
    "Link",
    "Module",
    "Package",
    "Resource",
    "Sysctl",
    "Unit",
    "render",
    "template",
]
