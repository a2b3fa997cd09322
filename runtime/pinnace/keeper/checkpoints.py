"""What containerd's options for checkpoints mean to criu."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

_FLAGS = {
    "open_tcp": "--tcp-established",
    "external_unix_sockets": "--ext-unix-sk",
    "terminal": "--shell-job",
    "file_locks": "--file-locks",
}
_MODES = ("soft", "full", "strict", "ignore")


def flags(options: Mapping[str, Any]) -> list[str]:
    """criu's flags for ``options``, which have the names of ``api.schema.runc.CheckpointOptions``; raises InvalidArgument."""
    mode = options.get("cgroups_mode") or "soft"
    if mode not in _MODES:
        raise InvalidArgument(f"cgroups mode {mode!r}: one of {', '.join(_MODES)} is expected")
    found = [f"--manage-cgroups={mode}"]
    found += [flag for name, flag in _FLAGS.items() if options.get(name)]
    for name in options.get("empty_namespaces") or ():
        if name != "network":
            raise InvalidArgument(f"empty namespace {name!r}: only network is supported")
        found += ["--empty-ns", "net"]
    return found if options.get("exit") else [*found, "--leave-running"]
