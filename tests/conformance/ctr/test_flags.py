"""Flags of ``run``, checkpoints without criu, and a shim asked past its daemon."""

from __future__ import annotations

import json
import secrets
import time

import pytest

from tests.conformance.ctr.daemons import IMAGE, Daemon

pytestmark = [pytest.mark.root, pytest.mark.peer]


def test_a_user_namespace_and_files_that_belong_to_it(daemon: Daemon) -> None:
    maps = ("--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536")
    script = "cat /proc/self/uid_map; ls -ln /etc/passwd; touch /x"
    done = daemon.ctr("run", "--rm", *maps, IMAGE, "mapped", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.split() == ["0", "100000", "65536"]
    assert second.split()[2:4] == ["0", "0"]


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ("--gpus 0", "no board has a GPU"),
        ("--cni", "use --net-host"),
        ("--rdt-class x", "no board has Intel RDT"),
        ("--blockio-class x", "not supported"),
        ("--seccomp", "there is no built-in profile"),
        ("--apparmor-default-profile x", "use --apparmor-profile"),
        ("--uidmap 0:1:1", "give both"),
        ("--uidmap a:b --gidmap 0:1:1", "INSIDE:OUTSIDE:COUNT is expected"),
        ("--runc-binary crun", "this shim runs containers itself"),
    ],
)
def test_a_flag_that_cannot_work_is_refused_in_one_line(
    pinnaced: Daemon, flags: str, why: str
) -> None:
    done = pinnaced.ctr("run", "--rm", *flags.split(), IMAGE, "refused", "true")
    assert done.returncode == 1
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert pinnaced.ctr("container", "ls", "-q").stdout == ""


def test_more_flags(pinnaced: Daemon) -> None:
    ctr = pinnaced.ctr
    assert ctr("run", "--rm", "--no-pivot", IMAGE, "moved", "echo", "here").stdout == "here\n"
    dumped = json.loads(ctr("run", "--dump-config", "--cpus", "0.5", IMAGE, "dumped", "ls").stdout)
    assert dumped["process"]["args"] == ["ls"]
    assert dumped["linux"]["resources"]["cpu"] == {"quota": 50000, "period": 100000}
    assert ctr("container", "ls", "-q").stdout == ""
    flags = ("--privileged", "--privileged-without-host-devices")
    seen = ctr("run", "--rm", *flags, IMAGE, "plain", "ls", "/dev").stdout.split()
    assert "null" in seen
    assert "kmsg" not in seen


def test_a_checkpoint_keeps_what_a_container_wrote(daemon: Daemon) -> None:
    ctr = daemon.ctr
    script = "test -f /kept && exec cat /kept; echo kept > /kept; exec sleep 600"
    assert ctr("run", "-d", IMAGE, "first", "sh", "-c", script).returncode == 0
    deadline = time.monotonic() + 20
    while ctr("task", "exec", "--exec-id", "look", "first", "test", "-s", "/kept").returncode:
        assert time.monotonic() < deadline
    kept = ctr("container", "checkpoint", "--rw", "--image", "first", "registry.lab/kept:1")
    assert kept.returncode == 0, kept.stderr
    ctr("task", "rm", "-f", "first")
    assert ctr("container", "rm", "first").returncode == 0
    done = ctr("container", "restore", "--rw", "second", "registry.lab/kept:1")
    assert (done.returncode, done.stdout) == (0, "kept\n"), done.stderr
    assert ctr("container", "rm", "second").returncode == 0
    assert "is no checkpoint" in ctr("container", "restore", "third", IMAGE).stderr
    ctr("image", "rm", "--sync", "registry.lab/kept:1")


def test_containerds_shim_is_asked_past_the_daemon(containerd: Daemon) -> None:
    ctr = containerd.ctr
    assert ctr("run", "-d", IMAGE, "shimmed", "sleep", "600").returncode == 0
    try:
        state = json.loads(ctr("shim", "--id", "shimmed", "state", "--api-version", "2").stdout)
        assert state["status"] == "RUNNING"
        words = ("shim", "--id", "shimmed", "exec", "--attach", "e1", "/bin/sh", "-c", "exit 3")
        assert ctr(*words).returncode == 3
    finally:
        ctr("task", "rm", "-f", "shimmed")
        ctr("container", "rm", "shimmed")


def test_programs_of_an_image_are_installed(pinnaced: Daemon) -> None:
    target = pinnaced.arena.scratch / f"installed-{secrets.token_hex(3)}"
    words = ("install", "--path", str(target), IMAGE)
    assert pinnaced.ctr(*words).returncode == 0
    assert pinnaced.arena.run([target / "bin/busybox", "echo", "runs"]).stdout == "runs\n"
    assert "--replace replaces it" in pinnaced.ctr(*words).stderr
    assert pinnaced.ctr("install", "--replace", *words[1:]).returncode == 0
