"""Compiled profiles on disk, so that a container's start neither loads libseccomp nor waits for it.

A filter from here is loaded unseen, so nobody but its user may have a hand in it: the directory and the
files must belong to the caller and be writable by nobody else, links are not followed, and each file
carries the digest of what it was made from and of itself (a power cut leaves torn files). What is not
so is compiled again. Names are digests: a changed profile is another file.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from typing import Any

from pinnace.linux.seccomp import bpf
from pinnace.linux.seccomp.library import Compiled, Library
from pinnace.linux.seccomp.profile import Profile
from pinnace.spec.digest import sha256

DIRECTORY = "/var/lib/pinnace/seccomp"
ENVIRONMENT = "PINNACE_SECCOMP"
_FORMAT = "pinnace seccomp 2"
_KEEP = 64  # files; the oldest go first
_MAX_BYTES = 1 << 20
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def directory_of_user() -> str:
    """Where the caller's programs are kept; empty for a user who has no place for them.

    ``PINNACE_SECCOMP`` names another place. It is trusted no more than the usual one.
    """
    if own := os.environ.get(ENVIRONMENT):
        return own if own.startswith("/") else ""
    if os.geteuid() == 0:
        return DIRECTORY
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return f"{runtime}/pinnace/seccomp" if runtime.startswith("/") else ""


def key_of(profile: Profile) -> str:
    """The name of a profile's program: everything that goes into it, on this machine."""
    machine = [os.uname().machine, bpf.INSTRUCTION.size, os.sysconf("SC_LONG_BIT")]
    text = json.dumps([_FORMAT, machine, profile.canonical()], sort_keys=True)
    return sha256(text.encode()).hex


def compiled(profile: Profile, directory: str) -> bytes:
    """The program of ``profile``, from ``directory`` or from libseccomp, kept for the next time.

    A program made without names that the library did not know is asked for again once the library is
    another one. Raises FailedPrecondition where there is neither, InvalidArgument for a profile that
    libseccomp refuses. That it can't be kept is no error.
    """
    key = key_of(profile)
    found = _read(directory, key)
    if found is not None and not found["unknown"]:
        return bytes.fromhex(found["program"])
    try:
        library = Library()
    except Exception:
        if found is not None:
            return bytes.fromhex(found["program"])
        raise
    if found is not None and found["version"] == library.version():
        return bytes.fromhex(found["program"])
    made = library.compile(profile)
    with contextlib.suppress(OSError):
        _write(directory, key, made, library.version())
    return made.program


def _open_own(directory: str) -> int:
    """A descriptor of ``directory``; raises PermissionError unless it is the caller's alone."""
    fd = os.open(directory, _DIRECTORY_FLAGS)
    found = os.fstat(fd)
    if found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
        os.close(fd)
        raise PermissionError(f"{directory} is not the caller's alone")
    return fd


def _read(directory: str, key: str) -> dict[str, Any] | None:
    if not directory:
        return None
    try:
        place = _open_own(directory)
        try:
            fd = os.open(
                key, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place
            )
        finally:
            os.close(place)
        with open(fd, "rb") as file:
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid():
                return None
            if about.st_mode & _OTHERS_WRITE or about.st_nlink != 1:
                return None
            return _verified(file.read(_MAX_BYTES), key)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _verified(content: bytes, key: str) -> dict[str, Any] | None:
    digest, _, body = content.partition(b"\n")
    if digest.decode("ascii") != sha256(body).hex:
        return None
    found: dict[str, Any] = json.loads(body)
    whole = found["key"] == key and bpf.looks_whole(bytes.fromhex(found["program"]))
    return found if whole else None


def _write(directory: str, key: str, made: Compiled, version: str) -> None:
    if not directory:
        return
    os.makedirs(os.path.dirname(directory), mode=0o711, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    content = {
        "key": key, "version": version, "unknown": made.unknown, "program": made.program.hex(),
    }  # fmt: skip
    body = json.dumps(content).encode()
    place = _open_own(directory)
    try:
        temporary = f".{key}.{os.getpid()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(temporary, flags, 0o600, dir_fd=place), "wb") as file:
            file.write(sha256(body).hex.encode() + b"\n" + body)
        os.rename(temporary, key, src_dir_fd=place, dst_dir_fd=place)
        _forget_oldest(place)
    finally:
        os.close(place)


def _forget_oldest(place: int) -> None:
    """Keep the directory small; also what a killed writer left is gone in the end."""
    ages = []
    for name in os.listdir(place):
        with contextlib.suppress(FileNotFoundError):
            ages.append((os.stat(name, dir_fd=place, follow_symlinks=False).st_mtime_ns, name))
    for _, name in sorted(ages)[:-_KEEP]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=place)
