"""An image comes through the mirror, runs, and is held to its limits."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.verify.session import Subject


def test_image_is_pulled_through_the_mirror(host: Any, pulled: str) -> None:
    assert pulled in host.run("ctr image ls -q").stdout.split()


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
    assert host.run(f"ctr task kill -s SIGKILL {container}").succeeded
    assert host.run(f"ctr task delete {container}").rc in (0, 137)


def test_memory_limit_holds(host: Any, pulled: str, container: str, subject: Subject) -> None:
    _need_controller(host, "memory")
    limit = 32 << 20
    assert host.run(f"ctr run -d --memory-limit {limit} {pulled} {container} sleep 600").succeeded
    assert _limit(host, container, "memory", "memory.limit_in_bytes", "memory.max") == str(limit)
    if subject.target.board.startswith("emu-") and subject.target.board != "emu-amd64":
        return  # an allocation of that size is the emulator's, not the program's
    eaten = host.run(f"ctr task exec --exec-id eat {container} sh -c 'tail -c 67108864 /dev/zero'")
    assert eaten.rc == 137


def test_pids_limit_holds(host: Any, pulled: str, container: str, subject: Subject) -> None:
    _need_controller(host, "pids")
    assert host.run(f"ctr run -d --pids-limit 32 {pulled} {container} sleep 600").succeeded
    assert _limit(host, container, "pids", "pids.max", "pids.max") == "32"


def _need_controller(host: Any, name: str) -> None:
    unified = host.run("cat /sys/fs/cgroup/cgroup.controllers").stdout.split()
    rows = [line.split() for line in host.run("cat /proc/cgroups").stdout.splitlines()]
    if name not in unified and [name, "1"] not in [[row[0], row[-1]] for row in rows if row]:
        pytest.skip(f"the kernel has no {name} controller: a limit cannot be enforced")


def _limit(host: Any, container: str, controller: str, classic: str, unified: str) -> str:
    """The limit in the cgroup of the container's process, version 1 or 2."""
    rows = [line.split() for line in host.run("ctr task ls").stdout.splitlines()]
    pid = next(row[1] for row in rows if row[0] == container)
    for line in host.run(f"cat /proc/{pid}/cgroup").stdout.splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return str(host.run(f"cat /sys/fs/cgroup/{controller}{path}/{classic}").stdout.strip())
    return str(host.run(f"cat /sys/fs/cgroup{path}/{unified}").stdout.strip())
