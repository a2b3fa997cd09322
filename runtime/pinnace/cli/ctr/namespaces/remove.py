"""``ctr namespaces remove``: delete empty namespaces."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.namespaces import DeleteNamespaceRequest, Namespaces
from pinnace.cli.client import Client
from pinnace.cli.options import Flag, switch
from pinnace.errors import NotFound

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "<name> [<name>, ...]"
FLAGS: tuple[Flag, ...] = (
    switch("cgroup", "c", about="remove the empty control groups of its containers, too"),
)


def run(call: Call) -> int:
    names = call.need_args("please specify a namespace")
    with Client.of(call) as client:
        for name in names:
            with contextlib.suppress(NotFound):  # what is not there need not be deleted
                client.call(Namespaces.delete, DeleteNamespaceRequest(name=name))
            if call.on("cgroup"):
                _remove_cgroups(name)
            sys.stdout.write(f"{name}\n")
    return 0


_CGROUPS = "/sys/fs/cgroup"


def _remove_cgroups(name: str) -> None:
    """Control groups are directories; one that is in use refuses (rmdir(2), EBUSY)."""
    tops = [os.path.join(_CGROUPS, name)]
    with contextlib.suppress(OSError):
        tops += [os.path.join(_CGROUPS, each, name) for each in os.listdir(_CGROUPS)]
    for top in tops:
        for directory, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
