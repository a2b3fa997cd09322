"""Control groups on the real kernel: where processes are, what limits do, what is left."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from pinnace.cli import runc as cli
from pinnace.errors import Error, FailedPrecondition, InvalidArgument
from pinnace.linux import cgroups, fork
from pinnace.linux.cgroups.v2 import UnifiedCgroup
from pinnace.runc import container
from tests.conformance.runc.conftest import Box

RUNTIME = Path(__file__).parents[3] / "runtime"
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


def test_a_version_2_group_is_frozen_and_killed_whole(unified: Path) -> None:
    """What version 2 does without any controller, so that it is tried on hybrid machines, too."""
    group = UnifiedCgroup(f"/{unified.parent.name}/{unified.name}", str(unified.parents[1]))
    with subprocess.Popen(["sleep", "100"]) as program:
        group.join_unified(program.pid)
        deadline = time.monotonic() + 10
        while not group.pids():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        group.freeze(True)
        assert group.is_frozen()
        group.kill()  # frozen processes die, too
        assert program.wait(10) == -signal.SIGKILL
    assert group.pids() == []


def test_hugepages_are_limited_where_the_controller_is(box: Box) -> None:
    group = cgroups.find("/")
    controllers = Path(group.unified_root or "/nowhere", "cgroup.controllers")
    if not controllers.exists() or "hugetlb" not in controllers.read_text().split():
        pytest.skip("no version 2 hierarchy with the hugetlb controller")
    box.linux["resources"]["hugepageLimits"] = [{"pageSize": "2MB", "limit": 4 << 20}]
    box.background("sleep", "100")
    place = Path(group.unified_root + box.linux["cgroupsPath"])
    assert (place / "hugetlb.2MB.max").read_text() == f"{4 << 20}\n"


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


def test_a_group_with_processes_is_refused_and_left_alone(
    box: Box, boxes: Callable[[], Box]
) -> None:
    """Whoever ends the second container would end the first one's processes, or with "/" the host's."""
    box.background("sleep", "100")
    for path in (box.linux["cgroupsPath"], "/", "/.."):
        other = boxes()
        other.linux["cgroupsPath"] = path
        with pytest.raises(FailedPrecondition, match="is not empty"):
            other.create("true")
        container.delete(other.id, other.state_root, force=True)
    assert box.state()["status"] == "running"


def test_limits_arrive_in_the_kernel(box: Box) -> None:
    box.linux["resources"] |= {
        "memory": {"limit": 32 << 20, "reservation": 16 << 20},
        "cpu": {"shares": 1024, "quota": 20000, "period": 50000},
        "pids": {"limit": 17},
    }
    box.background("sleep", "100")
    group = cgroups.find(box.linux["cgroupsPath"])
    resources = box.linux["resources"] | {"devices": []}
    assert {file: text for _, file, text in _held(group, resources)} == {
        setting.file: setting.value for _, setting in group.placed(resources)
    }


def _held(group: cgroups.Cgroup, resources: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for directory, setting in group.placed(resources):
        yield directory, setting.file, Path(directory, setting.file).read_text().strip()


def test_memory_beyond_the_limit_ends_the_program(box: Box) -> None:
    box.linux["resources"]["memory"] = {"limit": 16 << 20}
    ended = box.run("dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
    assert ended.status == 137


def test_an_update_holds_at_once(box: Box) -> None:
    box.linux["resources"]["pids"] = {"limit": 1}
    box.background("sleep", "100")
    container.update(box.id, box.state_root, {"pids": {"limit": 20}})
    assert box.exec("sh", "-c", "(echo one); (echo two); true").output == "one\ntwo\n"
    with pytest.raises(InvalidArgument, match="below what is in use"):
        container.update(
            box.id, box.state_root, {"memory": {"limit": 4096, "checkBeforeUpdate": True}}
        )


def test_a_limit_without_controller_is_refused_or_left_out_on_request(box: Box) -> None:
    box.linux["resources"]["unified"] = {"nonsense.max": "1"}
    with pytest.raises(FailedPrecondition, match=r"nonsense\.max"):
        box.create("true")
    assert box.cgroups() == []
    box.spec["annotations"] = {"io.pinnace.resources": "best-effort"}
    assert box.run("true").status == 0


def test_killing_a_paused_container_ends_it(box: Box) -> None:
    pid = box.background("sleep", "100")
    container.pause(box.id, box.state_root)
    assert box.state()["status"] == "paused"
    container.kill(box.id, box.state_root, "KILL")
    assert box.ended(pid).status == 137


def test_everything_of_a_paused_container_goes(box: Box) -> None:
    box.background("sh", "-c", "sleep 100 & sleep 100")
    container.pause(box.id, box.state_root)
    container.delete(box.id, box.state_root, force=True)
    assert box.cgroups() == []


def test_use_is_reported_as_runc_does(box: Box, capfd: pytest.CaptureFixture[str]) -> None:
    """The keys that runc 1.1.5 printed for an idle container on the same machine."""
    box.background("sleep", "100")
    assert cli.main(["--root", box.state_root, "events", "--stats", box.id]) == 0
    event = json.loads(capfd.readouterr().out)
    assert (event["type"], event["id"]) == ("stats", box.id)
    data = event["data"]
    assert set(data) == {"cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"}  # fmt: skip
    assert data["pids"]["current"] == 1
    assert data["memory"]["usage"]["usage"] > 0
    assert data["memory"]["raw"]
    assert data["cpu"]["usage"]["total"] > 0


def test_events_end_with_the_container_and_tell_of_memory(box: Box) -> None:
    box.linux["resources"]["memory"] = {"limit": 16 << 20}
    pid = box.background("sh", "-c", "sleep 0.5; dd if=/dev/zero of=/dev/null bs=64M count=1; true")
    words = [sys.executable, "-m", "pinnace.cli.main", "runc", "--root", box.state_root]
    with subprocess.Popen(
        [*words, "events", "--interval", "100ms", box.id],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(RUNTIME)},
    ) as events:
        assert events.stdout
        kinds = [json.loads(line)["type"] for line in _until(events.stdout, "oom")]
        box.ended(pid)
        kinds += [json.loads(line)["type"] for line in events.stdout]
        assert events.wait(10) == 0
    assert kinds.count("oom") == 1
    assert "stats" in kinds


def _until(lines: IO[str], word: str) -> Iterator[str]:
    for line in lines:
        yield line
        if f'"{word}"' in line:
            return


@pytest.mark.parametrize(
    ("flags", "file", "value"),
    [
        (["--memory", "64m"], "memory.limit_in_bytes", str(64 << 20)),
        (["--pids-limit", "9"], "pids.max", "9"),
        (["--cpu-quota", "20000", "--cpu-period", "50000"], "cpu.cfs_quota_us", "20000"),
        (["--cpu-share", "512"], "cpu.shares", "512"),
        (["--cpuset-cpus", "0"], "cpuset.cpus", "0"),
        (["--memory-reservation", "1g"], "memory.soft_limit_in_bytes", str(1 << 30)),
        (["--kernel-memory", "1m"], "memory.limit_in_bytes", str((1 << 63) - 4096)),
    ],
)
def test_update_by_flags(box: Box, flags: list[str], file: str, value: str) -> None:
    box.background("sleep", "100")
    assert cli.main(["--root", box.state_root, "update", *flags, box.id]) == 0
    group = cgroups.find(box.linux["cgroupsPath"])
    if group.version != 1:
        pytest.skip("names version 1's files")
    directory = next(place for place in group.directories() if Path(place, file).exists())
    assert Path(directory, file).read_text().strip() == value


def test_update_by_an_object_on_standard_input(
    box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    box.background("sleep", "100")
    given = tmp_path / "resources.json"
    given.write_text('{"pids": {"limit": 11}}')
    for source in (str(given), "-"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given.read_bytes())))
        assert cli.main(["--root", box.state_root, "update", "--resources", source, box.id]) == 0
    assert cgroups.find(box.linux["cgroupsPath"]).stats()["pids"]["limit"] == 11


@pytest.mark.parametrize(
    "flags", [["--memory", "lots"], ["--cpu-quota", "x"], ["--resources", "/nosuch"], ["--l3-cache-schema", "L3:0=f"]]
)  # fmt: skip
def test_wrong_updates_are_refused(box: Box, flags: list[str]) -> None:
    box.background("sleep", "100")
    with pytest.raises(InvalidArgument):
        cli.main(["--root", box.state_root, "update", *flags, box.id])
