"""Debian's ``docker-registry``, the distribution project's server, as an ordinary process.

:class:`RegistryServer` starts one on a free port with its own data, certificate and users, waits until
it answers, and stops it. Tests start as many as they need::

    with RegistryServer(tmp_path, certificate=authority.server(("127.0.0.1",))) as registry:
        ...  # registry.host is "127.0.0.1:40123"

The program comes from the unpacked Debian package; nothing is installed on the machine.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import re
import secrets
import signal
import ssl
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import bcrypt

from toolkit.arch import Arch
from toolkit.debian import Archive
from toolkit.errors import PinnaceError
from toolkit.lab.authority import ServerCertificate

SUITE = "trixie"
_LISTENING = re.compile(r'msg="listening on ([^"]*?)(?:, tls)?"')
_START_LIMIT = 20.0
_STOP_LIMIT = 5.0


@functools.cache
def program() -> Path:
    """The path of ``docker-registry``, from this machine's architecture of the Debian package."""
    machine = Arch.from_machine(os.uname().machine)
    root = Archive(SUITE, machine.facts.debian).unpack(["docker-registry"])
    return root / "usr/bin/docker-registry"


class RegistryServer:
    """One registry process.

    Args:
        directory: holds ``data/`` (the blobs; may be filled beforehand), ``config.yml`` and ``log``.
        address, port: where it listens; port 0 takes a free one.
        certificate: serve TLS with it, or plain HTTP when ``None``.
        users: user name to password; when given, every request needs HTTP Basic authentication.
        data: use this data directory instead, for instance that of another instance (a mirror).
        upstream: act as a pull-through cache of this registry (``https://registry.lab``).
        trust: CA certificate (PEM) that the upstream's certificate is checked with.
    """

    def __init__(
        self,
        directory: Path,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        certificate: ServerCertificate | None = None,
        users: Mapping[str, str] | None = None,
        data: Path | None = None,
        upstream: str = "",
        trust: Path | None = None,
    ) -> None:
        self.directory = directory
        self.certificate = certificate
        self.data = data or directory / "data"
        self.log = directory / "log"
        self.address = address
        self.port = port
        self._users = dict(users or {})
        self._upstream = upstream
        self._trust = trust
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """``address:port``, as it stands in an image reference."""
        return f"{self.address}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://{self.host}"

    @property
    def pid(self) -> int:
        """The process id; only while it runs."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, detached: bool = False) -> None:
        """Start it and return when it answers; raises :class:`PinnaceError` with the log's last line.

        A ``detached`` one lives on when this process ends, and is ended by its pid.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(parents=True, exist_ok=True)
        config = self.directory / "config.yml"
        config.write_text(json.dumps(self._configuration(), indent=1))  # JSON is YAML
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
        if self._trust:
            environment["SSL_CERT_FILE"] = str(self._trust)
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                [str(program()), "serve", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=detached,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it; returns when it is gone. Nothing happens when it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> RegistryServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _configuration(self) -> dict[str, object]:
        """The settings of distribution's configuration reference that differ from the defaults."""
        http: dict[str, object] = {"addr": self.host, "secret": secrets.token_hex(16)}
        if self.certificate:
            http["tls"] = {
                "certificate": str(self.certificate.certificate),
                "key": str(self.certificate.key),
            }
        config: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.data)},
                "delete": {"enabled": True},
            },
            "http": http,
        }
        if self._users:
            config["auth"] = {"htpasswd": {"realm": "lab", "path": str(self._htpasswd())}}
        if self._upstream:
            config["proxy"] = {"remoteurl": self._upstream}
        return config

    def _htpasswd(self) -> Path:
        path = self.directory / "htpasswd"
        lines = (
            f"{user}:{bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()}\n"
            for user, word in self._users.items()
        )
        path.touch(mode=0o600)
        path.write_text("".join(lines))
        return path

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_LIMIT
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                raise PinnaceError(f"docker-registry could not start: {self._last_words()}")
            listening = _LISTENING.search(self.log.read_text(errors="replace"))
            if listening:
                self.port = int(listening[1].rpartition(":")[2])
                if self.healthy():
                    return
            time.sleep(0.02)
        raise PinnaceError(
            f"docker-registry did not answer on {self.host} within {_START_LIMIT:.0f} s",
            hint=f"Its log: {self.log}",
        )

    def healthy(self, limit: float = 2.0) -> bool:
        """Whether it answers the API's base address (401 counts: it asks who we are)."""
        return answers(self.address, self.port, tls=self.certificate is not None, limit=limit)

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
        said = re.search(r'msg="((?:[^"\\]|\\.)*)"', lines[-1])
        return (said[1] if said else lines[-1]).replace('\\"', '"')


def answers(address: str, port: int, *, tls: bool, limit: float = 2.0) -> bool:
    """Whether a registry answers there within ``limit`` seconds.

    The certificate is not checked here: this asks whether somebody is there, and says nothing.
    """
    connection: http.client.HTTPConnection
    if tls:
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(address, port, timeout=limit, context=context)
    else:
        connection = http.client.HTTPConnection(address, port, timeout=limit)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status in (200, 401)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
