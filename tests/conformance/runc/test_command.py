"""The ``runc`` command, and the same bundle under Debian's runc."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.conformance.runc.conftest import Box
from toolkit.debian import Archive

pytestmark = pytest.mark.root
RUNTIME = Path(__file__).parents[3] / "runtime"
Runc = Callable[..., subprocess.CompletedProcess[str]]


def _call(
    command: Sequence[str], box: Box, words: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    """Run a runc; its output goes to files, which a container may hold longer than the command."""
    with open(box.files[0], "w+") as output, open(box.files[1], "w+") as error:
        done = subprocess.run(
            [*command, "--root", box.state_root, *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=error,
            cwd=box.bundle,
            env={**os.environ, "PYTHONPATH": str(RUNTIME)},
            timeout=60,
            check=False,
        )
    texts = [path.read_text() for path in box.files]
    return subprocess.CompletedProcess(done.args, done.returncode, *texts)


@pytest.fixture
def runc(box: Box) -> Runc:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return _call([sys.executable, "-m", "pinnace.cli.main", "runc"], box, words)

    return run


def _configure(box: Box, *args: str) -> None:
    box.set_args(*args)
    (box.bundle / "config.json").write_text(json.dumps(box.spec))


def test_a_life_by_hand(box: Box, runc: Runc) -> None:
    _configure(box, "sleep", "100")
    assert runc("create", "--pid-file", "pid", box.id).returncode == 0
    state = json.loads(runc("state", box.id).stdout)
    assert (state["status"], state["id"]) == ("created", box.id)
    assert state["pid"] == int((box.bundle / "pid").read_text())
    assert runc("start", box.id).returncode == 0
    assert runc("exec", box.id, "sh", "-c", "echo $$ $X; exit 4").returncode == 4
    assert runc("exec", "-e", "X=set", box.id, "sh", "-c", "echo $X").stdout == "set\n"
    assert runc("exec", "-u", "12:34", box.id, "id").stdout == "uid=12 gid=34\n"
    assert runc("ps", box.id).stdout.splitlines() == ["PID", str(state["pid"])]
    assert runc("list", "-q").stdout == f"{box.id}\n"
    row = runc("list").stdout.splitlines()[1].split()
    assert row[:3] == [box.id, str(state["pid"]), "running"]
    assert runc("pause", box.id).returncode == 0
    assert json.loads(runc("state", box.id).stdout)["status"] == "paused"
    assert runc("resume", box.id).returncode == 0
    refused = runc("delete", box.id)
    assert refused.returncode == 1
    assert "running" in refused.stderr
    assert runc("kill", box.id, "KILL").returncode == 0
    box.ended(state["pid"])
    assert json.loads(runc("state", box.id).stdout)["status"] == "stopped"
    assert runc("delete", box.id).returncode == 0
    gone = runc("state", box.id)
    assert (gone.returncode, gone.stderr.count("\n")) == (1, 1)


def test_run_gives_the_programs_status_and_deletes(box: Box, runc: Runc) -> None:
    _configure(box, "sh", "-c", "echo out; echo err >&2; exit 42")
    done = runc("run", box.id)
    assert (done.returncode, done.stdout, done.stderr) == (42, "out\n", "err\n")
    assert runc("list", "--format", "json").stdout == "[]\n"
    assert box.cgroups() == []


def test_errors_are_one_line_and_logged(box: Box, runc: Runc) -> None:
    _configure(box, "nosuch")
    done = runc("--log", "log.json", "--log-format", "json", "run", box.id)
    expected = (
        'unable to start container process: exec: "nosuch": executable file not found in $PATH'
    )
    assert (done.returncode, done.stderr) == (1, f"runc: {expected}\n")
    assert json.loads((box.bundle / "log.json").read_text())["msg"] == expected
    assert runc("list", "-q").stdout == ""


def test_spec_is_one_that_runs(box: Box, runc: Runc) -> None:
    assert runc("spec").returncode == 0
    path = box.bundle / "config.json"
    spec = json.loads(path.read_text())
    spec["process"] |= {"terminal": False, "args": ["hostname"], "env": ["PATH=/bin"]}
    path.write_text(json.dumps(spec))
    for name in ("proc", "sys", "dev", "run"):
        (box.root / name).mkdir()
    assert runc("run", box.id).stdout == "runc\n"
    assert runc("spec").returncode == 1


_PROBES = {
    "capabilities": "grep Cap /proc/self/status",
    "privileges": "grep -e NoNewPrivs -e Seccomp: -e SigIgn -e SigBlk /proc/self/status",
    "limits": "ulimit -n; ulimit -Hn; umask",
    "devices": "cd /dev; stat -c '%n %F %t:%T %a' null zero full random urandom tty",
    "links": "cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done",
    "mounts": "grep -v ' / ' /proc/mounts | grep -v -e '^devtmpfs' -e '/proc/' | cut -d' ' -f2-4 | cut -d, -f1-4",
    "masked": "wc -c < /proc/timer_list; ls /sys/firmware | wc -l",
    "identity": "id; pwd; echo $HOME $PATH; hostname",
    "root": "touch /x 2>&1; touch /dev/shm/x && echo shm",
}  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize("probe", sorted(_PROBES))
def test_a_container_sees_the_same_as_under_runc(box: Box, runc: Runc, probe: str) -> None:
    """Differential: a container must not be able to tell which runtime made it."""
    theirs = Archive("bookworm", "amd64").unpack(["runc", "libseccomp2"])
    program = next(theirs.rglob("sbin/runc"))
    library = next(theirs.rglob("libseccomp.so.2")).parent
    box.spec["hostname"] = "boat"
    box.spec["root"]["readonly"] = True
    for name in ("proc", "sys", "dev", "run"):
        (box.root / name).mkdir()
    _configure(box, "sh", "-c", _PROBES[probe])
    ours = runc("run", box.id)
    peer = _call(
        ["env", f"LD_LIBRARY_PATH={library}", str(program)], box, ["run", f"{box.id}-peer"]
    )
    assert peer.stderr == ""
    assert (ours.returncode, ours.stdout) == (peer.returncode, peer.stdout)
