"""What a role declares: the things that a board should have.

A resource is data. Rendering it (:meth:`Resource.wire`) gives what the plan says about it; looking at
it and changing it is the agent's work (``toolkit/agent/kinds``, one class for each here).
"""

from __future__ import annotations

from toolkit.resources.accounts import AuthorizedKey, Group, User
from toolkit.resources.base import REBOOT, RELOAD_UNITS, Content, Handler, Resource
from toolkit.resources.compose import compose
from toolkit.resources.credentials import Credential
from toolkit.resources.files import Directory, File, Line, Link
from toolkit.resources.machine import (
    Clock,
    Hostname,
    KernelCmdline,
    KernelModule,
    Package,
    Reboot,
    Sysctl,
    Timezone,
    Unit,
)
from toolkit.resources.mounts import Mount, Swap
from toolkit.resources.templates import render, secret_text, template
from toolkit.resources.workloads import Bundle, Container, Image

__all__ = [
    "REBOOT",
    "RELOAD_UNITS",
    "AuthorizedKey",
    "Bundle",
    "Clock",
    "Container",
    "Content",
    "Credential",
    "Directory",
    "File",
    "Group",
    "Handler",
    "Hostname",
    "Image",
    "KernelCmdline",
    "KernelModule",
    "Line",
    "Link",
    "Mount",
    "Package",
    "Reboot",
    "Resource",
    "Swap",
    "Sysctl",
    "Timezone",
    "Unit",
    "User",
    "compose",
    "render",
    "secret_text",
    "template",
]
