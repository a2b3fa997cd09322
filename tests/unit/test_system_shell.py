"""Commands over a serial console: what is typed comes back, kernel messages come between."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from toolkit.boards.system.shell import Shell, settle
from toolkit.errors import PinnaceError

Console = Callable[[str], str]


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Callable[[Console], Path]]:
    """Makes a board's console: boots, logs in, echoes, and answers commands with what a function says."""
    server = socket.socket(socket.AF_UNIX)
    threads = []

    def serve(answer: Console) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"[ 0.0] Booting\r\nraspberrypi login: pi (automatic login)\r\n")
            connection.sendall(b"\x1b[?2004hpi@sys-armv6l:~$ ")
            lines = connection.makefile("r")
            for line in lines:
                mark = "".join(re.findall(r"a=(\w+); echo \$\{a\}(\w+)", line)[0])
                connection.sendall(line.replace("\n", "\r\n").encode())
                text = answer(line).replace("\n", "\r\n")
                connection.sendall(f"{mark}\r\n[ 9.1] usb 1-1\r\n{text}{mark}\r\n$ ".encode())

    def make(answer: Console) -> Path:
        server.bind(str(tmp_path / "serial"))
        server.listen(1)
        threads.append(threading.Thread(target=serve, args=(answer,)))
        threads[0].start()
        return tmp_path / "serial"

    yield make
    server.close()
    for thread in threads:
        thread.join(10)


def test_a_command_gives_what_it_prints(console: Callable[[Console], Path]) -> None:
    path = console(lambda line: "two\nlines\n")
    with Shell(path) as shell:
        shell.wait_for_prompt(5)
        assert shell.run("printf 'two\\nlines\\n'", 5) == "[ 9.1] usb 1-1\ntwo\nlines"


def test_a_silent_board_is_an_error_after_the_time_limit(
    console: Callable[[Console], Path],
) -> None:
    with Shell(console(lambda line: "")) as shell:
        shell.wait_for_prompt(5)
        with pytest.raises(PinnaceError, match="did not answer within 0 s"):
            shell.wait_for_prompt(0.01)


def test_a_board_that_starts_with_failures_names_them(console: Callable[[Console], Path]) -> None:
    def answer(line: str) -> str:
        return "degraded\n" if "is-system-running" in line else "ssh.service failed\n"

    with pytest.raises(PinnaceError, match=r"(?s)degraded.*ssh\.service failed"):
        settle(console(answer), 5)
