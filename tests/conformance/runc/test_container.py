"""What a container is given: namespaces, mounts, identity, limits; and its life from create to delete."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pinnace.errors import AlreadyExists, Error, FailedPrecondition, NotFound
from pinnace.linux import mountinfo
from pinnace.runc import container
from tests.conformance.runc.conftest import Box

pytestmark = pytest.mark.root


def test_a_life(box: Box) -> None:
    made = box.create("sh", "-c", "exit 7")
    assert box.state()["status"] == "created"
    assert box.state()["pid"] == made.pid
    box.start()
    assert box.ended(made.pid).status == 7
    assert box.state()["status"] == "stopped"
    container.delete(box.id, box.state_root)
    with pytest.raises(NotFound):
        box.state()
    assert box.cgroups() == []


def test_its_creator_keeps_no_way_into_its_group(box: Box) -> None:
    """A shim lives as long as its container does, and would keep a removed group in the kernel."""
    box.create("true")
    assert box.cgroups()
    held = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            held.append(os.readlink(f"/proc/self/fd/{fd}"))
    assert [path for path in held if box.id in path and "cgroup" in path] == []


def test_the_first_process_is_pid_one_with_its_own_names(box: Box) -> None:
    box.spec["hostname"] = "boat"
    ended = box.sh("echo $$; hostname; readlink /proc/self/ns/net; readlink /proc/self/ns/ipc")
    pid, hostname, net, ipc = ended.output.split()
    assert (pid, hostname) == ("1", "boat")
    assert net != os.readlink("/proc/self/ns/net")
    assert ipc != os.readlink("/proc/self/ns/ipc")


def test_loopback_is_up(box: Box) -> None:
    assert "lo:" in box.sh("cat /proc/net/dev").output
    flags = box.sh("cat /sys/class/net/lo/flags").output
    assert int(flags, 16) & 1


def test_a_namespace_is_joined_by_path(boxes: Callable[[], Box]) -> None:
    first, second = boxes(), boxes()
    pid = first.background("sleep", "100")
    for entry in second.linux["namespaces"]:
        if entry["type"] in ("network", "ipc"):
            name = "net" if entry["type"] == "network" else "ipc"
            entry["path"] = f"/proc/{pid}/ns/{name}"
    ended = second.run("readlink", "/proc/self/ns/net")
    assert ended.output.strip() == os.readlink(f"/proc/{pid}/ns/net")


def test_a_cgroup_namespace_hides_the_path(box: Box) -> None:
    box.linux["namespaces"].append({"type": "cgroup"})
    assert "pinnace-tests" not in box.run("cat", "/proc/self/cgroup").output


def test_capabilities_are_those_asked_for(box: Box) -> None:
    sets = box.spec["process"]["capabilities"]
    for kind in ("bounding", "effective", "permitted"):
        sets[kind] = ["CAP_KILL", "CAP_NET_RAW"]
    status = dict(
        line.split(":\t")
        for line in box.run("grep", "Cap", "/proc/self/status").output.splitlines()
    )
    assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == 1 << 5 | 1 << 13
    assert int(status["CapInh"], 16) == 0


def test_ambient_capabilities_reach_another_user(box: Box) -> None:
    box.spec["process"]["user"] = {"uid": 1000, "gid": 1000}
    for kind in ("bounding", "effective", "permitted", "inheritable", "ambient"):
        box.spec["process"]["capabilities"][kind] = ["CAP_NET_BIND_SERVICE"]
    assert "CapEff:\t0000000000000400" in box.run("cat", "/proc/self/status").output


def test_user_groups_and_home(box: Box) -> None:
    (box.root / "etc").mkdir()
    (box.root / "etc/passwd").write_text("pi:x:1000:1001::/home/pi:/bin/sh\n")
    box.spec["process"]["user"] = {
        "uid": 1000, "gid": 1001, "additionalGids": [27, 44], "umask": 0o77,
    }  # fmt: skip
    ended = box.sh("id -u; id -g; id -G; echo $HOME; umask")
    assert ended.output.splitlines() == ["1000", "1001", "1001 27 44", "/home/pi", "0077"]


def test_resource_limits(box: Box) -> None:
    box.spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}]
    assert box.sh("ulimit -n; ulimit -Hn").output == "77\n99\n"


def test_no_new_privileges_and_default_signals(box: Box) -> None:
    text = box.run("cat", "/proc/self/status").output
    assert "NoNewPrivs:\t1" in text
    assert "SigIgn:\t0000000000000000" in text
    assert "SigBlk:\t0000000000000000" in text


def test_only_the_standard_descriptors_are_open(box: Box) -> None:
    extra = os.open("/", os.O_RDONLY)
    os.set_inheritable(extra, True)
    try:
        pid = box.background("sleep", "100")
    finally:
        os.close(extra)
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]


def test_the_working_directory_is_made(box: Box) -> None:
    box.spec["process"]["cwd"] = "/deep/inside"
    assert box.sh("echo $PWD").output == "/deep/inside\n"


def test_default_devices_and_links(box: Box) -> None:
    names = box.run("ls", "/dev").output.split()
    expected = [
        "fd",
        "full",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "stderr",
        "stdin",
        "stdout",
        "tty",
        "urandom",
        "zero",
    ]
    assert set(expected) <= set(names)
    assert box.sh("echo gone > /dev/null && head -c 4 /dev/zero | wc -c").output.strip() == "4"


def test_masked_and_read_only_paths(box: Box) -> None:
    ended = box.sh(
        "wc -c < /proc/timer_list; ls /sys/firmware | wc -l; echo 1 > /proc/sys/vm/swappiness; echo $?"
    )
    assert ended.output.split() == ["0", "0", "1"]
    assert "Read-only file system" in ended.error


def test_read_only_root(box: Box) -> None:
    box.spec["root"]["readonly"] = True
    ended = box.sh("touch /x; touch /dev/shm/y && echo shm")
    assert "Read-only file system" in ended.error
    assert ended.output == "shm\n"
    assert not (box.root / "x").exists()


def test_bind_mounts(box: Box, tmp_path: Path) -> None:
    source = tmp_path / "volume"
    source.mkdir()
    (source / "file").write_text("there")
    for target, options in (("/rw", ["rbind", "rw"]), ("/ro", ["rbind", "ro", "nosuid", "noexec"])):
        box.spec["mounts"].append(
            {"destination": target, "type": "bind", "source": str(source), "options": options}
        )
    ended = box.sh(
        "cat /ro/file; echo changed > /rw/file; echo no > /ro/file; grep ' /ro ' /proc/mounts"
    )
    assert ended.output.startswith("there")
    assert {"ro", "nosuid", "noexec"} <= set(ended.output.split(" /ro ")[1].split()[1].split(","))
    assert (source / "file").read_text() == "changed\n"
    assert "Read-only" in ended.error


def test_mounts_stay_inside(box: Box) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    box.background("sleep", "100")
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.fixture
def shared_root(box: Box) -> Iterator[None]:
    """The container's root is a mount of its own, as a snapshot is, and the host shares it."""
    for words in (["--bind", box.root, box.root], ["--make-shared", box.root]):
        subprocess.run(["mount", *words], check=True)
    yield
    subprocess.run(["umount", "--lazy", box.root], check=True)


