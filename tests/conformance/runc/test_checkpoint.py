"""Checkpoints with Debian's criu: a container goes on where it was; without criu the error says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.spec import oci
from toolkit.arch import Arch
from toolkit.arena import Arena
from toolkit.debian import Archive

pytestmark = [pytest.mark.root, pytest.mark.peer]
# What the machine's own Python and tar (for criu) need beside the C library, which is replaced in the arena by a newer one.
_PYTHONS = [
    "libacl1",
    "libselinux1",
    "libbz2-1.0",
    "libexpat1",
    "libffi8",
    "liblzma5",
    "libseccomp2",
    "libssl3t64",
    "zlib1g",
]
_ONE_VERSION = "(! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified)"


class Lab:
    """An arena with a newer Debian's criu and our runc, and a container that counts."""

    def __init__(self, arena: Arena, release: Path, criu: Path) -> None:
        self.arena = arena
        self.bundle = arena.scratch / "bundle"
        self._runc = [str(release / "bin/runc"), "--root", "/run/state"]
        self._criu = criu

    def runc(self, *words: str, with_criu: bool = True) -> tuple[int, str]:
        """The exit status and the errors of a command, run in the bundle."""
        path = f"{self._criu}/usr/sbin:{os.environ['PATH']}" if with_criu else "/usr/bin:/bin"
        variables = ["PINNACE_KEEPER=", f"PATH={path}"]
        command = ["env", f"--chdir={self.bundle}", *variables, *self._runc, *words]
        with open(self.arena.scratch / "errors", "wb") as errors, open(os.devnull, "wb") as null:
            # A container that stays holds its streams: criu does not take files from outside.
            said = null if "--detach" in words else errors
            done = self.arena.run(
                command, capture_output=False, stdin=subprocess.DEVNULL, stdout=null, stderr=said
            )
        return done.returncode, (self.arena.scratch / "errors").read_text()

    def count(self) -> int:
        return len((self.bundle / "rootfs/count").read_text())


@pytest.fixture
def lab(release: Path, busybox: Path) -> Iterator[Lab]:
    debian = Arch.from_machine(os.uname().machine).facts.debian
    criu = Archive("forky", debian).unpack(["criu", *_PYTHONS], dependencies=True)
    library = next(criu.glob("usr/lib/*-linux-gnu"))
    with Arena(f"{_ONE_VERSION} && mount --bind '{library}' /usr/lib/{library.name}") as arena:
        if arena.run([criu / "usr/sbin/criu", "check"]).returncode:
            pytest.skip("this kernel lacks what criu needs (criu check)")
        made = Lab(arena, release, criu)
        for name in ("bin", "proc", "dev", "sys"):
            (made.bundle / "rootfs" / name).mkdir(parents=True)
        shutil.copy(busybox, made.bundle / "rootfs/bin/busybox")
        for name in ("sh", "sleep", "echo"):
            (made.bundle / "rootfs/bin" / name).symlink_to("busybox")
        spec = oci.default_spec("counter", arena.name)
        spec["root"] = {"path": "rootfs", "readonly": False}
        script = "while :; do echo -n x >> /count; sleep 0.05; done"
        spec["process"] |= {"args": ["sh", "-c", script], "env": ["PATH=/bin"]}
        # A network namespace takes iptables or nft, which criu locks connections with.
        spec["linux"]["namespaces"].remove({"type": "network"})
        spec["linux"]["cgroupsPath"] = f"/{arena.name}/counter"
        (made.bundle / "config.json").write_text(json.dumps(spec))
        yield made


def _grows(lab: Lab) -> bool:
    before = lab.count()
    deadline = time.monotonic() + 5
    while lab.count() <= before:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_container_goes_on_where_it_was(lab: Lab) -> None:
    made = lab.runc("run", "--detach", "counter")
    assert made == (0, ""), made[1]
    assert _grows(lab)
    status, said = lab.runc("checkpoint", "--image-path", "images", "counter")
    log = (lab.bundle / "images/dump.log").read_text()[-3000:]
    assert status == 0, f"{said}\n{log}"
    assert lab.runc("state", "counter")[0] == 1  # it is gone
    stopped_at = lab.count()
    assert not _grows(lab)
    status, said = lab.runc("restore", "--detach", "--image-path", "images", "counter")
    log = (lab.bundle / "images/restore.log").read_text()[-3000:]
    assert status == 0, f"{said}\n{log}"
    assert _grows(lab)
    assert lab.count() > stopped_at
    assert lab.runc("delete", "--force", "counter") == (0, "")


def test_without_criu_the_error_says_so(lab: Lab) -> None:
    for words in (["checkpoint", "counter"], ["restore", "counter"]):
        status, said = lab.runc(*words, with_criu=False)
        assert status == 1
        assert "criu, which is not installed (apt-get install criu)" in said
