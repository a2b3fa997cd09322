"""``ctr images pull``: fetch an image from a registry and unpack it."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from pinnace.api.schema import transfertypes as types
from pinnace.cli import images, transfer
from pinnace.cli.client import Client
from pinnace.cli.containers import parse_labels
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG
from pinnace.cli.options import Flag, switch, text, texts
from pinnace.cli.progress import Display
from pinnace.errors import InvalidArgument
from pinnace.spec import platform as platforms
from pinnace.spec.reference import Reference

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] <ref>"
FLAGS: tuple[Flag, ...] = (
    texts("platform", about="fetch the part for this platform instead of this machine's"),
    switch("all-platforms", about="fetch the parts for all platforms"),
    SNAPSHOTTER_FLAG,
    texts("label", about="label of the image (KEY=VALUE)"),
    text("user", "u", about="credentials for the registry (NAME[:PASSWORD]); asks for the password"),
    switch("plain-http", about="speak HTTP without TLS to the registry"),
    switch("skip-verify", "k", about="do not check the registry's certificate"),
    text("hosts-dir", about="directory with a hosts.toml per registry"),
    text("tlscacert", about="certificate authority of the registry (PEM file)"),
    switch("print-chainid", about="print the chain id of the unpacked image"),
)  # fmt: skip
DETAILS = "The daemon fetches: its mirrors and certificates apply, files named here are read by it."


def run(call: Call) -> int:
    name = call.only_argument("please provide an image reference to pull")
    reference = Reference.parse(name)
    wanted = [platforms.parse(each) for each in call.texts("platform")]
    if call.on("all-platforms") and wanted:
        raise InvalidArgument("--platform and --all-platforms cannot be used together")
    started = time.monotonic()
    with (
        Client.of(call) as client,
        Display(name) as display,
        transfer.Exchange(client, display.hear) as exchange,
    ):
        _pull(call, exchange, reference, wanted)
    sys.stdout.write(f"done: {time.monotonic() - started:.1f} s\n")
    if call.on("print-chainid"):
        with Client.of(call) as client:
            found = images.contents(client, images.get(client, name), wanted[0] if wanted else None)
        sys.stdout.write(f"image chain ID: {found.chain_id}\n")
    return 0


def _pull(
    call: Call, exchange: transfer.Exchange, reference: Reference, wanted: list[platforms.Platform]
) -> None:
    name = call.args[0]
    resolver = types.RegistryResolver(
        host_dir=_hosts_directory(call),
        default_scheme="http" if call.on("plain-http") else "",
    )
    if call.text("user"):
        resolver.auth_stream = exchange.credentials(*_credentials(call.text("user")))
    with _trust(call, reference, resolver):
        exchange.run(
            types.OCIRegistry(reference=name, resolver=resolver), _destination(call, name, wanted)
        )


def _destination(call: Call, name: str, wanted: list[platforms.Platform]) -> types.ImageStore:
    own = platforms.default()
    fetched = [] if call.on("all-platforms") else (wanted or [own])
    snapshotter = call.text("snapshotter")
    return types.ImageStore(
        name=name,
        labels=parse_labels(call.texts("label")),
        platforms=[transfer.platform_message(each) for each in fetched],
        unpacks=[
            types.UnpackConfiguration(
                platform=transfer.platform_message(each), snapshotter=snapshotter
            )
            for each in (wanted or [own])
        ],
    )


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
