"""How a command names a registry to the daemon: flags for TLS, credentials and hosts, shared by pull and push."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pinnace.api.schema import transfertypes as types
from pinnace.cli.options import Flag, switch, text
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.cli import transfer
    from pinnace.cli.options import Call
    from pinnace.registry.resolver import Resolver
    from pinnace.spec.reference import Reference

FLAGS: tuple[Flag, ...] = (
    text("user", "u", about="credentials for the registry (NAME[:PASSWORD]); asks for the password"),
    switch("plain-http", about="speak HTTP without TLS to the registry"),
    switch("skip-verify", "k", about="do not check the registry's certificate"),
    text("hosts-dir", about="directory with a hosts.toml per registry"),
    text("tlscacert", about="certificate authority of the registry (PEM file)"),
    text("tlscert", about="our certificate for the registry (PEM file)"),
    text("tlskey", about="the key of our certificate (PEM file)"),
    text("refresh", about="refresh token for the registry's authorization server"),
    switch("http-dump", about="tell each request to the registry and its status; with --local"),
    switch("http-trace", about="the same as --http-dump"),
)  # fmt: skip


@contextmanager
def registry(
    call: Call, exchange: transfer.Exchange, reference: Reference, name: str
) -> Iterator[types.OCIRegistry]:
    """The registry's image ``name`` as one end of a transfer, by the flags of the command."""
    resolver = types.RegistryResolver(
        host_dir=_hosts_directory(call),
        default_scheme="http" if call.on("plain-http") else "",
    )
    if call.on("http-dump") or call.on("http-trace"):
        raise InvalidArgument(
            "--http-dump and --http-trace tell what this command asks, but the daemon does the asking",
            hint="add --local, or see the daemon's log",
        )
    login = credentials(call)
    if login is not None:
        resolver.auth_stream = exchange.credentials(*login)
    with _trust(call, reference, resolver):
        yield types.OCIRegistry(reference=name, resolver=resolver)


def _hosts_directory(call: Call) -> str:
    directory = call.text("hosts-dir")
    if directory and not os.path.isdir(directory):
        raise InvalidArgument(f"--hosts-dir {directory}: no such directory")
    return os.path.abspath(directory) if directory else ""


def credentials(call: Call) -> tuple[str, str] | None:
    """Name and password, which is asked for, without echo, when it was not given.

    A refresh token goes without a name, as in Docker's configuration.
    """
    if call.text("refresh"):
        if call.text("user"):
            raise InvalidArgument("--user and --refresh cannot be used together")
        return "", call.text("refresh")
    if not call.text("user"):
        return None
    name, colon, password = call.text("user").partition(":")
    if not colon:
        import getpass

        password = getpass.getpass("Password: ")
    return name, password


def _file(call: Call, flag: str) -> str:
    """The absolute path of a file that a flag names; ``""`` without the flag."""
    if not call.text(flag):
        return ""
    path = os.path.abspath(call.text(flag))
    if not os.path.isfile(path):
        raise InvalidArgument(f"--{flag} {path}: no such file")
    return path


@contextmanager
def resolver(call: Call, reference: Reference) -> Iterator[Resolver]:
    """A client of the registry of ``reference`` in this process, by the flags of the command.

    What the flags leave open is as the daemon's configuration here has it.
    """
    from pinnace.daemon import config, registries
    from pinnace.registry import transport
    from pinnace.registry.auth import IDENTITY

    where = types.RegistryResolver(host_dir=_hosts_directory(call))
    if call.on("http-dump") or call.on("http-trace"):
        transport.trace = _tell
    login = credentials(call)
    if login is not None and not login[0]:
        login = (IDENTITY, login[1])
    with _trust(call, reference, where):
        made = registries.resolver(
            config.load(""),
            directory=where.host_dir,
            credentials=(lambda host: login) if login else None,
            plain_http=call.on("plain-http"),
            on_warning=_tell,
        )
        try:
            yield made
        finally:
            made.close()


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


class _trust:  # noqa: N801 (used as a context)
    """A hosts directory that says how far the registry's certificate is trusted, while it is needed."""

    def __init__(self, call: Call, reference: Reference, resolver: types.RegistryResolver) -> None:
        self._lines = []
        if call.on("skip-verify"):
            self._lines.append("skip_verify = true")
        files = {flag: _file(call, flag) for flag in ("tlscacert", "tlscert", "tlskey")}
        if files["tlscacert"]:
            self._lines.append(f"ca = {_toml_string(files['tlscacert'])}")
        if bool(files["tlscert"]) != bool(files["tlskey"]):
            raise InvalidArgument("--tlscert and --tlskey belong together: give both")
        if files["tlscert"]:
            pair = ", ".join(_toml_string(files[flag]) for flag in ("tlscert", "tlskey"))
            self._lines.append(f"client = [[{pair}]]")
        if self._lines and resolver.host_dir:
            raise InvalidArgument(
                "--hosts-dir already says what is trusted: leave out --skip-verify, --tlscacert and --tlscert"
            )
        self._host = reference.hostname
        self._resolver = resolver
        self._directory = ""

    def __enter__(self) -> None:
        if not self._lines:
            return
        import tempfile

        self._directory = tempfile.mkdtemp(prefix="ctr-hosts-")
        place = os.path.join(self._directory, self._host)
        os.mkdir(place)
        server = f"https://{self._host}"
        with open(os.path.join(place, "hosts.toml"), "w", encoding="utf-8") as file:
            file.write(f"server = {_toml_string(server)}\n[host.{_toml_string(server)}]\n")
            file.writelines(f"{line}\n" for line in self._lines)
        self._resolver.host_dir = self._directory

    def __exit__(self, *_: object) -> None:
        if self._directory:
            import shutil

            shutil.rmtree(self._directory, ignore_errors=True)


def _toml_string(text_: str) -> str:
    import json

    return json.dumps(text_)  # a JSON string is a TOML basic string (toml.io, "String")
