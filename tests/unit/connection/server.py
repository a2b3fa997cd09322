"""A small SSH server over paramiko: a board's sshd and sudo, without a board or root."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import paramiko

SUDO = """#!/bin/sh
# Asks as sudo does: the prompt on standard error, three tries, then gives up.
shift; prompt=$2; shift 2
[ -z "{password}" ] && exec "$@"
for try in 1 2 3; do
    printf '%s' "$prompt" >&2
    read -r answer || exit 1
    [ "$answer" = "{password}" ] && exec "$@"
    echo 'Sorry, try again.' >&2
done
exit 1
"""


@dataclass
class Sshd:
    """A running server: ``port`` on 127.0.0.1, its host key, the directory that commands find first."""

    port: int
    host_key: paramiko.PKey
    bin: Path
    accepted: bytes
    received: list[str] = field(default_factory=list)
    silent: bool = False

    def line(self) -> str:
        """The known_hosts line."""
        return f"[127.0.0.1]:{self.port} {self.host_key.get_name()} {self.host_key.get_base64()}"


class _Session(paramiko.ServerInterface):
    def __init__(self, sshd: Sshd) -> None:
        self._sshd = sshd

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        good = username == "pi" and key.asbytes() == self._sshd.accepted
        return paramiko.common.AUTH_SUCCESSFUL if good else paramiko.common.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._sshd.received.append(command.decode())
        if not self._sshd.silent:
            threading.Thread(
                target=_execute, args=(self._sshd, channel, command), daemon=True
            ).start()
        return True


def _execute(sshd: Sshd, channel: paramiko.Channel, command: bytes) -> None:
    process = subprocess.Popen(
        ["/bin/sh", "-c", command.decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": f"{sshd.bin}:/usr/bin:/bin"},
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    stdin = process.stdin

    def feed() -> None:
        while data := channel.recv(65536):
            try:
                stdin.write(data)
                stdin.flush()
            except BrokenPipeError:
                return
        stdin.close()

    def copy(read: object, send: object) -> None:
        while data := read(65536):  # type: ignore[operator]
            send(data)  # type: ignore[operator]

    threading.Thread(target=feed, daemon=True).start()
    pairs = (
        (process.stdout.read1, channel.sendall),
        (process.stderr.read1, channel.sendall_stderr),
    )  # type: ignore[attr-defined]
    copies = [threading.Thread(target=copy, args=pair) for pair in pairs]
    for thread in copies:
        thread.start()
    for thread in copies:
        thread.join()
    status = process.wait()
    # A client that has what it wanted may be gone.
    with suppress(EOFError, OSError):
        channel.send_exit_status(status)
        channel.close()


@contextmanager
def sshd(directory: Path, accepted: paramiko.PKey, *, sudo_password: str = "") -> Iterator[Sshd]:
    """Run a server that lets the user ``pi`` in with the key ``accepted``."""
    programs = directory / "bin"
    programs.mkdir()
    (programs / "sudo").write_text(SUDO.format(password=sudo_password))
    (programs / "sudo").chmod(0o755)
    listening = socket.create_server(("127.0.0.1", 0))
    host_key = paramiko.ECDSAKey.generate()
    running = Sshd(listening.getsockname()[1], host_key, programs, accepted.asbytes())
    transports: list[paramiko.Transport] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(running.host_key)
            transports.append(transport)
            try:
                transport.start_server(server=_Session(running))
            except (paramiko.SSHException, EOFError):
                transport.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for transport in transports:
            transport.close()
        thread.join(5)
