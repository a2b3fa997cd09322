"""Root inside a container, with the default capabilities, against the host: each attack once worked."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.conformance.ctr.daemons import IMAGE, environment
from tests.conformance.daemon.world import World
from toolkit.paths import RUNTIME

pytestmark = [pytest.mark.root, pytest.mark.peer]

_DEVNULL = subprocess.DEVNULL
_KEYRING = "import pinnace.linux.libc as l; print(l.syscall('keyctl', l.SYS_KEYCTL, 0, -3, 0))"
"""The number of the caller's session keyring (KEYCTL_GET_KEYRING_ID)."""


def _start(world: World, name: str, script: str, *options: str) -> None:
    """Run a container in the background. Its output's reader is never there."""
    words = ("run", "-d", *options, IMAGE, name, "/bin/sh", "-c", script)
    done = world.ctr(*words, stdout=_DEVNULL, stderr=_DEVNULL, capture_output=False)
    assert done.returncode == 0, world.complaints()


def _remove(world: World, name: str) -> None:
    world.ok("task", "kill", "--signal", "SIGKILL", name, timeout=20)
    deadline = time.monotonic() + 10
    while name in world.ok("task", "ls", "-q").split():
        world.ctr("task", "rm", name)
        assert time.monotonic() < deadline, world.complaints()
        time.sleep(0.05)
    world.ok("container", "rm", name)


def test_the_hosts_null_device_is_out_of_reach(world: World) -> None:
    """Streams to nowhere are the container's own null device, not the one that the host uses."""
    before = world.arena.run(["stat", "-c", "%a %U %i %d", "/dev/null"]).stdout
    try:
        script = "for n in 0 1 2; do chmod 1666 /proc/self/fd/$n; done; sleep 1000"
        _start(world, "null", script, "--null-io")
        time.sleep(0.5)
        assert world.arena.run(["stat", "-c", "%a %U %i %d", "/dev/null"]).stdout == before
        words = ("task", "exec", "--exec-id", "e", "null", "stat", "-L", "-c", "%a", "/dev/null")
        assert world.ok(*words).strip() == "1666"
        _remove(world, "null")
    finally:
        world.arena.run(["chmod", "0666", "/dev/null"])


def test_other_users_of_the_host_cannot_reach_a_containers_root(world: World) -> None:
    """A set-user-id program made inside is not for others to run (CVE-2021-41103)."""
    _start(world, "suid", "cp /bin/busybox /x; chmod 4755 /x; sleep 1000", "--null-io")
    task = f"/run/pinnace/io.containerd.runtime.v2.task/{world.namespace}/suid"
    program = f"{task}/rootfs/x"
    deadline = time.monotonic() + 10
    while world.arena.run(["test", "-u", program]).returncode:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    assert world.arena.run([*nobody, "test", "-e", program]).returncode != 0
    _remove(world, "suid")


def test_what_the_daemon_knows_is_for_root_only(world: World) -> None:
    root = world.arena.scratch / "root"
    modes = {path.name: path.stat().st_mode & 0o777 for path in root.glob("metadata.db*")}
    assert set(modes.values()) == {0o600}, modes


def test_stopping_what_exec_starts_does_not_hold_up_the_shim(world: World) -> None:
    """The container stops each new process before it is a program; it must still be killable."""
    script = (
        "while :; do for p in /proc/[0-9]*; do p=${p#/proc/};"
        " [ $p = 1 ] || kill -STOP $p; done; done 2>/dev/null"
    )
    _start(world, "stopper", script, "--null-io")
    words = ("task", "exec", "--exec-id", "e", "stopper", "/bin/true")
    running = subprocess.Popen(world.arena.command(world.words(*words)), stdout=_DEVNULL, stderr=_DEVNULL)  # fmt: skip
    try:
        time.sleep(1)
        _remove(world, "stopper")
    finally:
        running.kill()
        running.wait()


def test_the_hosts_keys_stay_outside(world: World) -> None:
    """A container and what exec adds to it begin with session keyrings of their own."""
    host = world.arena.run([sys.executable, "-c", _KEYRING], env=environment()).stdout
    place = ("--mount", "type=bind,src=/,dst=/host,options=rbind:ro")
    _start(world, "keys", "sleep 1000", "--null-io", *place)
    python = ("env", f"PYTHONPATH={RUNTIME}", sys.executable, "-c", _KEYRING)
    words = ("task", "exec", "--exec-id", "e", "keys", "chroot", "/host", *python)
    inside = world.ok(*words)
    assert int(inside) > 0
    assert inside != host
    _remove(world, "keys")
