"""Limits of containers on cgroup version 2: each is seen to hold, by runc on the board itself.

The containers' root is the board's own /usr, read-only: nothing has to be pulled.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.requires("cgroup2")

_PLACE = "/run/verify-limits"
_RUNC = "/opt/pinnace/current/bin/runc"
_GROUP = "/sys/fs/cgroup/verify/limits"
_LINKS = ("bin", "sbin", "lib", "lib64")

# Jiffies begin five minutes before they wrap (INITIAL_JIFFIES), and blk-throttle takes the time 0 of a group that
# was never throttled for a later one until then: BUG_ON in throtl_trim_slice, seen with 6.12.107.
_32_BIT = ("armv6l", "armv7l")
_FIRST_JIFFIES_SECONDS = 300


class Boat:
    """A bundle on the board and its one container."""

    def __init__(self, host: Any) -> None:
        self.host = host
        self.flags = ""
        self.sh(f"mkdir -p {_PLACE}/rootfs/usr {_PLACE}/rootfs/proc {_PLACE}/rootfs/sys {_PLACE}/rootfs/dev {_PLACE}/rootfs/etc")  # fmt: skip
        self.sh(f"cd {_PLACE}/rootfs && for l in {' '.join(_LINKS)}; do ln -s usr/$l $l; done")
        self.spec: dict[str, Any] = json.loads(
            self.sh(f"cd {_PLACE} && {_RUNC} spec && cat config.json")
        )
        self.spec["process"] |= {"terminal": False, "env": ["PATH=/usr/bin:/bin:/usr/sbin"]}
        self.spec["mounts"].append({"destination": "/usr", "type": "none", "source": "/usr", "options": ["rbind", "ro"]})  # fmt: skip
        self.linux["cgroupsPath"] = "/verify/limits"

    @property
    def linux(self) -> dict[str, Any]:
        found: dict[str, Any] = self.spec["linux"]
        return found

    def sh(self, command: str) -> str:
        """Output of what must succeed on the board."""
        done = self.host.run(command)
        assert done.succeeded, done.stderr
        return str(done.stdout)

    def runc(self, words: str) -> Any:
        return self.host.run(f"cd {_PLACE} && {_RUNC} --root {_PLACE}/state {self.flags} {words}")

    def configure(self, script: str, **resources: Any) -> None:
        self.spec["process"]["args"] = ["sh", "-c", script]
        self.linux.setdefault("resources", {}).update(resources)
        self.sh(f"cat > {_PLACE}/config.json <<'END'\n{json.dumps(self.spec)}\nEND")

    def run(self, script: str, **resources: Any) -> Any:
        self.configure(script, **resources)
        return self.runc("run boat </dev/null")

    def start(self, script: str, **resources: Any) -> None:
        self.configure(script, **resources)
        started = self.runc(f"run -d boat </dev/null >{_PLACE}/out 2>&1")
        assert started.succeeded, self.sh(f"cat {_PLACE}/out")

    def file(self, name: str, group: str = _GROUP) -> str:
        """A control file of the container's group."""
        return self.sh(f"cat {group}/{name}").strip()

    def wait_for(self, command: str) -> None:
        """Until ``command`` succeeds on the board."""
        deadline = time.monotonic() + 60
        while self.host.run(command).rc != 0:
            assert time.monotonic() < deadline, command
            time.sleep(0.5)

    def numbers(self, name: str) -> dict[str, int]:
        """A control file of ``key number`` lines."""
        words = [line.split() for line in self.file(name).splitlines()]
        return {row[0]: int(row[1]) for row in words if len(row) == 2}


@pytest.fixture
def boat(host: Any) -> Iterator[Boat]:
    clean = f"{_RUNC} --root {_PLACE}/state delete -f boat; rm -rf {_PLACE}; rmdir /sys/fs/cgroup/verify"
    host.run(clean)
    yield Boat(host)
    host.run(clean)


def test_a_container_is_in_its_group(boat: Boat) -> None:
    assert boat.run("cat /proc/self/cgroup").stdout.strip() in ("0::/verify/limits", "0::/")


