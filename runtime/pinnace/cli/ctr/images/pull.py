"""``ctr images pull``: fetch an image from a registry and unpack it."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from pinnace.api.schema import transfertypes as types
from pinnace.cli import containers, images, transfer, unpack
from pinnace.cli.client import Client
from pinnace.cli.ctr.content.fetching import METADATA, fetch
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG, SYNC_FS, refuse
from pinnace.cli.ctr.images import registry
from pinnace.cli.options import Flag, integer, switch, texts
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
    *registry.FLAGS,
    switch("print-chainid", about="print the chain id of the unpacked image"),
    *METADATA,
    integer("max-concurrent-downloads", about="refused: config.toml says it for all pulls"),
    switch("local", about="fetch with this command instead of with the daemon"),
    SYNC_FS,
)  # fmt: skip
DETAILS = (
    "The daemon fetches: its mirrors and certificates apply, files named here are read by it.\n"
    "With --local or --sync-fs this command does, as for a containerd before 1.7."
)


def run(call: Call) -> int:
    name = call.only_argument("please provide an image reference to pull")
    reference = Reference.parse(name)
    wanted = [platforms.parse(each) for each in call.texts("platform")]
    if call.on("all-platforms") and wanted:
        raise InvalidArgument("--platform and --all-platforms cannot be used together")
    refuse(
        call, "the daemon's config.toml has max_concurrent_downloads", "max-concurrent-downloads"
    )
    started = time.monotonic()
    if call.on("local") or call.on("sync-fs"):
        return _pull_here(call, name, wanted, started)
    with (
        Client.of(call) as client,
        Display(name) as display,
        transfer.Exchange(client, display.hear) as exchange,
    ):
        _pull(call, exchange, reference, wanted)
    sys.stdout.write(f"done: {time.monotonic() - started:.1f} s\n")
    if call.on("print-chainid"):
        with Client.of(call) as client:
            _print_chain_id(client, name, wanted)
    return 0


def _print_chain_id(client: Client, name: str, wanted: list[platforms.Platform]) -> None:
    found = images.contents(client, images.get(client, name), wanted[0] if wanted else None)
    sys.stdout.write(f"image chain ID: {found.chain_id}\n")


def _pull_here(call: Call, name: str, wanted: list[platforms.Platform], started: float) -> int:
    """Fetch and unpack by this command, as for daemons without a Transfer service."""
    with Client.of(call) as client, containers.leased(client):
        image = fetch(client, call, name, name)
        for platform in wanted or [platforms.default()]:
            contents = images.contents(client, image, platform)
            unpack.ensure(client, contents, call.text("snapshotter"), sync_fs=call.on("sync-fs"))
        sys.stdout.write(f"done: {time.monotonic() - started:.1f} s\n")
        if call.on("print-chainid"):
            _print_chain_id(client, name, wanted)
    return 0


def _pull(
    call: Call, exchange: transfer.Exchange, reference: Reference, wanted: list[platforms.Platform]
) -> None:
    name = call.args[0]
    with registry.registry(call, exchange, reference, name) as source:
        exchange.run(source, _destination(call, name, wanted))


def _destination(call: Call, name: str, wanted: list[platforms.Platform]) -> types.ImageStore:
    own = platforms.default()
    fetched = [] if call.on("all-platforms") else (wanted or [own])
    snapshotter = call.text("snapshotter")
    return types.ImageStore(
        name=name,
        labels=containers.parse_labels(call.texts("label")),
        all_metadata=call.on("all-metadata"),
        platforms=[transfer.platform_message(each) for each in fetched],
        unpacks=[
            types.UnpackConfiguration(
                platform=transfer.platform_message(each), snapshotter=snapshotter
            )
            for each in (wanted or [own])
        ],
    )
