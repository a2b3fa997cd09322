"""``skopeo copy``: an image from one place to another."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

from pinnace.cli.options import integer, switch, text, texts
from pinnace.cli.skopeo import flags, places, policies, retry
from pinnace.cli.skopeo.progress import Display
from pinnace.errors import InvalidArgument, Unimplemented
from pinnace.images import convert, copy
from pinnace.images.transports import base, files

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag
    from pinnace.images.progress import Report
    from pinnace.images.transports.base import Document

USAGE = "SOURCE-IMAGE DESTINATION-IMAGE"
FLAGS: tuple[Flag, ...] = (
    texts("additional-tag", about="one more name in the archive (docker-archive:)"),
    switch("all", "a", about="copy an index with the images for all platforms"),
    text("multi-arch", about="what to copy of an index: system, all or index-only"),
    text("format", "f", about="form of the manifest: oci or v2s2"),
    switch("preserve-digests", about="fail rather than change a digest"),
    switch("remove-signatures", about="leave signatures out"),
    text("digestfile", about="write the digest of the copy into this file"),
    switch("quiet", "q", about="say nothing"),
    integer("image-parallel-copies", about="layers at a time", default=copy.PARALLEL),
    switch("dest-compress", about="compress layers (dir:)"),
    switch("dest-decompress", about="decompress layers (dir:)"),
    text("dest-compress-format", about="how layers are compressed: gzip or zstd"),
    integer("dest-compress-level", about="how much layers are compressed"),
    switch("dest-force-compress-format", about="compress layers anew that are compressed otherwise"),
    switch("dest-oci-accept-uncompressed-layers", about="leave uncompressed layers as they are (oci:)"),
    switch("dest-precompute-digests", about="taken as given: what the registry has is never sent"),
    flags.AUTHFILE,
    text("src-authfile", about="file with the logins for the source"),
    text("dest-authfile", about="file with the logins for the destination"),
    *flags.place("src-"),
    *flags.place("dest-"),
    *flags.RETRY,
    *flags.SIGNING,
    texts("encrypt-layer", about="refused: layers cannot be encrypted"),
    texts("encryption-key", about="refused: layers cannot be encrypted"),
    texts("decryption-key", about="refused: layers cannot be decrypted"),
)  # fmt: skip


def run(call: Call) -> int:
    if len(call.args) != 2:
        raise InvalidArgument("name two images: from where, to where", hint=f"skopeo copy {USAGE}")
    source, target = (places.parse(name) for name in call.args)
    for flag in ("encrypt-layer", "encryption-key", "decryption-key"):
        if call.texts(flag):
            raise Unimplemented(f"--{flag}: encrypted layers are not supported")
    with Display(quiet=call.on("quiet")) as display:
        made = retry.run(call, lambda: _copy(call, source, target, display.hear))
    if call.text("digestfile"):
        files.write(os.path.abspath(call.text("digestfile")), str(made.digest).encode())
    return 0


def _copy(call: Call, source: places.Place, target: places.Place, report: Report) -> Document:
    with (
        closing(places.open_source(call, source, "src-")) as origin,
        closing(
            places.open_target(
                call, target, layers=_layers(call), more=call.texts("additional-tag")
            )
        ) as destination,
    ):
        return copy.copy(origin, destination, options_of(call)._replace(report=report))


def options_of(call: Call) -> copy.Options:
    """How to copy, as the flags have it."""
    compression = call.text("dest-compress-format")
    if compression not in ("", "gzip", "zstd"):
        raise InvalidArgument(f"--dest-compress-format {compression}: gzip or zstd")
    wanted = convert.parse_format(call.text("format"))
    if compression == "zstd" and wanted == convert.DOCKER:
        raise InvalidArgument(
            "--format v2s2 has no layers compressed with zstd", hint="--format oci"
        )
    return copy.Options(
        policies.check_of(call),
        multi_arch=_multi_arch(call),
        platform=places.platform_of(call),
        format=wanted,
        compression=compression,
        level=_level(call, compression),
        force_compression=call.on("dest-force-compress-format"),
        preserve_digests=call.on("preserve-digests"),
        remove_signatures=call.on("remove-signatures"),
        signers=policies.signers_of(call),
        sign_identity=policies.identity_of(call),
        parallel=max(1, call.integer("image-parallel-copies")),
    )


def _level(call: Call, compression: str) -> int | None:
    if not call.given("dest-compress-level"):
        return None
    level, most = call.integer("dest-compress-level"), 19 if compression == "zstd" else 9
    if not 1 <= level <= most:
        raise InvalidArgument(f"--dest-compress-level {level}: from 1 to {most}")
    return level


def _multi_arch(call: Call) -> str:
    wanted = call.text("multi-arch")
    if wanted and call.on("all"):
        raise InvalidArgument("--all and --multi-arch cannot be used together")
    if wanted not in ("", copy.SYSTEM, copy.ALL, copy.INDEX_ONLY):
        raise InvalidArgument(f"--multi-arch {wanted}: system, all or index-only")
    return wanted or (copy.ALL if call.on("all") else copy.SYSTEM)


def _layers(call: Call) -> str:
    if call.on("dest-compress") and call.on("dest-decompress"):
        raise InvalidArgument("--dest-compress and --dest-decompress cannot be used together")
    if call.on("dest-decompress"):
        return base.DECOMPRESS
    wanted = call.on("dest-compress") or call.text("dest-compress-format")
    return base.COMPRESS if wanted else base.PRESERVE
