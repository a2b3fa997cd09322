"""``ctr content fetch``: an image's content without unpacking it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.transfertypes import Progress
from pinnace.cli import containers, local
from pinnace.cli.client import Client
from pinnace.cli.ctr.images import registry
from pinnace.cli.options import Flag, switch, texts
from pinnace.cli.progress import Display
from pinnace.errors import InvalidArgument
from pinnace.spec import platform as platforms
from pinnace.spec.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from pinnace.api.schema.images import Image
    from pinnace.cli.options import Call
    from pinnace.spec.image import Descriptor

USAGE = "[flags] <remote> [<object>]"
METADATA: tuple[Flag, ...] = (
    switch("all-metadata", about="fetch manifests and configs of all platforms, too"),
    switch("skip-metadata", about="fetch nothing of other platforms; that is so without it, too"),
)
FLAGS: tuple[Flag, ...] = (
    texts("platform", about="fetch the part for this platform instead of this machine's"),
    switch("all-platforms", about="fetch the parts for all platforms"),
    *METADATA,
    switch("metadata-only", about="fetch manifests and configs, no layers"),
    texts("label", about="label of the image (KEY=VALUE)"),
    *registry.FLAGS,
)
DETAILS = (
    "This command fetches, not the daemon. The image is named <object>, or as the registry has it."
)


def run(call: Call) -> int:
    reference = call.argument(0, "please provide an image reference to fetch")
    if len(call.args) > 2:
        raise InvalidArgument(f"unexpected argument {call.args[2]}")
    with Client.of(call) as client, containers.leased(client):
        fetch(client, call, reference, call.args[-1], metadata_only=call.on("metadata-only"))
    return 0


def fetch(
    client: Client, call: Call, reference: str, name: str, *, metadata_only: bool = False
) -> Image:
    """Fetch ``reference`` by the flags of ``call`` and name the image; call it under a lease."""
    wanted = [platforms.parse(each) for each in call.texts("platform")]
    if call.on("all-platforms") and wanted:
        raise InvalidArgument("--platform and --all-platforms cannot be used together")
    if not wanted and not call.on("all-platforms"):
        wanted = [platforms.default()]
    parsed = Reference.parse(reference)
    with Display(reference) as display, registry.resolver(call, parsed) as resolver:
        work = local.Fetch(
            client, resolver, reference, wanted=wanted,
            all_metadata=call.on("all-metadata") or metadata_only, metadata_only=metadata_only,
            report=reporter(display),
        )  # fmt: skip
        root = work.run()
    return local.name_it(client, name, root, containers.parse_labels(call.texts("label")))


def reporter(display: Display) -> Callable[[str, Descriptor, int], None]:
    """Shows what :mod:`pinnace.cli.local` reports."""

    def report(event: str, descriptor: Descriptor, count: int) -> None:
        display.hear(
            Progress(
                event=event, name=str(descriptor.digest), progress=count, total=descriptor.size
            )
        )

    return report
