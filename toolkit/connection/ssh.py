"""One SSH connection to one board, for commands and for the agent's conversation.

Every failure to connect becomes :class:`HostUnreachable` with its reason; every wait has a limit.
"""

from __future__ import annotations

import logging
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
from toolkit.connection.limits import Slot, retried
from toolkit.connection.sudo import LoginPassword, SudoPassword
from toolkit.errors import HostUnreachable, PinnaceError
from toolkit.inventory.settings import Target

CONNECT_SECONDS = 15.0
# What goes wrong is an error of ours; paramiko would print its own tracebacks besides.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
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
        urgent: bool = False,
    ) -> None:
        """``urgent``: goes first where others wait for a way through the same jump host."""
        self.target = target
        self._known = known
        self._password = password
        self._timeout = timeout
        self._fabric: Any = None
        self._slot = Slot("")
        self._urgent = urgent

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Connect; raises :class:`HostUnreachable`."""
        if self._fabric is not None:
            return
        self._slot = Slot(_jump_host(self._build()), urgent=self._urgent)
        self._slot.take(self.target.name)
        try:
            self._fabric = retried(self._connect, self._timeout)
        except PinnaceError:
            self._slot.release()
            raise
        except (paramiko.SSHException, OSError, EOFError, ValueError) as problem:
            self._slot.release()
            address = self.target.address or self.target.name
            raise unreachable(self.target.name, address, problem) from problem

    def _connect(self, password: str | None = None) -> Any:
        """One attempt, and a second one with the login password where that is what the board wants."""
        made = self._build(password)
        try:
            made.open()
            self._check_keys(made)
        except paramiko.SSHException as problem:
            if not _refused(problem):
                _close(made)
                raise
            may = self.target.password is not None or not self.target.key_file
            wanted = password is None and may and _takes_password(made)
            _close(made)
            if password is not None:
                raise HostUnreachable(f"{self.target.name}: the board does not accept the user and password", hint="check ansible_user and the password") from None  # fmt: skip
            login = self._login() if wanted else None
            if login is None or not login.available:
                raise
            return self._connect(login.get(self.target.name))
        except BaseException:
            _close(made)
            raise
        made.transport.set_keepalive(_KEEPALIVE_SECONDS)
        return made

    def _check_keys(self, made: Any) -> None:
        hop = made
        while isinstance(hop, fabric.Connection):
            self._known.check(hop.host, hop.transport.get_remote_server_key())
            hop = hop.gateway

    def close(self) -> None:
        if self._fabric is not None:
            _close(self._fabric)
            self._fabric = None
            self._slot.release()

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
        # A secret that is missing is said here, not while sudo waits for it.
        password = self._sudo() if sudo and self._fabric.user != "root" else None
        try:
            channel = self._fabric.transport.open_session(timeout=self._timeout)
        except (paramiko.SSHException, OSError, EOFError) as problem:
            raise unreachable(self.target.name, self._fabric.host, problem) from problem
        return Process(channel, self.target.name, command, password, timeout)

    def _login(self) -> SudoPassword | None:
        """The password to log in with: the inventory's for this host, or that of the run."""
        given = self.target.password
        return LoginPassword(known=given.text()) if given is not None else self._password.login

    def _sudo(self) -> SudoPassword:
        given = self.target.become_password
        return SudoPassword(known=given.text()) if given is not None else self._password

    def _build(self, password: str | None = None) -> Any:
        """A fabric connection, strict about host keys at every hop."""
        gateway = None
        for hop in self.target.jump:
            gateway = self._fabric_connection(hop, gateway=gateway)
        target = self.target
        options: dict[str, Any] = {"user": target.user} if target.user else {}
        if target.port:
            options["port"] = target.port
        made = self._fabric_connection(target.address or target.name, gateway=gateway, **options)
        if password is not None:
            made.connect_kwargs["password"] = password
            # Every refused key counts against the board's MaxAuthTries.
            made.connect_kwargs["look_for_keys"] = made.connect_kwargs["allow_agent"] = False
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


def _close(made: Any) -> None:
    """Close a connection and the hops that it goes through, which fabric leaves open."""
    hop = made
    while isinstance(hop, fabric.Connection):
        hop.close()
        hop = hop.gateway


def _jump_host(made: Any) -> str:
    """The first host on the way, empty where the way is direct."""
    hop = made.gateway
    while isinstance(hop, fabric.Connection) and isinstance(hop.gateway, fabric.Connection):
        hop = hop.gateway
    return f"{hop.host}:{hop.port}" if isinstance(hop, fabric.Connection) else ""


def _refused(problem: paramiko.SSHException) -> bool:
    """Whether the board wants another user or key; paramiko has its own word for having no key at all."""
    no_key = "No authentication methods available" in str(problem)
    return no_key or isinstance(problem, paramiko.AuthenticationException)


def _takes_password(made: Any) -> bool:
    """Whether the board, which refused our keys, would take a password (RFC 4252, 5.2)."""
    try:
        made.client.get_transport().auth_none(made.user)
    except paramiko.BadAuthenticationType as problem:
        return "password" in problem.allowed_types
    except (AttributeError, EOFError, OSError, paramiko.SSHException):
        return False
    return False


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
    if isinstance(problem, paramiko.SSHException) and _refused(problem):
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
