"""An image comes through the mirror, runs, and is held to its limits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from toolkit.boards import capability, network
from toolkit.verify.session import Subject


def test_image_is_pulled_through_the_mirror(host: Any, pulled: str) -> None:
    assert pulled in host.run("ctr image ls -q").stdout.split()


def test_image_of_the_lab_is_pulled_by_its_own_name_and_runs(host: Any, subject: Subject) -> None:
    """It stays on the board, for whoever tries `ctr run` next."""
    if not subject.target.board:
        pytest.skip("only emulated boards reach the lab registry")
    image = f"{network.REGISTRY}/library/busybox:latest"
    done = host.run(f"ctr image pull {image}")
    assert done.succeeded, done.stderr
    assert host.run(f"ctr run --rm {image} verify-lab true").succeeded


def test_machine_inside_equals_the_board(host: Any, pulled: str) -> None:
    done = host.run(f"ctr run --rm {pulled} verify-uname uname -m")
    assert done.succeeded, done.stderr
    assert done.stdout.strip() == host.run("uname -m").stdout.strip()


def test_exit_status_comes_through(host: Any, pulled: str) -> None:
    assert host.run(f"ctr run --rm {pulled} verify-status sh -c 'exit 42'").rc == 42


def test_detached_container_runs_and_ends(host: Any, pulled: str, container: str) -> None:
    assert host.run(f"ctr run -d {pulled} {container} sleep 600").succeeded
    listed = [line.split() for line in host.run("ctr task ls").stdout.splitlines()]
    assert [row[2] for row in listed if row[0] == container] == ["RUNNING"]
    # The kernel spares the daemon and what it starts with, not the container.
    assert host.file(f"/proc/{_pid(host, container)}/oom_score_adj").content_string.strip() == "0"
    assert host.run(f"ctr task kill -s SIGKILL {container}").succeeded
    assert host.run(f"ctr task delete {container}").rc in (0, 137)


def test_memory_limit_holds(host: Any, pulled: str, container: str, subject: Subject) -> None:
    _need_controller(host, "memory")
    limit = 32 << 20
    assert host.run(f"ctr run -d --memory-limit {limit} {pulled} {container} sleep 600").succeeded
    assert _limit(host, container, "memory", "memory.limit_in_bytes", "memory.max") == str(limit)
    if capability.MEMORY_LIMIT not in subject.shows:
        return  # an allocation of that size is the emulator's, not the program's
    eaten = host.run(f"ctr task exec --exec-id eat {container} sh -c 'tail -c 67108864 /dev/zero'")
    assert eaten.rc == 137


def test_pids_limit_holds(
    host: Any, pulled: str, container: str, bundle: str, subject: Subject
) -> None:
    """ctr has no flag for it, so the specification of one container is given to another."""
    _need_controller(host, "pids")
    assert host.run(f"ctr run -d {pulled} {container} sleep 600").succeeded
    spec = json.loads(host.run(f"ctr container info --spec {container}").stdout)
    root = f"/proc/{_pid(host, container)}/root"
    assert host.run(f"mkdir -p {bundle}/rootfs && cp -a {root}/bin {bundle}/rootfs/").succeeded
    spec["root"]["path"] = f"{bundle}/rootfs"
    # The loop's shell gives up at the limit; the outer one stays to be looked at.
    spec["process"]["args"] = ["sh", "-c", "(for i in $(seq 40); do sleep 60 & done); sleep 60"]
    spec["linux"]["cgroupsPath"] = f"/default/{container}-pids"
    spec["linux"]["resources"]["pids"] = {"limit": 16}
    enforced = capability.PIDS_LIMIT in subject.shows
    if not enforced:
        # The emulator aborts when it cannot make a thread: only see that the kernel has the limit.
        spec["process"]["args"] = ["sleep", "60"]
    written = host.run(f"cat > {bundle}/config.json <<'END'\n{json.dumps(spec)}\nEND")
    assert written.succeeded, written.stderr
    started = host.run(f"ctr run -d --config {bundle}/config.json {container}-pids")
    assert started.succeeded, started.stderr
    assert _limit(host, f"{container}-pids", "pids", "pids.max", "pids.max") == "16"
    refused = "max 0"
    for _ in range(50 if enforced else 0):
        refused = _limit(host, f"{container}-pids", "pids", "pids.events", "pids.events")
        if refused != "max 0":
            break
        time.sleep(0.2)
    assert not enforced or refused != "max 0", "a 17th process was not refused"


@pytest.fixture
def bundle(host: Any, container: str) -> Iterator[str]:
    """A scratch directory on the board, and the container ``<container>-pids`` gone afterwards."""
    path = "/run/verify-bundle"
    yield path
    name = f"{container}-pids"
    host.run(f"ctr task kill -s SIGKILL {name}; ctr task delete -f {name}; ctr container delete {name}")  # fmt: skip
    host.run(f"rm -rf {path}")


def _need_controller(host: Any, name: str) -> None:
    unified = host.run("cat /sys/fs/cgroup/cgroup.controllers").stdout.split()
    rows = [line.split() for line in host.run("cat /proc/cgroups").stdout.splitlines()]
    if name not in unified and [name, "1"] not in [[row[0], row[-1]] for row in rows if row]:
        pytest.skip(f"the kernel has no {name} controller: a limit cannot be enforced")


def _limit(host: Any, container: str, controller: str, classic: str, unified: str) -> str:
    """The limit in the cgroup of the container's process, version 1 or 2."""
    for line in host.run(f"cat /proc/{_pid(host, container)}/cgroup").stdout.splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return str(host.run(f"cat /sys/fs/cgroup/{controller}{path}/{classic}").stdout.strip())
    return str(host.run(f"cat /sys/fs/cgroup{path}/{unified}").stdout.strip())


def _pid(host: Any, container: str) -> str:
    rows = [line.split() for line in host.run("ctr task ls").stdout.splitlines()]
    return str(next(row[1] for row in rows if row[0] == container))