@pytest.mark.parametrize("word", ["rshared", "shared", "rslave", "rprivate", "runbindable"])
def test_a_shared_root_becomes_what_is_asked_for(box: Box, shared_root: None, word: str) -> None:
    before = mountinfo.read()
    box.linux["rootfsPropagation"] = word
    ended = box.sh("grep ' / / ' /proc/self/mountinfo || cat /proc/self/mountinfo")
    assert (ended.status, ended.error) == (0, "")
    root = next(line for line in ended.output.splitlines() if line.split()[4] == "/")
    assert ("shared:" in root) == ("shared" in word)
    assert ("unbindable" in root) == (word == "runbindable")
    assert mountinfo.read() == before


def test_sysctl_of_the_container_only(box: Box) -> None:
    box.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shmmni": "123"}
    host = Path("/proc/sys/kernel/shmmni").read_text()
    ended = box.run("cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/shmmni")
    assert ended.output.split() == ["1", "123"]
    assert Path("/proc/sys/kernel/shmmni").read_text() == host


@pytest.mark.parametrize("key", ["vm.swappiness", "kernel.core_pattern", "net/../kernel.panic"])
def test_a_sysctl_of_the_machine_is_refused(box: Box, key: str) -> None:
    box.linux["sysctl"] = {key: "1"}
    with pytest.raises(Error, match="sysctl"):
        box.create("true")


