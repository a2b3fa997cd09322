"""One SSH connection to one board, for commands and for the agent's conversation.

Every failure to connect becomes :class:`HostUnreachable` with its reason; every wait has a limit.
"""

from __future__ import annotations

import shlex
import socket
import time
from dataclasses import dataclass
from typing import Any

import fabric
import paramiko
from paramiko.pkey import UnknownKeyType

from toolkit.connection.channel import Process
from toolkit.connection.hostkeys import KnownHosts, fingerprint
from toolkit.connection.sudo import SudoPassword
from toolkit.errors import HostUnreachable
from toolkit.inventory.settings import Target

CONNECT_SECONDS = 15.0
_KEEPALIVE_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Result:
    """What a command on a board did."""

    status: int
    stdout: bytes
    stderr: bytes


class Connection:
    """A connection that is opened on first use; a context manager closes it."""

    def __init__(
        self,
        target: Target,
        known: KnownHosts,
        password: SudoPassword,
        *,
        timeout: float = CONNECT_SECONDS,
    ) -> None:
        self.target = target
        self._known = known
        self._password = password
        self._timeout = timeout
        self._fabric: Any = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Connect; raises :class:`HostUnreachable`."""
        if self._fabric is not None:
            return
        made = self._build()
        try:
            made.open()
        except HostUnreachable:
            made.close()
            raise
        except (paramiko.SSHException, OSError, EOFError, ValueError) as problem:
            made.close()
            raise unreachable(self.target.name, made.host, problem) from problem
        made.transport.set_keepalive(_KEEPALIVE_SECONDS)
        self._fabric = made

    def close(self) -> None:
        if self._fabric is not None:
            self._fabric.close()
            self._fabric = None

    def run(self, *argv: str, sudo: bool = False, timeout: float = 60, stdin: bytes = b"") -> Result:  # fmt: skip
        """Run a program and wait for it; raises :class:`HostUnreachable` when the connection ends."""
        return self.shell(shlex.join(argv), sudo=sudo, timeout=timeout, stdin=stdin)

    def shell(self, command: str, *, sudo: bool = False, timeout: float = 60, stdin: bytes = b"") -> Result:  # fmt: skip
        """Run a shell command and wait for it."""
        with self.start(command, sudo=sudo, timeout=timeout) as process:
            process.send(stdin)
            process.end_input()
            stdout = process.read_all()
            return Result(process.wait(), stdout, process.stderr())

    def start(self, command: str, *, sudo: bool = False, timeout: float = 60) -> Process:
        """Start a shell command to converse with; with ``sudo`` as root.

        ``timeout`` (seconds) is how long it may be silent.
        """
        self.open()
        root = sudo and self._fabric.user != "root"
        try:
            channel = self._fabric.transport.open_session(timeout=self._timeout)
        except (paramiko.SSHException, OSError, EOFError) as problem:
            raise unreachable(self.target.name, self._fabric.host, problem) from problem
        return Process(channel, self.target.name, command, self._password if root else None, timeout)  # fmt: skip

    def _build(self) -> Any:
        """A fabric connection, strict about host keys at every hop."""
        gateway = None
        for hop in self.target.jump:
            gateway = self._fabric_connection(hop, gateway=gateway)
        target = self.target
        options: dict[str, Any] = {"user": target.user} if target.user else {}
        if target.port:
            options["port"] = target.port
        made = self._fabric_connection(target.address or target.name, gateway=gateway, **options)
        # fabric makes hops named in ~/.ssh/config itself, and takes any host key for them.
        hop = made.gateway
        while isinstance(hop, fabric.Connection):
            self._known.load(hop.client)
            hop = hop.gateway
        return made

    def _fabric_connection(self, host: str, *, gateway: Any, **options: Any) -> Any:
        keywords: dict[str, Any] = {
            "banner_timeout": self._timeout,
            "auth_timeout": self._timeout,
            "channel_timeout": self._timeout,
        }
        if self.target.key_file:
            # A key that is named is the one that is meant. (Loaded here: paramiko, given a file name,
            # tries one key type after the other and tells of the last one's failure.)
            keywords["pkey"] = _private_key(self.target)
            keywords["look_for_keys"] = keywords["allow_agent"] = False
        if gateway is not None:
            options["gateway"] = gateway
        made = fabric.Connection(
            host, connect_timeout=self._timeout, connect_kwargs=keywords, **options
        )
        self._known.load(made.client)
        return made


def _private_key(target: Target) -> paramiko.PKey:
    assert target.key_file is not None
    try:
        return paramiko.PKey.from_path(target.key_file)
    except (TypeError, paramiko.PasswordRequiredException):
        # Encrypted: the agent has it, or nobody.
        raise HostUnreachable(f"{target.name}: the private key {target.key_file} has a passphrase", hint="ssh-add it and leave ansible_ssh_private_key_file out") from None  # fmt: skip
    except (OSError, ValueError, paramiko.SSHException, UnknownKeyType) as problem:
        raise HostUnreachable(f"{target.name}: the private key {target.key_file} cannot be read: {problem}") from problem  # fmt: skip


def unreachable(name: str, address: str, problem: BaseException) -> HostUnreachable:
    """The reason in one sentence."""
    where = name if name == address else f"{name} ({address})"
    if isinstance(problem, paramiko.BadHostKeyException):
        return HostUnreachable(
            f"the host key of {where} has changed: known is {fingerprint(problem.expected_key)}, "
            f"offered is {fingerprint(problem.key)}",
            hint="if the board was installed anew, remove the old key with "
            f"`ssh-keygen -R {problem.hostname}` (-f for the toolkit's own known_hosts); else somebody is in between",
        )
    if isinstance(problem, paramiko.PasswordRequiredException):
        return HostUnreachable(
            f"{where}: the private key has a passphrase", hint="load it: ssh-add"
        )
    if isinstance(problem, paramiko.AuthenticationException):
        return HostUnreachable(f"{where}: the board does not accept the user and key", hint="check ansible_user and ansible_ssh_private_key_file")  # fmt: skip
    if isinstance(problem, socket.gaierror):
        return HostUnreachable(f"{where}: the name cannot be resolved", hint="check ansible_host")
    if isinstance(problem, TimeoutError):
        return HostUnreachable(f"{where}: no answer in time", hint="is the board on and connected?")
    if isinstance(problem, paramiko.ssh_exception.NoValidConnectionsError):
        first = next(iter(problem.errors.values()))
        return HostUnreachable(f"{where}: {getattr(first, 'strerror', None) or first}")
    text = str(problem) or type(problem).__name__
    return HostUnreachable(f"{where}: {text}")


def wait_until_reachable(make: Any, *, seconds: float) -> Connection:
    """Try to connect until it works; raises the last :class:`HostUnreachable` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        connection: Connection = make()
        try:
            connection.open()
            return connection
        except HostUnreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
