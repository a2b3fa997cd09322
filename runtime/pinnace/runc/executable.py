"""Finding a container's program, with the words Go's os/exec uses, which users know from runc."""

from __future__ import annotations

import errno
import os
import stat

from pinnace.errors import Error

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find(name: str, environment: dict[str, str]) -> str:
    """The path of program ``name``, looked up in the container that the caller is in.

    Raises Error as runc words it: ``exec: "foo": executable file not found in $PATH``.
    """
    if "/" in name:
        reason = _refusal(name)
        if reason:
            raise Error(f'exec: "{name}": {reason}')
        return name
    refused = "executable file not found in $PATH"
    for directory in environment.get("PATH", "").split(":"):
        candidate = f"{directory or '.'}/{name}"
        reason = _refusal(candidate)
        if not reason:
            return candidate
        if reason == "permission denied" and _is_file(candidate):
            refused = reason
    raise Error(f'exec: "{name}": {refused}')


def words(number: int | None) -> str:
    """The kernel's text of an error as Go prints it: ``no such file or directory``."""
    text = os.strerror(number or errno.EIO)
    hint = " (the disk or card fails; see dmesg)" if number == errno.EIO else ""
    return text[:1].lower() + text[1:] + hint


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _refusal(path: str) -> str:
    """Why ``path`` cannot be run; empty when it can."""
    try:
        mode = os.stat(path).st_mode
    except OSError as problem:
        return f"stat {path}: {words(problem.errno)}"
    if stat.S_ISDIR(mode):
        return "is a directory"
    return "" if mode & 0o111 else "permission denied"