def test_memory_limit_kills(box: Box) -> None:
    box.linux["resources"]["memory"] = {"limit": 16 << 20, "swap": 16 << 20}
    script = "dd if=/dev/zero of=/dev/shm/fill bs=1M count=64"
    assert box.sh(script).status == 137


def test_pids_limit_refuses(box: Box) -> None:
    box.linux["resources"]["pids"] = {"limit": 4}
    ended = box.sh("for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait")
    assert "fork" in ended.error


def test_processes_numbers_and_update(box: Box) -> None:
    box.linux["resources"]["pids"] = {"limit": 50}
    pid = box.background("sh", "-c", "sleep 100 & wait")
    deadline = time.monotonic() + 5
    while len(container.pids(box.id, box.state_root)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert pid in container.pids(box.id, box.state_root)
    found = container.stats(box.id, box.state_root)
    assert found["cgroup"] in (1, 2)
    assert found["pids"] == {"current": 2, "limit": 50}
    container.update(box.id, box.state_root, {"pids": {"limit": 60}})
    assert container.stats(box.id, box.state_root)["pids"]["limit"] == 60


def test_pause_and_resume(box: Box) -> None:
    box.background("sleep", "100")
    container.pause(box.id, box.state_root)
    assert box.state()["status"] == "paused"
    with pytest.raises(FailedPrecondition, match="paused"):
        box.exec("true")
    container.resume(box.id, box.state_root)
    assert box.state()["status"] == "running"


def test_signals(box: Box) -> None:
    pid = box.background("sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done")
    deadline = time.monotonic() + 5
    while box.files[0].read_text() != "up\n":
        assert time.monotonic() < deadline
        time.sleep(0.005)
    container.kill(box.id, box.state_root, "TERM")
    assert box.ended(pid).status == 9
    with pytest.raises(FailedPrecondition, match="not running"):
        container.kill(box.id, box.state_root, signal.SIGKILL)


def test_delete_refuses_what_runs_and_force_kills(box: Box) -> None:
    pid = box.background("sleep", "100")
    with pytest.raises(FailedPrecondition, match="running"):
        container.delete(box.id, box.state_root)
    container.delete(box.id, box.state_root, force=True)
    assert box.ended(pid).status == 137
    assert box.cgroups() == []


def test_an_id_is_taken_once(box: Box) -> None:
    box.create("true")
    with pytest.raises(AlreadyExists):
        box.create("true")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("nosuch", 'exec: "nosuch": executable file not found in $PATH'),
        ("/nosuch", 'exec: "/nosuch": stat /nosuch: no such file or directory'),
        ("/etc", 'exec: "/etc": is a directory'),
        ("/plain", 'exec: "/plain": permission denied'),
    ],
)
def test_a_missing_program_fails_create_and_leaves_nothing(
    box: Box, program: str, message: str
) -> None:
    (box.root / "etc").mkdir()
    (box.root / "plain").write_text("")
    with pytest.raises(Error) as raised:
        box.create(program)
    assert raised.value.message == f"unable to start container process: {message}"
    assert container.list_(box.state_root) == []
    assert box.cgroups() == []


