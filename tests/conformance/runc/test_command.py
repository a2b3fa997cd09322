"""The ``runc`` command, and the same bundle under Debian's runc."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.conformance.runc.conftest import Box

pytestmark = pytest.mark.root
Runc = Callable[..., subprocess.CompletedProcess[str]]


def _call(
    command: Sequence[str], box: Box, words: Sequence[str], **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a runc; its output goes to files, which a container may hold longer than the command."""
    with open(box.files[0], "w+") as output, open(box.files[1], "w+") as error:
        done = subprocess.run(
            [*command, "--root", box.state_root, *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=error,
            cwd=box.bundle,
            env={**os.environ, **environment},
            timeout=60,
            check=False,
        )
    texts = [path.read_text() for path in box.files]
    return subprocess.CompletedProcess(done.args, done.returncode, *texts)


@pytest.fixture(params=["cold", "warm"])
def runc(request: pytest.FixtureRequest, box: Box, release: Path) -> Runc:
    """Our ``runc`` both ways: Python started by the launcher, and a fork of the warm keeper."""
    keeper = str(request.getfixturevalue("keeper")) if request.param == "warm" else ""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return _call([str(release / "bin/runc")], box, words, PINNACE_KEEPER=keeper)

    return run


def _configure(box: Box, *args: str) -> None:
    box.set_args(*args)
    (box.bundle / "config.json").write_text(json.dumps(box.spec))


@pytest.mark.parametrize("way", ["cold", "warm"])
def test_resource_limits_and_oom_score_are_the_callers(
    box: Box, release: Path, request: pytest.FixtureRequest, way: str
) -> None:
    keeper = str(request.getfixturevalue("keeper")) if way == "warm" else ""
    _configure(box, "cat", "/proc/self/limits", "/proc/self/oom_score_adj")
    del box.spec["process"]["rlimits"]
    (box.bundle / "config.json").write_text(json.dumps(box.spec))
    for _ in range(2):  # the second is a spare's, if there is one already
        limits = "echo 321 > /proc/self/oom_score_adj; exec prlimit --nofile=321:654 --core=7: --msgqueue=1:4096"
        command = ["sh", "-c", f'{limits} "$0" "$@"', str(release / "bin/runc")]
        done = _call(command, box, ["run", box.id], PINNACE_KEEPER=keeper)
        found = {line[:26].strip(): line[26:].split()[:2] for line in done.stdout.splitlines()}
        assert found["Max open files"] == ["321", "654"]
        assert found["Max core file size"][0] == "7"
        assert found["Max msgqueue size"] == ["1", "4096"]
        assert done.stdout.splitlines()[-1] == "321"
        time.sleep(0.3)


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
    assert json.loads(runc("ps", "--format", "json", box.id).stdout) == [state["pid"]]
    assert runc("ps", box.id).stdout.splitlines()[1].split()[1] == str(state["pid"])
    chosen = runc("ps", box.id, "-e", "-o", "pid,args").stdout.splitlines()[1:]
    assert [line.split() for line in chosen] == [[str(state["pid"]), "sleep", "100"]]
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


def test_a_failed_exec_has_a_status_of_its_own(box: Box, runc: Runc) -> None:
    _configure(box, "sleep", "100")
    assert runc("run", "--detach", box.id).returncode == 0
    assert runc("exec", box.id, "false").returncode == 1
    assert runc("exec", box.id, "nosuch").returncode == 255
    assert runc("exec", "nosuch", "true").returncode == 255


@pytest.mark.parametrize("init", ["native", "python"])
def test_a_container_left_behind_is_a_child_of_the_callers_subreaper(
    box: Box, runc: Runc, init: str
) -> None:
    """conmon and containerd's shim wait for it: the keeper must not stand between."""
    if init == "python":  # the native one leaves hooks to it
        box.spec["hooks"] = {"createContainer": [{"path": "/bin/true"}]}
    _configure(box, "sh", "-c", "exit 7")
    assert runc("create", "--pid-file", "pid", box.id).returncode == 0
    assert runc("start", box.id).returncode == 0
    assert box.ended(int((box.bundle / "pid").read_text())).status == 7
    _configure(box, "sleep", "100")
    assert runc("delete", box.id).returncode == 0
    assert runc("run", "--detach", "--pid-file", "pid", box.id).returncode == 0
    done = runc("exec", "--detach", "--pid-file", "pid", box.id, "sh", "-c", "exit 9")
    assert done.returncode == 0
    assert box.ended(int((box.bundle / "pid").read_text())).status == 9


def test_a_command_typed_in_other_namespaces_belongs_there(
    box: Box, release: Path, keeper: Path
) -> None:
    box.linux["namespaces"] = [each for each in box.linux["namespaces"] if each["type"] != "uts"]
    box.spec.pop("hostname", None)
    _configure(box, "hostname")
    script = 'hostname elsewhere; exec "$0" "$@"'
    words = ["unshare", "--uts", "sh", "-c", script, str(release / "bin/runc")]
    done = _call(words, box, ["run", box.id], PINNACE_KEEPER=str(keeper))
    assert done.stdout == "elsewhere\n", done.stderr


def test_descriptors_are_preserved(box: Box, release: Path, keeper: Path) -> None:
    """With a keeper as well, which never sees them: such a command starts cold."""
    _configure(box, "sh", "-c", "cat <&3")
    (box.bundle / "passed").write_text("passed on\n")
    with_descriptor = ["sh", "-c", 'exec "$0" "$@" 3<passed', str(release / "bin/runc")]
    words = ["run", "--preserve-fds", "1", box.id]
    assert _call(with_descriptor, box, words, PINNACE_KEEPER=str(keeper)).stdout == "passed on\n"
    words[2] = "2"
    assert "descriptor 4 is not open" in _call(with_descriptor, box, words).stderr


def test_the_pidfd_socket_gets_the_process(box: Box, runc: Runc, tmp_path: Path) -> None:
    _configure(box, "sleep", "100")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "pidfd"))
        listener.listen()
        made = runc("create", "--pidfd-socket", str(tmp_path / "pidfd"), box.id)
        assert made.returncode == 0
        connection, _ = listener.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 100, 1)
    state = json.loads(runc("state", box.id).stdout)
    try:
        lines = Path(f"/proc/self/fdinfo/{fds[0]}").read_text().splitlines()
    finally:
        os.close(fds[0])
    assert f"Pid:\t{state['pid']}" in lines


