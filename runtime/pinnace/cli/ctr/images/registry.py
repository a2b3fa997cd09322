"""How a command names a registry to the daemon: flags for TLS, credentials and hosts, shared by pull and push."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pinnace.api.schema import transfertypes as types
from pinnace.cli.options import Flag, switch, text
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.cli import transfer
    from pinnace.cli.options import Call
    from pinnace.spec.reference import Reference

FLAGS: tuple[Flag, ...] = (
    text("user", "u", about="credentials for the registry (NAME[:PASSWORD]); asks for the password"),
    switch("plain-http", about="speak HTTP without TLS to the registry"),
    switch("skip-verify", "k", about="do not check the registry's certificate"),
    text("hosts-dir", about="directory with a hosts.toml per registry"),
    text("tlscacert", about="certificate authority of the registry (PEM file)"),
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
    if call.text("user"):
        resolver.auth_stream = exchange.credentials(*_credentials(call.text("user")))
    with _trust(call, reference, resolver):
        yield types.OCIRegistry(reference=name, resolver=resolver)


def _hosts_directory(call: Call) -> str:
    directory = call.text("hosts-dir")
    if directory and not os.path.isdir(directory):
        raise InvalidArgument(f"--hosts-dir {directory}: no such directory")
    return os.path.abspath(directory) if directory else ""


def _credentials(user: str) -> tuple[str, str]:
    """Name and password; the password is asked for, without echo, when it was not given."""
    name, colon, password = user.partition(":")
    if not colon:
        import getpass

        password = getpass.getpass("Password: ")
    return name, password


class _trust:  # noqa: N801 (used as a context)
    """A hosts directory that says how far the registry's certificate is trusted, while it is needed."""

    def __init__(self, call: Call, reference: Reference, resolver: types.RegistryResolver) -> None:
        self._lines = []
        if call.on("skip-verify"):
            self._lines.append("skip_verify = true")
        if call.text("tlscacert"):
            path = os.path.abspath(call.text("tlscacert"))
            if not os.path.isfile(path):
                raise InvalidArgument(f"--tlscacert {path}: no such file")
            self._lines.append(f"ca = {_toml_string(path)}")
        if self._lines and resolver.host_dir:
            raise InvalidArgument(
                "--hosts-dir already says what is trusted: leave out --skip-verify and --tlscacert"
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
