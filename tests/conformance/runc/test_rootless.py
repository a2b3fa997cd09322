"""Containers made by a user who is not root: an own user namespace, the user mapped to root in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.runc.conftest import Box
from toolkit.paths import RUNTIME

pytestmark = pytest.mark.root

_USER = 4711


@pytest.fixture
def place(box: Box) -> Iterator[Path]:
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


def _runc(box: Box, *words: str) -> subprocess.CompletedProcess[str]:
    user = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", "--"]
    runc = [sys.executable, "-m", "pinnace.cli.main", "runc", "--root", box.state_root]
    return subprocess.run(
        [*user, *runc, *words], cwd=box.bundle, stdin=subprocess.DEVNULL, capture_output=True,
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