def test_the_console_socket_gets_the_terminal(box: Box, runc: Runc, tmp_path: Path) -> None:
    _configure(box, "sh", "-c", "tty; stty size")
    box.spec["process"] |= {"terminal": True, "consoleSize": {"width": 91, "height": 17}}
    (box.bundle / "config.json").write_text(json.dumps(box.spec))
    assert "console-socket" in runc("create", box.id).stderr
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        made = runc("create", "--console-socket", str(tmp_path / "console"), box.id)
        assert (made.returncode, made.stderr) == (0, "")
        connection, _ = listener.accept()
        with connection:
            name, fds, _, _ = socket.recv_fds(connection, 100, 1)
    assert name == b"/dev/ptmx"
    assert runc("start", box.id).returncode == 0
    shown = b""
    with contextlib.suppress(OSError), os.fdopen(fds[0], "rb", buffering=0) as console:
        while data := console.read(4096):
            shown += data
    assert shown.decode().split() == ["/dev/pts/0", "17", "91"]


def test_another_configuration_than_the_bundles(box: Box, runc: Runc) -> None:
    _configure(box, "echo", "the other")
    (box.bundle / "config.json").rename(box.bundle / "other.json")
    assert runc("run", "--config", "other.json", box.id).stdout == "the other\n"


def test_a_root_that_cannot_be_pivoted_is_moved(box: Box, runc: Runc) -> None:
    _configure(box, "sh", "-c", "ls /; touch /x && echo made")
    done = runc("run", "--no-pivot", box.id)
    assert (done.returncode, done.stderr) == (0, "")
    assert "made" in done.stdout
    assert (box.root / "x").exists()


def test_debug_says_what_is_done(box: Box, runc: Runc) -> None:
    assert 'level=debug msg="runc --root' in runc("--debug", "state", "nosuch").stderr
    runc("--debug", "--log", "log", "list")
    assert "list" in (box.bundle / "log").read_text()


@pytest.mark.parametrize("words", [["--cgroup-manager", "x"], ["--rootless", "maybe"]])
def test_wrong_values_are_errors(box: Box, runc: Runc, words: list[str]) -> None:
    _configure(box, "true")
    assert runc(*words, "run", box.id).returncode == 1
