"""What a shim is asked to be: of which container, and how that is to be made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.errors import InvalidArgument
from pinnace.runc.made import Options

if TYPE_CHECKING:
    from collections.abc import Mapping


class Wanted(NamedTuple):
    """Which container a shim is for: names, its bundle directory, and the shim's own directory."""

    namespace: str
    id: str
    bundle: str
    state: str


def parse(request: Mapping[str, Any]) -> Wanted:
    """Check a request for a shim; raises InvalidArgument."""
    values = []
    for name in Wanted._fields:
        value = request.get(name)
        if not isinstance(value, str) or not value or "\0" in value:
            raise InvalidArgument(f"{name} must be text")
        values.append(value)
    wanted = Wanted(*values)
    if not (wanted.bundle.startswith("/") and wanted.state.startswith("/")):
        raise InvalidArgument("bundle and state must be absolute paths")
    return wanted


def options(wanted: Mapping[str, Any]) -> Options:
    """What a client's options for runc mean here (api.schema.runc)."""
    return Options(
        cgroup_manager="systemd" if wanted.get("systemd_cgroup") else "",
        pivot=not wanted.get("no_pivot_root"),
        keyring=not wanted.get("no_new_keyring"),
        oom_score_adj=oom_score_adj(),
    )


def oom_score_adj() -> int:
    """For what no configuration says it of: the kernel is not to spare a container as it spares its shim."""
    with open("/proc/self/oom_score_adj", "rb", buffering=0) as file:
        return max(0, int(file.read()))
