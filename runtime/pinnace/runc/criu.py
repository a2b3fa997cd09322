"""Checkpoints: a container's processes written to files and made again from them, by criu (criu.org).

criu is a program of its own, called by its command line (criu(8)); without it nothing here works, and says so. What of a
container is not criu's to write: its root directory, what is mounted into it from outside, and its standard streams.
``descriptors.json`` beside the images has what the streams were, so that a restored process gets the new ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from pinnace.errors import Error, FailedPrecondition, InvalidArgument
from pinnace.linux import proc
from pinnace.linux.kernel import Kernel
from pinnace.linux.mount import MNT_DETACH, MS_BIND, MS_PRIVATE, MS_REC
from pinnace.runc import limits
from pinnace.runc import state as states
from pinnace.runc.state import ContainerState, Status
from pinnace.spec import runtime

Stdio = tuple[int, int, int]
_STREAMS = "descriptors.json"
_ROOT = "criu-root"


def checkpoint(
    state_root: str, identifier: str, images: str, flags: Sequence[str], *, work: str = "",
    verb: str = "dump",
) -> None:  # fmt: skip
    """Write the processes of a container to the directory ``images``; criu ends them unless told otherwise.

    ``flags`` are criu's own. Raises FailedPrecondition for a container that does not run or without
    criu, Error with the end of criu's log.
    """
    program = _program()
    with states.hold(state_root, identifier) as container:
        if container.status() not in (Status.RUNNING, Status.PAUSED):
            raise FailedPrecondition(f"cannot checkpoint a {container.status().value} container")
        os.makedirs(images, mode=0o700, exist_ok=True)
        spec = runtime.read(container.config)
        streams = [_link(container.pid, fd) for fd in range(3)]
        with open(f"{images}/{_STREAMS}", "w", encoding="utf-8") as file:
            json.dump(streams, file)
        outside = [f"mnt[{path}]:{path}" for path in _mounted_from_outside(container, spec)]
        # Pipes and terminals: whoever restores brings new ones.
        outside += sorted({name for name in streams if name.startswith("pipe:")})
        words = ["--tree", str(container.pid), "--root", container.rootfs]
        if container.status() is Status.PAUSED:
            # Else it would wait for processes that can't run; they are frozen again afterwards.
            words += ["--freeze-cgroup", _freezer(container)]
        external = [word for each in outside for word in ("--external", each)]
        _call(program, verb, images, work, [*words, *external, *flags])


def restore(
    kernel: Kernel, state_root: str, identifier: str, bundle: str, images: str,
    flags: Sequence[str], *, work: str = "", stdio: Stdio = (0, 1, 2),
) -> ContainerState:  # fmt: skip
    """Make a container from ``images``, with ``stdio`` for its standard streams; it runs when this returns.

    Raises AlreadyExists, FailedPrecondition without criu, Error with the end of criu's log.
    """
    program = _program()
    bundle = os.path.abspath(bundle)
    spec = runtime.load(bundle)
    state = states.new(state_root, identifier, bundle)
    state.config = f"{bundle}/config.json"
    state.created = time.time()
    state.owner = os.geteuid()
    state.annotations = dict(spec.get("annotations") or {})
    state.rootfs = os.path.realpath(os.path.join(bundle, spec["root"]["path"]))
    group = None
    place = f"{state.directory}/{_ROOT}"
    try:
        group = limits.make(spec, state)
        with open(f"{images}/{_STREAMS}", encoding="utf-8") as file:
            streams = [str(name) for name in json.load(file)]
        words = ["--restore-detached", "--restore-sibling", "--root", place]
        words += ["--pidfile", f"{state.directory}/pid"]
        for path in _mounted_from_outside(state, spec):
            words += ["--external", f"mnt[{path}]:{_source(spec, path, bundle, group)}"]
        for fd, name in enumerate(streams):
            if name.startswith("pipe:"):
                words += ["--inherit-fd", f"fd[{fd}]:{name}"]
        with _mounted(kernel, state.rootfs, place):
            _call(program, "restore", images, work, [*words, *flags], stdio)
        with open(f"{state.directory}/pid", encoding="ascii") as file:
            state.pid = int(file.read())
        found = proc.stat(state.pid)
        state.start_time = found.start_time if found else 0
        state.save()
    except BaseException:
        if group is not None:
            with contextlib.suppress(OSError):
                group.kill()
                group.delete()
        state.remove()
        raise
    finally:
        state.release()
    return state


def _program() -> str:
    found = shutil.which("criu")
    if found is None:
        raise FailedPrecondition(
            "checkpoints take criu, which is not installed", hint="apt-get install criu"
        )
    return found


def _call(
    program: str, verb: str, images: str, work: str, words: Sequence[str], stdio: Stdio = (0, 1, 2)
) -> None:
    log = os.path.join(work or images, f"{verb}.log")
    os.makedirs(os.path.dirname(log), exist_ok=True)
    places = ["--images-dir", images, "--work-dir", work or images, "--log-file", f"{verb}.log"]
    stdin, stdout, stderr = stdio
    done = subprocess.run(
        [program, verb, *places, *words], stdin=stdin, stdout=stdout, stderr=stderr, check=False
    )
    if done.returncode:
        raise Error(f"criu {verb}: {_complaint(log)}", hint=f"see {log}")


def _complaint(log: str) -> str:
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file if "Error" in line and "FAILED" not in line]
    except OSError:
        return "it wrote no log"
    return lines[-1] if lines else "it failed without a reason in its log"


def _freezer(container: ContainerState) -> str:
    """The directory of the control group by which a container is paused."""
    for directory in limits.of(container).directories():
        if any(os.path.exists(f"{directory}/{name}") for name in ("freezer.state", "cgroup.freeze")):  # fmt: skip
            return str(directory)
    raise FailedPrecondition("the container has no control group that could be paused")


def _link(pid: int, fd: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd}")
    except OSError:
        return ""


def _mounted_from_outside(state: ContainerState, spec: dict[str, Any]) -> list[str]:
    """Paths in the container on which something of the host is mounted: binds, control groups, masks."""
    found = []
    for item in spec.get("mounts") or ():
        target = os.path.normpath(item["destination"])
        options = item.get("options") or ()
        if item.get("type") == "bind" or "bind" in options or "rbind" in options:
            found.append(target)
        elif item.get("type") == "cgroup" and state.cgroup_path:
            names = [
                os.path.relpath(each, "/sys/fs/cgroup").split("/")[0]
                for each in limits.of(state).directories()
            ]
            found += [f"{target}/{name}" for name in names]
    for path in (spec.get("linux") or {}).get("maskedPaths") or ():
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISREG(os.stat(path).st_mode):
                found.append(path)
    return found


def _source(spec: dict[str, Any], path: str, bundle: str, group: Any) -> str:
    """What of the host is mounted on ``path``."""
    for item in spec.get("mounts") or ():
        target = os.path.normpath(item["destination"])
        if target == path:
            return os.path.join(bundle, str(item.get("source") or ""))
        if item.get("type") == "cgroup" and path.startswith(target + "/"):
            name = path[len(target) + 1 :]
            for directory in group.directories() if group else ():
                if directory.startswith(f"/sys/fs/cgroup/{name}/"):
                    return str(directory)
    if path in ((spec.get("linux") or {}).get("maskedPaths") or ()):
        return "/dev/null"
    raise InvalidArgument(f"nothing in the configuration is mounted on {path}")


@contextlib.contextmanager
def _mounted(kernel: Kernel, root: str, place: str) -> Any:
    """The root as a mount of its own, which criu asks for."""
    os.mkdir(place, 0o700)
    kernel.mount(root, place, "", MS_BIND | MS_REC)
    try:
        kernel.mount("", place, "", MS_PRIVATE)
        yield
    finally:
        kernel.unmount(place, MNT_DETACH)
        os.rmdir(place)
