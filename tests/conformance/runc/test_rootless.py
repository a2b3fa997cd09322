"""Containers made by a user who is not root: an own user namespace, the user mapped to root in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conformance.runc.conftest import Box
from toolkit.arch import Arch
from toolkit.debian import Archive
from toolkit.paths import RUNTIME

pytestmark = pytest.mark.root

_USER = 4711


@pytest.fixture
def place(box: Box) -> Path:
    """The bundle, the user's; reachable for it."""
    for above in (box.bundle, *box.bundle.parents):
        if above.stat().st_uid == 0 and not above.stat().st_mode & 1:
            above.chmod(above.stat().st_mode | 0o11)
    for each in (box.bundle, *box.bundle.rglob("*")):
        os.chown(each, _USER, _USER, follow_symlinks=False)
    state = Path(box.state_root)
    state.mkdir()
    os.chown(state, _USER, _USER)
    return box.bundle


def _runc(box: Box, *words: str, within: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run ``runc`` as the user; ``within`` are words before that, run as root."""
    user = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", "--"]
    runc = [sys.executable, "-m", "pinnace.cli.main", "runc", "--root", box.state_root]
    return subprocess.run(
        [*within, *user, *runc, *words], cwd=box.bundle, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False, timeout=120, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(RUNTIME)},
    )  # fmt: skip


def _configure(box: Box, *args: str) -> None:
    box.set_args(*args)
    box.linux["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": _USER, "size": 1}]
    box.linux["uidMappings"] = box.linux["gidMappings"] = mapping
    box.linux.pop("cgroupsPath")
    box.linux["resources"] = {}
    for item in box.spec["mounts"]:
        item["options"] = [word for word in item["options"] if not word.startswith("gid=")]
    (box.bundle / "config.json").write_text(json.dumps(box.spec))


def test_a_user_is_root_in_a_container_of_its_own(box: Box, place: Path) -> None:
    _configure(
        box, "sh", "-c", "id -u; cat /proc/self/uid_map /proc/self/setgroups; touch /made; exit 7"
    )
    done = _runc(box, "run", box.id)
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout.split() == ["0", "0", str(_USER), "1", "deny"]
    assert (place / "rootfs/made").stat().st_uid == _USER


def test_further_groups_are_refused_where_setgroups_is(box: Box, place: Path) -> None:
    _configure(box, "true")
    box.spec["process"]["user"] = {"uid": 0, "gid": 0, "additionalGids": [0]}
    (box.bundle / "config.json").write_text(json.dumps(box.spec))
    done = _runc(box, "run", box.id)
    assert done.returncode == 1
    assert "Operation not permitted" in done.stderr


def test_without_a_user_namespace_it_takes_root(box: Box, place: Path) -> None:
    box.set_args("true")
    (box.bundle / "config.json").write_text(json.dumps(box.spec))
    done = _runc(box, "run", box.id)
    assert done.returncode == 1
    assert "made by root" in done.stderr


@pytest.fixture
def uidmap(tmp_path: Path) -> list[str]:
    """Words that run a command where newuidmap and newgidmap are installed, and the user has ranges of ids.

    Debian's programs, setuid root, and the files of /etc, in a mount namespace that nobody else sees.
    """
    arch = Arch.from_machine(os.uname().machine)
    found = Archive("bookworm", arch.facts.debian).unpack(["uidmap"])
    tools = tmp_path / "tools"
    tools.mkdir(mode=0o755)
    for name in ("newuidmap", "newgidmap"):
        shutil.copy(found / "usr/bin" / name, tools / name)
        (tools / name).chmod(0o4755)
    files = {
        "passwd": f"root:x:0:0::/root:/bin/sh\nsailor:x:{_USER}:{_USER}::/:/bin/sh\n",
        "subuid": "sailor:200000:1000\n",
        "subgid": "sailor:300000:1000\n",
    }
    mounts = [f"mount --bind {tools} /mnt"]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644)
        mounts.append(f"mount --bind {tmp_path / name} /etc/{name}")
    return [
        "unshare",
        "--mount",
        "sh",
        "-ec",
        "; ".join([*mounts, 'PATH=/mnt:$PATH exec "$@"']),
        "sh",
    ]


def _map_range(box: Box, *, first: int) -> None:
    """Root inside is the user, and the ids after it are those from ``first`` on."""
    for key, base in (("uidMappings", first), ("gidMappings", first + 100000)):
        box.linux[key] = [
            {"containerID": 0, "hostID": _USER, "size": 1},
            {"containerID": 1, "hostID": base, "size": 1000},
        ]
    (box.bundle / "config.json").write_text(json.dumps(box.spec))


def test_a_range_of_ids_takes_newuidmap(box: Box, place: Path, uidmap: list[str]) -> None:
    _configure(box, "sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map; chown 7:8 /bin; id -u")
    box.spec["process"]["user"] = {"uid": 0, "gid": 0, "additionalGids": [5]}
    _map_range(box, first=200000)
    done = _runc(box, "run", box.id, within=uidmap)
    assert (done.returncode, done.stderr) == (0, "")
    maps = [
        "0",
        str(_USER),
        "1",
        "1",
        "200000",
        "1000",
        "0",
        str(_USER),
        "1",
        "1",
        "300000",
        "1000",
    ]
    assert done.stdout.split() == [*maps, "0"]
    owner = (place / "rootfs/bin").stat()
    assert (owner.st_uid, owner.st_gid) == (200006, 300007)


def test_ids_of_others_are_refused_by_newuidmap(box: Box, place: Path, uidmap: list[str]) -> None:
    _configure(box, "true")
    _map_range(box, first=100000)
    done = _runc(box, "run", box.id, within=uidmap)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "newuidmap" in done.stderr
    assert not list(Path(box.state_root).iterdir())


def test_without_newuidmap_its_package_is_named(box: Box, place: Path) -> None:
    if shutil.which("newuidmap"):
        pytest.skip("uidmap is installed here")
    _configure(box, "true")
    _map_range(box, first=200000)
    done = _runc(box, "run", box.id)
    assert done.returncode == 1
    assert "install the package uidmap" in done.stderr
