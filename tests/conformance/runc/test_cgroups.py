"""Control groups on the real kernel: where processes are, what limits do, what is left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.errors import Error
from pinnace.linux import cgroups, fork
from tests.conformance.runc.conftest import Box

pytestmark = pytest.mark.root


def _groups(text: str) -> set[str]:
    """The paths in a /proc/PID/cgroup."""
    return {line.split(":", 2)[2] for line in text.splitlines()}


def test_a_container_is_in_its_group_in_every_hierarchy(box: Box) -> None:
    ended = box.run("cat", "/proc/self/cgroup")
    assert _groups(ended.output) == {box.linux["cgroupsPath"]}


def test_so_is_a_further_process(box: Box) -> None:
    box.background("sleep", "100")
    assert _groups(box.exec("cat", "/proc/self/cgroup").output) == {box.linux["cgroupsPath"]}


def test_so_is_one_in_a_user_namespace(box: Box) -> None:
    """It has no right to the groups: it enters by what was opened before."""
    box.map_users()
    box.background("sleep", "100")
    pid = box.state()["pid"]
    assert _groups(Path(f"/proc/{pid}/cgroup").read_text()) == {box.linux["cgroupsPath"]}


def test_a_limit_of_one_process_lets_that_one_start(box: Box) -> None:
    box.linux["resources"]["pids"] = {"limit": 1}
    ended = box.sh("echo started; (true); echo not reached")
    assert ended.output == "started\n"
    assert "fork" in ended.error


def test_the_way_in_is_closed_when_the_program_runs(box: Box) -> None:
    """CVE-2024-21626: a descriptor of the host's cgroup files is a way out."""
    ended = box.run("ls", "-l", "/proc/self/fd")
    assert "cgroup" not in ended.output
    assert "tasks" not in ended.output


@pytest.fixture
def unified() -> Iterator[Path]:
    group = cgroups.find("/pinnace-tests/born")
    if not group.unified_root:
        pytest.skip("no version 2 hierarchy is mounted")
    group.create()
    yield Path(group.unified_root + group.path)
    group.delete()


def test_a_process_is_born_in_a_group(unified: Path) -> None:
    fd = os.open(unified, os.O_PATH | os.O_DIRECTORY)
    inner, outer = os.pipe()
    pid = os.fork()  # the test's own process has threads
    if pid == 0:
        child = fork.into_cgroup(fd)
        if child == 0:
            os.write(outer, Path("/proc/self/cgroup").read_bytes())
            os._exit(0)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os.close(outer)
    os.close(fd)
    with os.fdopen(inner) as reader:
        text = reader.read()
    assert os.waitpid(pid, 0)[1] == 0
    assert "0::/pinnace-tests/born" in text


def test_forking_into_what_is_no_group_is_an_error(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    with pytest.raises(OSError, match="clone3"):
        fork.into_cgroup(fd)
    os.close(fd)


def test_a_refused_limit_leaves_nothing(box: Box) -> None:
    box.linux["resources"]["memory"] = {"limit": 1 << 20, "swap": 1 << 10}
    with pytest.raises((Error, OSError)):
        box.create("true")
    assert box.cgroups() == []