def test_a_program_of_another_machine_fails_start(box: Box) -> None:
    (box.root / "bad").write_bytes(b"\x7fELF nonsense")
    (box.root / "bad").chmod(0o755)
    made = box.create("/bad")
    with pytest.raises(Error, match="exec format error"):
        box.start()
    box.ended(made.pid)
    container.delete(box.id, box.state_root)


def test_exec_joins_everything(box: Box) -> None:
    pid = box.background("sleep", "100")
    ended = box.exec("sh", "-c", "readlink /proc/self/ns/mnt; readlink /proc/self/ns/pid; exit 3")
    assert ended.status == 3
    names = [os.readlink(f"/proc/{pid}/ns/{name}") for name in ("mnt", "pid")]
    assert ended.output.split() == names
    with pytest.raises(Error, match=r"executable file not found in \$PATH"):
        box.exec("nosuch")


def test_exec_is_limited_as_the_container(box: Box) -> None:
    box.background("sleep", "100")
    mine = [
        line for line in box.exec("cat", "/proc/self/cgroup").output.splitlines() if "pids" in line
    ]
    assert all(box.id in line for line in mine)
    assert "CapEff:\t00000000a80425fb" in box.exec("cat", "/proc/self/status").output


def test_a_terminal(box: Box) -> None:
    box.spec["process"]["terminal"] = True
    box.spec["process"]["consoleSize"] = {"width": 91, "height": 33}
    made = box.create(
        "sh", "-c", "tty; stty size; ls -l /dev/console | head -c 1; test -t 0 && echo yes"
    )
    assert made.console is not None
    box.start()
    text = _read_all(made.console)
    assert box.ended(made.pid).status == 0
    assert text.split() == ["/dev/pts/0", "33", "91", "cyes"]


def test_a_terminal_of_an_exec(box: Box) -> None:
    box.background("sleep", "100")
    process = {**box.spec["process"], "args": ["sh", "-c", "tty; echo $$"], "terminal": True}
    made = container.exec_(box.id, box.state_root, process, None)
    assert made.console is not None
    assert _read_all(made.console).startswith("/dev/pts/0")
    box.ended(made.pid)


def _read_all(console: int) -> str:
    """Everything until the last one that has the terminal closes it."""
    found = b""
    try:
        while select.select([console], [], [], 10)[0]:
            try:
                part = os.read(console, 4096)
            except OSError:
                break  # EIO: how Linux says that a terminal's other side is closed
            if not part:
                break
            found += part
    finally:
        os.close(console)
    return found.decode()


def test_a_user_namespace(box: Box) -> None:
    box.map_users()
    pid = box.background("sh", "-c", "id -u; sleep 100")
    assert Path(f"/proc/{pid}").stat().st_uid == 100000
    assert box.exec("id", "-u").output == "0\n"
    assert box.exec("sh", "-c", "echo x > /dev/null && touch /new").status == 0
    assert (box.root / "new").stat().st_uid == 100000


@pytest.mark.parametrize(
    ("process", "linux", "message"),
    [
        ({"apparmorProfile": "pinnace-nosuch"}, {}, "pinnace-nosuch"),
        ({"selinuxLabel": "pinnace:nosuch"}, {}, "pinnace:nosuch"),
        ({}, {"intelRdt": {"closID": "boat"}}, "intelRdt"),
    ],
)
def test_confinement_that_can_not_be_had_is_an_error(
    box: Box, process: dict[str, object], linux: dict[str, object], message: str
) -> None:
    box.spec["process"].update(process)
    box.linux.update(linux)
    with pytest.raises(Error, match=message):
        box.create("true")
    assert container.list_(box.state_root) == []


def test_waiting_for_the_start_takes_little_memory(box: Box, init_by: str) -> None:
    if init_by == "python":
        pytest.skip("an interpreter waits then")
    box.linux["resources"]["memory"] = {"limit": 1 << 20}
    made = box.create("true")
    rollup = Path(f"/proc/{made.pid}/smaps_rollup").read_text()
    used = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    assert used < 500  # KiB; measured 108
    box.start()
    assert box.ended(made.pid).status == 0
