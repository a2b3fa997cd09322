"""The C launcher against a keeper made of a few lines: what it sends, what it does with the answers."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import socket
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from toolkit.paths import RUNTIME

SOURCE = RUNTIME / "native" / "launch.c"
COMPILER = shutil.which("gcc") or shutil.which("cc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow"]
SANITIZERS = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

Script = Callable[["Session"], None]


@pytest.fixture(autouse=True)
def _keyboard_signals() -> Iterator[None]:
    """A run that a shell put into the background has these ignored, and the launcher would rightly keep that."""
    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGQUIT)}
    for number, handler in found.items():
        if handler is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in found.items():
        signal.signal(number, handler)


class Session:
    """The keeper's side of one conversation."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        first, self.fds, _, _ = socket.recv_fds(connection, 4, 8)
        self.request = self._body(first)

    def _body(self, head: bytes) -> dict[str, Any]:
        (size,) = struct.unpack("<I", head + self._exactly(4 - len(head)))
        document: dict[str, Any] = json.loads(self._exactly(size))
        return document

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.connection.recv(size - len(data))
            assert piece, "the launcher hung up"
            data += piece
        return data

    def next(self) -> dict[str, Any]:
        return self._body(self._exactly(4))

    def say(self, **document: Any) -> None:
        body = json.dumps(document).encode()
        self.connection.sendall(struct.pack("<I", len(body)) + body)


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release with the launcher, instrumented, and a cold path that says it was taken."""
    root = tmp_path_factory.mktemp("release")
    (root / "bin").mkdir()
    (root / "libexec").mkdir()
    assert COMPILER
    base = [COMPILER, "-std=gnu11", *WARNINGS, str(SOURCE), "-o", str(root / "bin/ctr")]
    if subprocess.run([*base, *SANITIZERS], capture_output=True, check=False).returncode:
        subprocess.run(base, check=True)  # no sanitizer libraries on this machine
    (root / "libexec/command.py").write_text("import sys\nprint('cold', sys.argv[1:])\n")
    return root


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Callable[[Script], Path]]:
    """Serve one session with a script; gives the socket's path."""
    threads = []
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "keeper.sock"))
    server.listen()
    server.settimeout(10)
    problems: list[BaseException] = []

    def start(script: Script) -> Path:
        def serve() -> None:
            try:
                with server.accept()[0] as connection:
                    session = Session(connection)
                    script(session)
                    for fd in session.fds:
                        os.close(fd)
            except BaseException as problem:
                problems.append(problem)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return tmp_path / "keeper.sock"

    yield start
    for thread in threads:
        thread.join()
    server.close()
    assert not problems, problems


def launch(release: Path, keeper: Path | str, *args: bytes | str, **options: Any) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
    env = {"PINNACE_KEEPER": str(keeper), "ASAN_OPTIONS": "detect_leaks=0", **options.pop("env", {})}  # fmt: skip
    return subprocess.run(
        [release / "bin/ctr", *args], env=env, capture_output=True, check=False, timeout=20, **options
    )  # fmt: skip