def test_memory_beyond_the_limit_is_killed_and_told(boat: Boat) -> None:
    eat = (
        "until [ -e /go ]; do sleep 1; done; dd if=/dev/zero of=/dev/null bs=64M count=1; sleep 99"
    )
    boat.start(eat, memory={"limit": 24 << 20})
    log = f"{_PLACE}/events"
    watching = f"events --interval 2s boat >{log} 2>&1 </dev/null & echo $! >{_PLACE}/pid"
    assert boat.runc(watching).succeeded
    boat.wait_for(f"grep -q '\"stats\"' {log}")
    boat.sh(f"touch {_PLACE}/rootfs/go")
    boat.wait_for(f"grep -q '\"oom\"' {log}")
    assert boat.numbers("memory.events")["oom_kill"] == 1
    boat.sh(f"kill $(cat {_PLACE}/pid)")


def test_a_program_killed_for_memory_ends_with_137(boat: Boat) -> None:
    ended = boat.run("exec dd if=/dev/zero of=/dev/null bs=64M count=1", memory={"limit": 24 << 20})
    assert ended.rc == 137


def test_a_process_too_many_is_refused(boat: Boat) -> None:
    script = "for i in 1 2 3 4 5 6; do sleep 5 & done; wait"
    ended = boat.run(script, pids={"limit": 4})
    assert "ork" in ended.stderr, ended.stderr


def test_a_quota_throttles(boat: Boat) -> None:
    boat.start("while :; do :; done", cpu={"quota": 10000, "period": 100000})
    time.sleep(2)
    before = boat.numbers("cpu.stat")
    time.sleep(3)
    after = boat.numbers("cpu.stat")
    assert after["nr_throttled"] > before["nr_throttled"]
    assert after["usage_usec"] - before["usage_usec"] < 0.3 * 1_000_000 * 10


def test_processors_are_those_given(boat: Boat) -> None:
    if int(boat.sh("nproc")) < 2:
        pytest.skip("the board has one processor")
    ended = boat.run("grep Cpus_allowed_list /proc/self/status", cpu={"cpus": "1"})
    assert ended.stdout.split() == ["Cpus_allowed_list:", "1"]


def test_reading_is_throttled(boat: Boat) -> None:
    machine, uptime = boat.sh("uname -m; cat /proc/uptime").split()[:2]
    if machine in _32_BIT and float(uptime) < _FIRST_JIFFIES_SECONDS:
        pytest.skip("a 32-bit kernel panics when it throttles in its first five minutes")
    disk = boat.sh("lsblk -ndo MAJ:MIN /dev/$(lsblk -no PKNAME $(findmnt -no SOURCE /)|head -1)")
    major, minor = (int(part) for part in disk.strip().split(":"))
    rate = {"major": major, "minor": minor, "rate": 1 << 20}
    big = boat.sh("ls -S /usr/bin/* | head -1").strip()
    boat.start("sleep 100", blockIO={"throttleReadBpsDevice": [rate]})
    assert boat.file("io.max").startswith(f"{major}:{minor} rbps=1048576")
    started = time.monotonic()
    read = boat.runc(f"exec boat dd if={big} of=/dev/null bs=1M count=4 iflag=direct")
    assert read.succeeded, read.stderr
    assert time.monotonic() - started > 3


def test_a_share_of_1024_is_the_weight_of_a_service(boat: Boat) -> None:
    boat.start("sleep 100", cpu={"shares": 1024})
    assert boat.file("cpu.weight") == "100"
    assert boat.file("cpu.weight", "/sys/fs/cgroup/system.slice") == "100"


def test_an_update_holds(boat: Boat) -> None:
    boat.start("sleep 100", memory={"limit": 64 << 20}, cpu={"quota": 50000, "period": 100000})
    updated = boat.runc("update --memory 32m --memory-swap 48m --pids-limit 9 --cpu-period 50000 --cpu-share 2 boat")  # fmt: skip
    assert updated.succeeded, updated.stderr
    names = ("memory.max", "pids.max", "cpu.max", "cpu.weight")
    assert [boat.file(name) for name in names] == [str(32 << 20), "9", "50000 50000", "1"]


