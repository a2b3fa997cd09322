"""Every system call of every command of ``runc`` refused, one at a time: one line says so, and nothing is left.

The calls are those that a command is seen to make (``refusals.py``), so a new one is tried as soon as it exists.
``PINNACE_REFUSALS=all`` refuses each with every errno of ``_NUMBERS``, in every command; without it one errno is enough,
in the first command that makes the call.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pinnace.spec import oci
from tests.faults.refusals import SITE
from toolkit.debian import Archive
from toolkit.paths import RUNTIME

pytestmark = pytest.mark.root
PROJECT = Path(__file__).parents[2]
GROUP = f"pinnace-refused-{os.getpid()}"
ID = "refused"
_NUMBERS = [
    errno.EIO,
    errno.EPERM,
    errno.ENOENT,
    errno.ENOSPC,
    errno.ENOSYS,
    errno.EINVAL,
    errno.ENOMEM,
]
_APPLETS = ("sh", "sleep", "true", "cat", "cut", "env", "grep", "hostname", "ls", "wc")
_ALL = os.environ.get("PINNACE_REFUSALS") == "all"

_ALLOWED = "SCMP_ACT_ALLOW"
_HOOK = {"path": "/bin/true"}


def _plain(spec: dict[str, Any]) -> None:
    """Most of what a configuration may ask for."""
    spec["hostname"], spec["domainname"] = "boat", "sea"
    spec["root"]["readonly"] = True
    spec["process"] |= {
        "user": {"uid": 1000, "gid": 1000, "additionalGids": [5], "umask": 0o27},
        "cwd": "/made/on/the/way",
        "oomScoreAdj": 100,
        "scheduler": {"policy": "SCHED_BATCH", "nice": 1},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6},
        "execCPUAffinity": {"initial": "0", "final": "0"},
    }
    spec["hooks"] = {
        "createRuntime": [_HOOK], "createContainer": [_HOOK], "poststart": [_HOOK], "poststop": [_HOOK],
        "startContainer": [{"path": "/bin/true"}],
    }  # fmt: skip
    linux = spec["linux"]
    linux["namespaces"] += [{"type": "cgroup"}]
    linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    linux["personality"] = {"domain": "LINUX"}
    linux["rootfsPropagation"] = "private"
    linux["devices"] = [{"path": "/dev/extra", "type": "c", "major": 1, "minor": 5}]
    linux["resources"] |= {
        "memory": {"limit": 64 << 20},
        "pids": {"limit": 64},
        "cpu": {"shares": 512},
    }
    linux["seccomp"] = {
        "defaultAction": _ALLOWED, "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}],
    }  # fmt: skip
    spec["mounts"] += [
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]},
        {"destination": "/copied", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]},
        {"destination": "/volume", "type": "bind", "source": "volume", "options": ["rbind", "rro"]},
        {"destination": "/file", "type": "bind", "source": "config.json", "options": ["bind", "ro"]},
    ]  # fmt: skip


def _mapped(spec: dict[str, Any]) -> None:
    """With users, and clocks, of its own."""
    linux = spec["linux"]
    linux["namespaces"] += [{"type": "user"}, {"type": "time"}]
    linux["timeOffsets"] = {"monotonic": {"secs": 100}}
    mapping = [{"containerID": 0, "hostID": 0, "size": 65536}]
    linux["uidMappings"] = linux["gidMappings"] = mapping
    shifted = {"uidMappings": mapping, "gidMappings": mapping, "options": ["bind"]}
    spec["mounts"].append({"destination": "/volume", "source": "volume", **shifted})


def _native(spec: dict[str, Any]) -> None:
    """All of the plain one that the native init does."""
    _plain(spec)
    for name in ("scheduler", "ioPriority", "execCPUAffinity"):
        del spec["process"][name]
    del spec["hooks"], spec["linux"]["personality"]
    spec["mounts"] = [each for each in spec["mounts"] if each["destination"] != "/copied"]
    spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}]


class Machine:
    """One bundle for each configuration, and the process that runs commands on them."""

    def __init__(self, place: Path, busybox: Path) -> None:
        self.place = place
        self.log = place / "log"
        self.state = place / "state"
        self.tried: set[str] = set()
        spec = oci.default_spec(ID, GROUP)
        spec["root"]["path"] = "../rootfs"
        spec["process"] |= {"env": ["PATH=/bin"], "args": ["true"]}
        spec["linux"]["cgroupsPath"] = f"/{GROUP}/{ID}"
        (place / "rootfs/bin").mkdir(parents=True)
        (place / "rootfs/copied").mkdir()
        (place / "rootfs/copied/file").write_text("of the image\n")
        shutil.copy(busybox, place / "rootfs/bin/busybox")
        for name in _APPLETS:
            (place / "rootfs/bin" / name).symlink_to("busybox")
        for name, change in (("plain", _plain), ("mapped", _mapped), ("native", _native)):
            for kind, args in (("", ["true"]), ("-stays", ["sleep", "1000"])):
                bundle = place / f"{name}{kind}"
                (bundle / "volume").mkdir(parents=True)
                own = copy.deepcopy(spec)
                own["process"]["args"] = args
                change(own)
                (bundle / "config.json").write_text(json.dumps(own))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.refusals"], cwd=PROJECT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={
                **os.environ, "PYTHONPATH": f"{PROJECT}:{RUNTIME}", "PINNACE_SECCOMP": str(place / "seccomp"),
            },
        )  # fmt: skip

    def set_program(self, name: str, args: list[str]) -> None:
        """Change what the container of a bundle runs."""
        file = self.place / name / "config.json"
        spec = json.loads(file.read_text())
        spec["process"]["args"] = args
        file.write_text(json.dumps(spec))

    def printed(self) -> list[str]:
        """The lines that the last command, or its container, has printed."""
        return (self.place / "output").read_text().splitlines()

    def runc(
        self, words: list[str], *, site: str = "", number: int = 0, keep: bool = True, **more: Any
    ) -> tuple[int | None, int, str]:
        """Run a command: its status (None when it hangs), whether it left processes, what it said.

        ``more`` is what ``init_refusals.py`` takes.
        """
        self.log.write_bytes(b"")
        request = {
            "words": ["--root", str(self.state), "--log", str(self.log), "--log-format", "json", *words],
            "directory": str(self.place), "output": str(self.place / "output"),
            "error": str(self.place / "error"), "site": site, "errno": number, "keep": keep,
            **more,
        }  # fmt: skip
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["status"], answer["left"], (self.place / "error").read_text()

    def prepare(self, commands: list[list[str]]) -> None:
        """Run what comes before a command, unless that was done."""
        if not (self.state / ID).exists():
            for words in commands:
                status, _, said = self.runc(words, site="none")
                assert status == 0, said

    def sites(self, words: list[str]) -> list[str]:
        """Every site of a command that succeeds."""
        status, _, said = self.runc(words)
        lines = said.splitlines()
        assert status == 0, [line for line in lines if not line.startswith(SITE)]
        return sorted({line.removeprefix(SITE) for line in lines if line.startswith(SITE)})

    def wrong(self, words: list[str], status: int | None, said: str) -> str:
        """What is wrong with how a command failed: anything but one line, and the same in the log."""
        logged = self.log.read_text().splitlines()
        if status == (255 if words[0] == "exec" else 1) and _is_told(said, logged):
            return ""
        return f"status {status}, log {logged}: {said}"

    def clear(self) -> str:
        """Remove the container; what that says, or what there is of it afterwards."""
        status, left, said = self.runc(["delete", "--force", ID], site="none", keep=False)
        shutil.rmtree(self.place / "seccomp", ignore_errors=True)  # so that the filter is made anew
        if status or left:
            return f"delete: status {status}, {left} processes left: {said}"
        found = list(self.state.glob("*"))
        for pattern in (f"{GROUP}/{ID}", f"*/{GROUP}/{ID}"):
            found += Path("/sys/fs/cgroup").glob(pattern)
        return " ".join(map(str, found))

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    busybox = next(Archive("trixie", "amd64").unpack(["busybox-static"]).rglob("bin/busybox"))
    place = tmp_path_factory.mktemp("refused")
    made = Machine(place, busybox)
    yield made
    made.clear()
    made.close()
    for pattern in (GROUP, f"*/{GROUP}"):
        for path in Path("/sys/fs/cgroup").glob(pattern):
            with contextlib.suppress(OSError):
                path.rmdir()


_CREATED = ["create", "--bundle", "plain-stays", ID]
_RUNNING = ["run", "--detach", "--bundle", "plain-stays", ID]
_MAPPED = ["run", "--detach", "--bundle", "mapped-stays", ID]
_CASES: dict[str, tuple[list[list[str]], list[str]]] = {
    "run": ([], ["run", "--bundle", "plain", ID]),
    "run-mapped": ([], ["run", "--bundle", "mapped", ID]),
    "create": ([], [*_CREATED[:1], "--pid-file", "pid", *_CREATED[1:]]),
    "start": ([_CREATED], ["start", ID]),
    "exec": ([_RUNNING], ["exec", ID, "true"]),
    "exec-mapped": ([_MAPPED], ["exec", "--user", "7:8", ID, "true"]),
    "kill": ([_RUNNING], ["kill", "--all", ID, "KILL"]),
    "pause": ([_RUNNING], ["pause", ID]),
    "resume": ([_RUNNING, ["pause", ID]], ["resume", ID]),
    "update": ([_RUNNING], ["update", "--memory", "32m", "--pids-limit", "9", ID]),
    "delete": ([_RUNNING], ["delete", "--force", ID]),
    "state": ([_RUNNING], ["state", ID]),
    "list": ([_RUNNING], ["list"]),
    "ps": ([_RUNNING], ["ps", "--format", "json", ID]),
    "events": ([_RUNNING], ["events", "--stats", ID]),
    "features": ([], ["features"]),
}  # each: the commands before it, and the one whose calls are refused
_LOOKING = ("state", "list", "ps", "events", "update", "features")  # what these leave as it is


@pytest.mark.parametrize("case", _CASES)
def test_a_refused_call_is_one_line_and_leaves_nothing(machine: Machine, case: str) -> None:
    before, words = _CASES[case]
    machine.prepare(before)
    found = machine.sites(words)
    assert machine.clear() == ""
    assert found
    new = [site for site in found if _ALL or site not in machine.tried]
    machine.tried.update(new)
    wrong = []
    for site in new:
        for number in _NUMBERS if _ALL else _NUMBERS[:1]:
            if number == errno.ENOENT and _says_gone(site, words):
                continue
            machine.prepare(before)
            if problem := _problem(machine, words, site, number):
                wrong.append(f"{site} {errno.errorcode[number]}: {problem}")
            if words[0] not in _LOOKING and (left := machine.clear()):
                wrong.append(f"{site} {errno.errorcode[number]}: {left}")
    assert machine.clear() == ""
    assert not wrong, "\n".join(wrong)


def _says_gone(site: str, words: list[str]) -> bool:
    """Whether ENOENT is no refusal there: who is to remove what is said to be gone cannot know better."""
    is_state = site.startswith("/runc/state.py:") and site.endswith(" open")
    return site.endswith(" rmdir") or (words[0] == "delete" and is_state)


def _problem(machine: Machine, words: list[str], site: str, number: int) -> str:
    """What is wrong with how a command takes a refusal."""
    status, _, said = machine.runc(words, site=site, number=number)
    return "" if status == 0 else machine.wrong(words, status, said)


def _is_told(said: str, logged: list[str]) -> bool:
    """Whether an error is one line, and the same in the log."""
    lines = [line for line in said.splitlines() if not line.startswith("runc: warning: ")]
    if len(lines) != 1 or "internal error" in lines[0] or len(logged) > 1:
        return False
    return not logged or lines[0] == f"runc: {json.loads(logged[0])['msg']}"