def test_hands_over_arguments_environment_and_descriptors(
    release: Path, keeper: Callable[[Script], Path], tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}

    def script(session: Session) -> None:
        seen.update(session.request)
        stdin, stdout, stderr, cwd, _ = session.fds
        seen["stdin"] = os.read(stdin, 100)
        seen["cwd"] = os.readlink(f"/proc/self/fd/{cwd}")
        os.write(stdout, b"out")
        os.write(stderr, b"err")
        session.say(pid=1)
        session.say(exit=42)

    path = keeper(script)
    done = launch(
        release, path, "run", b"caf\xc3\xa9", b"bad\xff\xc3", 'q"\\\n', cwd=tmp_path, input=b"typed",
        env={"EMPTY": "", "A": "x=y"}, umask=0o027,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (42, b"out", b"err")
    words = [os.fsencode(word) for word in seen["argv"]]
    assert words == [os.fsencode(release / "bin/ctr"), b"run", b"caf\xc3\xa9", b"bad\xff\xc3", b'q"\\\n']  # fmt: skip
    assert (seen["op"], seen["umask"], seen["cwd_fd"]) == ("cli", 0o027, True)
    assert dict(seen["env"])["A"] == "x=y"
    assert dict(seen["env"])["EMPTY"] == ""
    assert (seen["stdin"], seen["cwd"]) == (b"typed", str(tmp_path))
    assert seen["release"] == str(release)


def test_a_large_environment_arrives_whole(release: Path, keeper: Callable[[Script], Path]) -> None:
    big = {f"V{number}": "x" * 100_000 for number in range(12)}
    seen: dict[str, str] = {}

    def script(session: Session) -> None:
        seen.update(dict(session.request["env"]))
        session.say(pid=1)
        session.say(exit=0)

    assert launch(release, keeper(script), env=big).returncode == 0
    assert {name: seen[name] for name in big} == big


def test_dies_of_the_signal_its_command_died_of(
    release: Path, keeper: Callable[[Script], Path]
) -> None:
    def script(session: Session) -> None:
        session.say(pid=1)
        session.say(signal=int(signal.SIGTERM))

    assert launch(release, keeper(script)).returncode == -signal.SIGTERM


def test_passes_signals_on(release: Path, keeper: Callable[[Script], Path]) -> None:
    started, first = threading.Event(), threading.Event()
    heard: list[dict[str, Any]] = []

    def script(session: Session) -> None:
        session.say(pid=1)
        started.set()
        heard.append(session.next())
        first.set()
        heard.append(session.next())
        session.say(exit=3)

    env = {"PINNACE_KEEPER": str(keeper(script))}
    with subprocess.Popen([release / "bin/ctr"], env=env) as process:
        assert started.wait(10)
        try:
            process.send_signal(signal.SIGINT)
            assert first.wait(10)
            process.send_signal(signal.SIGUSR1)
            assert process.wait(10) == 3
        finally:
            process.kill()
    assert [each["signal"] for each in heard] == [signal.SIGINT, signal.SIGUSR1]
    assert {each["op"] for each in heard} == {"signal"}


def test_ctrl_z_stops_the_command_and_then_itself(
    release: Path, keeper: Callable[[Script], Path]
) -> None:
    started = threading.Event()
    heard: list[int] = []

    def script(session: Session) -> None:
        session.say(pid=1)
        started.set()
        heard.append(session.next()["signal"])
        heard.append(session.next()["signal"])
        session.say(exit=0)

    env = {"PINNACE_KEEPER": str(keeper(script))}
    process = subprocess.Popen([release / "bin/ctr"], env=env)
    assert started.wait(10)
    process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    assert process.wait(10) == 0
    assert heard == [signal.SIGSTOP, signal.SIGCONT]


@pytest.mark.parametrize("answer", ["nothing", "error", "garbage", "huge"])
def test_runs_cold_when_the_keeper_starts_nothing(
    release: Path, keeper: Callable[[Script], Path], answer: str
) -> None:
    def script(session: Session) -> None:
        if answer == "error":
            session.say(error="another release")
        elif answer == "garbage":
            session.connection.sendall(struct.pack("<I", 7) + b"\xff\0\xfe{{{{")
        elif answer == "huge":
            session.connection.sendall(struct.pack("<I", 0xFFFFFFF0) + b"x" * 100)

    done = launch(release, keeper(script), "version")
    assert (done.returncode, done.stdout) == (
        0,
        f"cold ['{release}/bin/ctr', 'version']\n".encode(),
    )


@pytest.mark.parametrize("keeper_path", ["", "/nonexistent/keeper.sock", "x" * 300])
def test_runs_cold_without_a_keeper(release: Path, keeper_path: str) -> None:
    assert launch(release, keeper_path, "a").stdout == f"cold ['{release}/bin/ctr', 'a']\n".encode()


def test_never_starts_a_command_twice(release: Path, keeper: Callable[[Script], Path]) -> None:
    def script(session: Session) -> None:
        session.say(pid=1)

    done = launch(release, keeper(script))
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"the keeper went away" in done.stderr
    assert done.stderr.count(b"\n") == 1


def _say_on(line: int, document: dict[str, Any], fds: Iterable[int] = ()) -> None:
    body = json.dumps(document).encode()
    with socket.socket(fileno=os.dup(line)) as own:
        socket.send_fds(own, [struct.pack("<I", len(body)) + body], list(fds))


def test_the_command_itself_tells_its_end(release: Path, keeper: Callable[[Script], Path]) -> None:
    over = threading.Event()

    def script(session: Session) -> None:
        session.say(pid=1)
        _say_on(session.fds[4], {"exit": 9})
        while session.fds:
            os.close(session.fds.pop())
        assert over.wait(10)  # the launcher does not wait for this end

    path = keeper(script)
    assert launch(release, path).returncode == 9
    over.set()


def test_the_command_has_itself_run_cold(release: Path, keeper: Callable[[Script], Path]) -> None:
    def script(session: Session) -> None:
        session.say(pid=1)
        _say_on(session.fds[4], {"cold": 1})

    assert launch(release, keeper(script), "word").stdout.startswith(b"cold")


def test_what_stays_is_the_launchers_child_and_has_what_it_was_sent(
    release: Path, keeper: Callable[[Script], Path], tmp_path: Path
) -> None:
    """Descriptors come under their numbers, also where those of the launcher would lie."""
    here, there = socket.socketpair()
    program, shown = os.open("/bin/sh", os.O_PATH), tmp_path / "3"
    shown.write_text('echo "$PPID $(env)" >&7; cat <&8 >&7')
    files = [os.open(shown, os.O_RDONLY), os.open(tmp_path / "told", os.O_WRONLY | os.O_CREAT)]
    (tmp_path / "typed").write_text("typed")
    files.append(os.open(tmp_path / "typed", os.O_RDONLY))
    told: dict[str, Any] = {}

    def script(session: Session) -> None:
        credentials = session.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        told["pid"] = struct.unpack("3i", credentials)[0]
        session.say(pid=1)
        # sh takes its first word, the number of the channel, for the name of a script.
        fds = [files[0], files[1], files[2], there.fileno(), program]
        frame = {"spawn": 1, "channel": 3, "steps": 9, "targets": [3, 7, 8, 9]}
        _say_on(session.fds[4], frame, fds)
        there.close()
        assert here.recv(1) == b""  # the child has ended
        _say_on(session.fds[4], {"exit": 0})

    done = launch(release, keeper(script), env={"SECRET": "x"}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = (tmp_path / "told").read_text()
    assert found.split()[0] == str(told["pid"])
    assert "SECRET" not in found
    assert found.endswith("typed")


@pytest.mark.parametrize(
    "frame",
    [
        {"spawn": 1, "channel": 3, "steps": 4, "targets": [3, 4]},  # descriptors are missing
        {"spawn": 1, "channel": 3, "steps": 4, "targets": [0]},
        {"spawn": 1, "targets": []},
        {"spawn": 1, "channel": 3, "steps": 4, "targets": list(range(3, 300))},
    ],
)
def test_nonsense_starts_nothing(
    release: Path, keeper: Callable[[Script], Path], frame: dict[str, Any]
) -> None:
    def script(session: Session) -> None:
        session.say(pid=1)
        _say_on(session.fds[4], frame, [0])
        _say_on(session.fds[4], {"exit": 3})

    assert launch(release, keeper(script)).returncode == 3


def test_answers_in_pieces(release: Path, keeper: Callable[[Script], Path]) -> None:
    import time

    def script(session: Session) -> None:
        for byte in struct.pack("<I", 10) + b'{"pid": 7}' + struct.pack("<I", 11) + b'{"exit": 9}':
            session.connection.sendall(bytes([byte]))
            time.sleep(0.001)

    assert launch(release, keeper(script)).returncode == 9


def test_closed_descriptors_are_not_taken_for_its_own(
    release: Path, keeper: Callable[[Script], Path]
) -> None:
    def script(session: Session) -> None:
        for fd in session.fds[:3]:
            assert os.readlink(f"/proc/self/fd/{fd}") == "/dev/null"
        session.say(pid=1)
        session.say(exit=0)

    path = keeper(script)
    shell = f"exec '{release}/bin/ctr' <&- >&- 2>&-"
    done = subprocess.run(["sh", "-c", shell], env={"PINNACE_KEEPER": str(path)}, check=False)
    assert done.returncode == 0


def test_a_command_of_another_session_reads_the_terminal(
    release: Path, keeper: Callable[[Script], Path]
) -> None:
    """The keeper's child has the terminal only as descriptors; the kernel lets it read all the same."""

    def script(session: Session) -> None:
        stdin, stdout, stderr, *_ = session.fds
        with subprocess.Popen(
            ["sh", "-c", "read -r line; echo got $line; stty raw; exit 6"],
            stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True,
        ) as process:  # fmt: skip
            session.say(pid=process.pid)
            status = process.wait()
        assert status == 6
        session.say(signal=int(signal.SIGKILL))

    path = keeper(script)
    pid, fd = pty.fork()
    if pid == 0:
        program = str(release / "bin/ctr")
        os.execve(program, [program], {"PINNACE_KEEPER": str(path), "PATH": os.environ["PATH"]})
    os.write(fd, b"hello\n")
    seen = b""
    while b"got hello" not in seen:
        seen += os.read(fd, 1000)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    # The command died with the terminal raw: the launcher has put it back.
    assert termios.tcgetattr(fd)[3] & termios.ICANON
    os.close(fd)


def test_in_the_background_of_a_terminal_python_runs_directly(
    release: Path, tmp_path: Path
) -> None:
    """There the kernel must be able to stop a command that reads what is typed to the shell."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "keeper.sock"))
    listener.listen()
    pid, fd = pty.fork()
    if pid == 0:
        job = f"set -m; PINNACE_KEEPER={tmp_path}/keeper.sock {release}/bin/ctr version & wait"
        os.execv("/bin/sh", ["sh", "-c", job])
    seen = b""
    while b"cold" not in seen:
        seen += os.read(fd, 1000)
    os.waitpid(pid, 0)
    os.close(fd)
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()
    listener.close()
