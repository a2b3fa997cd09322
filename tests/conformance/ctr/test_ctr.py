"""Our ctr driving Debian's containerd and our daemon: what a user types and sees, as Debian's ctr shows it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

from tests.conformance.ctr.daemons import IMAGE, Daemon, environment

pytestmark = [pytest.mark.root, pytest.mark.peer]


@pytest.mark.parametrize(
    ("script", "status"), [("true", 0), ("exit 42", 42), ("kill -9 $$; sleep 9", 137)]
)
def test_run_exits_with_the_status_of_its_process(daemon: Daemon, script: str, status: int) -> None:
    # Process 1 is not killed by its own signals: a child is.
    done = daemon.ctr("run", "--rm", IMAGE, "status", "sh", "-c", f"sh -c '{script}'; exit $?")
    assert done.returncode == status, done.stderr
    assert daemon.ctr("container", "ls", "-q").stdout == ""


def test_streams_are_kept_apart_and_nothing_is_lost(daemon: Daemon) -> None:
    script = "cat; echo problem >&2"
    sent = "x" * 3_000_000
    done = daemon.ctr("run", "--rm", IMAGE, "streams", "sh", "-c", script, input=sent)
    assert (done.returncode, done.stdout, done.stderr) == (0, sent, "problem\n")


def test_tutorial_a_and_b(daemon: Daemon) -> None:
    ctr = daemon.ctr
    assert IMAGE in ctr("image", "ls").stdout
    assert ctr("image", "ls", "-q").stdout == f"{IMAGE}\n"
    assert ctr("image", "tag", IMAGE, "registry.lab/library/web:1").returncode == 0
    assert ctr("container", "create", "registry.lab/library/web:1", "webdemo").returncode == 0
    listed = ctr("container", "list").stdout
    assert re.search(r"^webdemo +registry.lab/library/web:1 +io.containerd.runc.v2 +$", listed, re.M)  # fmt: skip
    removed = ctr("image", "remove", "registry.lab/library/web:1")
    assert removed.stdout == "registry.lab/library/web:1\n"
    assert ctr("image", "ls", "-q").stdout == f"{IMAGE}\n"
    assert "webdemo" in ctr("container", "list").stdout
    assert ctr("t", "start", "-d", "webdemo").returncode == 0
    assert re.search(r"^webdemo +\d+ +RUNNING$", ctr("t", "ls").stdout, re.M)
    assert re.search(r"^\d+ +-$", ctr("t", "ps", "webdemo").stdout, re.M)
    refused = ctr("container", "delete", "webdemo")
    assert refused.returncode == 1
    assert "cannot delete a non stopped container" in refused.stderr
    assert ctr("t", "kill", "-s", "KILL", "webdemo").returncode == 0
    wait_until(lambda: "STOPPED" in ctr("t", "ls").stdout)
    assert ctr("t", "rm", "webdemo").returncode == 137
    assert ctr("container", "delete", "webdemo").returncode == 0
    assert ctr("container", "ls", "-q").stdout == ""


def wait_until(condition, seconds: float = 10) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def sleeper(daemon: Daemon):  # type: ignore[no-untyped-def]
    """A container that runs until the test is over."""
    assert daemon.ctr("run", "-d", IMAGE, "sleeper", "sleep", "600").returncode == 0
    yield "sleeper"
    daemon.ctr("task", "rm", "-f", "sleeper")
    assert daemon.ctr("container", "rm", "sleeper").returncode == 0


def test_exec(daemon: Daemon, sleeper: str) -> None:
    done = daemon.ctr(
        "task", "exec", "--exec-id", "e1", "--user", "web", "--cwd", "/tmp", "--env", "A=1",
        sleeper, "sh", "-c", "id; pwd; echo $A; exit 7",
    )  # fmt: skip
    assert done.returncode == 7
    assert done.stdout == "uid=33(web) gid=44(web) groups=44(web),55(extra)\n/tmp\n1\n"


def test_pause_metrics_resume(daemon: Daemon, sleeper: str) -> None:
    ctr = daemon.ctr
    assert ctr("task", "pause", sleeper).returncode == 0
    assert "PAUSED" in ctr("task", "ls").stdout
    assert ctr("task", "resume", sleeper).returncode == 0
    assert "RUNNING" in ctr("task", "ls").stdout
    metrics = json.loads(ctr("task", "metrics", "--format", "json", sleeper).stdout)
    assert metrics["pids"]["current"] == 1


def test_signals_reach_the_process(daemon: Daemon) -> None:
    script = "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.1; done"
    words = daemon.arena.command(daemon.words("run", "--rm", IMAGE, "signals", "sh", "-c", script))
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, env=environment(), start_new_session=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline() == "caught\n"
    # The signal reached nsenter, too, which does not wait for what it started.
    wait_until(lambda: daemon.ctr("container", "ls", "-q").stdout == "")


class Terminal:
    """A command on a pseudoterminal of its own."""

    def __init__(self, words: list[str]) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(words[0], words, environment())
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def interrupt(self) -> None:
        """Type Ctrl-C until a prompt comes: the container's terminal makes a signal of it for whoever
        is in its foreground, which may for a moment still be the shell."""
        deadline = time.monotonic() + 15
        while not re.search(r"\^C[\s\S]*/ # ", self.seen):
            assert time.monotonic() < deadline, f"Ctrl-C did nothing: {self.seen!r}"
            self.type("\x03")
            while select.select([self.fd], [], [], 0.5)[0]:
                self.seen += os.read(self.fd, 4096).decode()

    def expect(self, pattern: str, seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.seen):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.seen!r}"
            if select.select([self.fd], [], [], 0.2)[0]:
                self.seen += os.read(self.fd, 4096).decode()

    def status(self) -> int:
        try:
            while chunk := os.read(self.fd, 4096):
                self.seen += chunk.decode()
        except OSError:
            pass  # the other side is gone
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return code


def test_a_terminal(daemon: Daemon) -> None:
    words = daemon.arena.command(daemon.words("run", "-t", "--rm", IMAGE, "term", "sh"))
    terminal = Terminal(words)
    termios.tcsetwinsize(terminal.fd, (33, 101))
    before = termios.tcgetattr(terminal.fd)
    terminal.expect(r"/ # ")
    terminal.type("stty size; tty; echo $TERM\n")
    terminal.expect(r"33 101\r\n/dev/pts/0\r\nxterm")
    termios.tcsetwinsize(terminal.fd, (20, 60))
    os.kill(terminal.pid, signal.SIGWINCH)
    terminal.type("sleep 0.5; stty size\n")
    terminal.expect(r"20 60")
    terminal.type("echo now; sleep 100\n")
    terminal.expect(r"\nnow\r\n")
    terminal.interrupt()
    terminal.type("echo still $((40+2))\n")
    terminal.expect(r"still 42")
    terminal.type("exit 9\n")
    terminal.expect(r"exit 9")
    while_raw = termios.tcgetattr(terminal.fd)
    assert not while_raw[3] & termios.ICANON or while_raw == before
    assert terminal.status() == 9


def test_terminal_without_one_is_refused_before_anything_is_made(daemon: Daemon) -> None:
    done = daemon.ctr("run", "-t", "--rm", IMAGE, "noterm", "sh", stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "standard input is not one" in done.stderr
    assert daemon.ctr("container", "ls", "-q").stdout == ""


def test_a_command_that_does_not_exist_leaves_nothing(daemon: Daemon) -> None:
    done = daemon.ctr("run", "--rm", IMAGE, "missing", "/no/such/program")
    assert done.returncode == 1
    assert "/no/such/program" in done.stderr
    assert done.stderr.count("\n") == 1
    assert daemon.ctr("container", "ls", "-q").stdout == ""
    assert daemon.ctr("task", "ls", "-q").stdout == ""
    snapshots = daemon.ctr("snapshot", "ls").stdout
    assert "missing" not in snapshots


def test_a_detached_container_is_attached_to(daemon: Daemon) -> None:
    script = "while read line; do echo got $line; [ $line = end ] && exit 4; done"
    assert daemon.ctr("run", "-d", IMAGE, "attached", "sh", "-c", script).returncode == 0
    done = daemon.ctr("task", "attach", "attached", input="one\nend\n")
    assert (done.returncode, done.stdout) == (4, "got one\ngot end\n")
    assert daemon.ctr("container", "rm", "attached").returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        "image ls", "image ls -q", "image check", "container ls", "container ls -q", "task ls",
        "task ls -q", "namespace ls -q", "content ls -q", "snapshot ls", "leases ls", "plugins ls",
        "container info nope", "task kill nope", "task ps nope", "snapshot info nope",
        "image tag nope registry.lab/x:1",
    ],
)  # fmt: skip
def test_prints_what_debians_ctr_prints(daemon: Daemon, words: str) -> None:
    ours, theirs = daemon.ctr(*words.split()), daemon.theirs(*words.split())
    assert (ours.stdout, ours.returncode) == (theirs.stdout, theirs.returncode)
    assert ours.stderr == theirs.stderr


def test_the_container_is_the_one_debians_ctr_makes(daemon: Daemon) -> None:
    """Both make a container; only what is known to have changed since Debian's release differs."""
    flags = ("--env", "B=2", "--cwd", "/tmp", "--memory-limit", "8388608", "--read-only")
    specs = []
    for run, name in ((daemon.ctr, "ours"), (daemon.theirs, "theirs")):
        assert run("container", "create", *flags, IMAGE, name, "ls", "-l").returncode == 0
        shown = json.loads(daemon.theirs("container", "info", name).stdout)
        assert run("container", "rm", name).returncode == 0
        spec = shown["Spec"]
        spec["linux"]["cgroupsPath"] = spec["linux"]["cgroupsPath"].replace(name, "ID")
        spec["linux"]["maskedPaths"].remove("/sys/devices/virtual/powercap") if name == "ours" else None  # fmt: skip
        spec["linux"]["resources"]["devices"].sort(key=lambda rule: json.dumps(rule))
        del spec["ociVersion"]
        specs.append((shown["Labels"], shown["Image"], shown["Snapshotter"], spec))
    assert specs[0] == specs[1]


def test_limits_and_files_from_flags(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "hello").write_text("from the host\n")
    for directory in (tmp_path, *list(tmp_path.parents)[:-2]):
        directory.chmod(0o755)  # pytest's are for root alone, and the process is not root
    done = daemon.ctr(
        "run", "--rm", "--hostname", "box", "--user", "web", "--cap-drop", "ALL",
        "--mount", f"type=bind,src={tmp_path},dst=/mnt,options=rbind:ro",
        IMAGE, "flags", "sh", "-c",
        "hostname; id -u; cat /mnt/hello; touch /mnt/x 2>/dev/null || echo; grep CapBnd /proc/1/status",
    )  # fmt: skip
    assert done.stdout.split() == ["box", "33", "from", "the", "host", "CapBnd:", "0" * 16]
