"""``ctr images export``: write images to an archive that docker and others load, too."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinnace.api.schema import transfertypes as types
from pinnace.cli import images, transfer
from pinnace.cli.client import Client
from pinnace.cli.ctr.flags import refuse
from pinnace.cli.options import Flag, switch, texts
from pinnace.errors import InvalidArgument
from pinnace.spec import platform as platforms

if TYPE_CHECKING:
    from pinnace.cli.ctr.flags import refuse
from pinnace.cli.options import Call

USAGE = "[flags] <out> <image> ..."
FLAGS: tuple[Flag, ...] = (
    switch("skip-manifest-json", about="leave out the manifest.json that docker load reads"),
    switch("skip-non-distributable", about="leave out layers that may not be passed on"),
    texts("platform", about="export the part for this platform instead of this machine's"),
    switch("all-platforms", about="export the parts for all platforms"),
    switch("local", about="refused: the daemon writes archives"),
)
DETAILS = "<out> is a file, or - for standard output."


def run(call: Call) -> int:
    path = call.argument(
        0, "please provide both an output filename and an image reference to export"
    )
    refuse(call, "the daemon writes archives", "local")
    names = call.args[1:]
    if not names:
        raise InvalidArgument("please provide an image reference to export")
    wanted = [platforms.parse(each) for each in call.texts("platform")] or [platforms.default()]
    with Client.of(call) as client:
        for name in names:
            images.get(client, name)
        with _Output(path) as output, transfer.Exchange(client) as exchange:
            exchange.run(
                types.ImageStore(extra_references=[types.ImageReference(name=each) for each in names]),
                types.ImageExportStream(
                    stream=exchange.receive_file(output.fd),
                    platforms=[] if call.on("all-platforms") else [transfer.platform_message(each) for each in wanted],
                    all_platforms=call.on("all-platforms"),
                    skip_compatibility_manifest=call.on("skip-manifest-json"),
                    skip_non_distributable=call.on("skip-non-distributable"),
                ),
            )  # fmt: skip
    return 0


class _Output:
    """A file that appears under its name only when it is whole; ``-`` is standard output."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._scratch = f"{path}.part-{os.getpid()}"
        self.fd = 1

    def __enter__(self) -> _Output:
        if self._path == "-":
            if os.isatty(1):
                raise InvalidArgument("an archive is not written to a terminal: name a file")
            return self
        try:
            mode = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self.fd = os.open(self._scratch, mode, 0o644)
        except OSError as problem:
            raise InvalidArgument(f"{self._path}: {problem.strerror}") from None
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self.fd == 1:
            return
        os.close(self.fd)
        if kind is None:
            os.rename(self._scratch, self._path)
        else:
            os.unlink(self._scratch)