def test_a_paused_container_stands_still(boat: Boat) -> None:
    boat.start("while :; do :; done")
    assert boat.runc("pause boat").succeeded
    assert boat.numbers("cgroup.events")["frozen"] == 1
    assert json.loads(boat.runc("state boat").stdout)["status"] == "paused"
    first = boat.numbers("cpu.stat")["usage_usec"]
    time.sleep(0.5)
    assert boat.numbers("cpu.stat")["usage_usec"] == first
    assert boat.runc("resume boat").succeeded
    assert boat.numbers("cgroup.events")["frozen"] == 0
    assert boat.runc("pause boat").succeeded
    assert boat.runc("delete --force boat").succeeded
    assert not boat.host.file(_GROUP).exists


def test_many_processes_go_at_once(boat: Boat) -> None:
    boat.start("for i in $(seq 30); do sleep 100 & done; wait")
    assert boat.runc("delete --force boat").succeeded
    assert not boat.host.file(_GROUP).exists


def test_a_device_without_a_rule_is_out_of_reach(boat: Boat) -> None:
    boat.spec["process"]["capabilities"] = {
        kind: ["CAP_MKNOD"] for kind in ("bounding", "effective", "permitted")
    }
    disk = boat.sh("stat -Lc '%t %T' /dev/$(lsblk -no PKNAME $(findmnt -no SOURCE /)|head -1)")
    major, minor = (int(word, 16) for word in disk.split())
    ended = boat.run(f"mknod /dev/d b {major} {minor} && head -c 1 /dev/d")
    assert ended.rc != 0
    assert "not permitted" in ended.stderr, ended.stderr


def test_what_version_2_has_no_word_for_is_an_error(boat: Boat) -> None:
    refused = boat.run("true", memory={"swappiness": 10})
    assert refused.rc == 1
    assert "memory.swappiness cannot be set" in refused.stderr
    boat.spec["annotations"] = {"io.pinnace.resources": "best-effort"}
    left_out = boat.run("true", memory={"swappiness": 10})
    assert left_out.rc == 0
    assert "warning: memory.swappiness" in left_out.stderr


def test_a_further_process_joins_a_container_that_hands_controllers_on(boat: Boat) -> None:
    boat.linux["namespaces"] = [
        item for item in boat.linux["namespaces"] if item["type"] != "cgroup"
    ]
    boat.linux["namespaces"].append({"type": "cgroup"})
    boat.spec["mounts"] = [
        item for item in boat.spec["mounts"] if item["destination"] != "/sys/fs/cgroup"
    ]
    boat.spec["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]})  # fmt: skip
    script = "cd /sys/fs/cgroup && mkdir in && echo 1 >in/cgroup.procs && echo +pids >cgroup.subtree_control && sleep 100"
    boat.start(script)
    boat.wait_for(f"grep -q pids {_GROUP}/cgroup.subtree_control")
    joined = boat.runc("exec boat cat /proc/self/cgroup")
    assert (joined.rc, joined.stdout.strip()) == (0, "0::/in"), joined.stderr


def test_systemd_makes_the_group_and_keeps_its_limits(boat: Boat) -> None:
    boat.flags = "--systemd-cgroup"
    boat.linux["cgroupsPath"] = "verify-boats.slice:box:one"
    limits = {"memory": {"limit": 64 << 20}, "cpu": {"quota": 20000, "period": 100000, "shares": 512}, "pids": {"limit": 9}}  # fmt: skip
    boat.start("sleep 100", **limits)
    group = "/sys/fs/cgroup/verify.slice/verify-boats.slice/box-one.scope"
    names = ("memory.max", "pids.max", "cpu.max", "cpu.weight")
    expected = [str(64 << 20), "9", "20000 100000", "59"]
    assert [boat.file(name, group) for name in names] == expected
    shown = boat.sh("systemctl show box-one.scope -p MemoryMax,TasksMax,Delegate,DevicePolicy")
    assert set(shown.split()) == {
        f"MemoryMax={64 << 20}",
        "TasksMax=9",
        "Delegate=yes",
        "DevicePolicy=strict",
    }
    assert boat.runc("update --memory 32m boat").succeeded
    boat.sh("systemctl daemon-reload")
    assert boat.file("memory.max", group) == str(32 << 20)
    assert boat.runc("delete --force boat").succeeded
    assert boat.sh("systemctl show box-one.scope -p LoadState").strip() == "LoadState=not-found"
    assert not boat.host.file(group).exists
