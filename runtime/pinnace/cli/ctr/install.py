"""``ctr install``: programs and libraries of an image, into a directory of this machine."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from typing import TYPE_CHECKING

from pinnace.api.schema.introspection import Introspection, PluginsRequest
from pinnace.cli import containers, images
from pinnace.cli.client import Client
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG
from pinnace.cli.options import Flag, switch, text
from pinnace.errors import AlreadyExists, InvalidArgument, NotFound
from pinnace.linux.mount import mount_all, unmount_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.cli.options import Call

USAGE = "[flags] <ref>"
FLAGS: tuple[Flag, ...] = (
    switch("libs", "l", about="libraries (lib/), too"),
    switch("replace", "r", about="replace what is there already"),
    text("path", about="the directory; default: where the daemon's plugin io.containerd.internal.v1.opt says"),
    SNAPSHOTTER_FLAG,
)  # fmt: skip
DETAILS = "Takes bin/ of the image; a link in it must name a file beside it."


def run(call: Call) -> int:
    name = call.only_argument("please provide an image reference to install")
    with Client.of(call) as client:
        images.get(client, name)
        target = os.path.abspath(call.text("path")) if call.text("path") else _opt(client)
        snapshotter, key = call.text("snapshotter"), f"ctr-install-{os.urandom(6).hex()}"
        with containers.leased(client):
            found = containers.image_contents(client, name, "", snapshotter)
            mounts = containers.prepare_snapshot(client, snapshotter, key, found.chain_id, {})
            try:
                with tempfile.TemporaryDirectory(prefix="ctr-install-") as directory:
                    mount_all(mounts, directory)
                    try:
                        _install(call, directory, target)
                    finally:
                        unmount_all(directory)
            finally:
                containers.discard(client, snapshotter, key)
    return 0


def _opt(client: Client) -> str:
    request = PluginsRequest(filters=["type==io.containerd.internal.v1,id==opt"])
    for plugin in client.call(Introspection.plugins, request).plugins:
        if plugin.exports.get("path"):
            return str(plugin.exports["path"])
    raise NotFound("the daemon has no directory for installed programs", hint="give one: --path DIRECTORY")  # fmt: skip


def _install(call: Call, root: str, target: str) -> None:
    files = list(_files(root, ("bin", "lib") if call.on("libs") else ("bin",)))
    if not files:
        raise InvalidArgument("the image has nothing to install: no files in its bin/")
    for relative in files:
        if not call.on("replace") and os.path.lexists(os.path.join(target, relative)):
            raise AlreadyExists(
                f"cannot install {relative}: it is in {target} already",
                hint="--replace replaces it",
            )
    for relative in files:
        _copy(os.path.join(root, relative), os.path.join(target, relative))


def _files(root: str, tops: tuple[str, ...]) -> Iterator[str]:
    """Regular files and links below; directories that are links are not entered: they may lead anywhere."""
    for top in tops:
        if os.path.islink(os.path.join(root, top)):
            raise InvalidArgument(f"the image's {top}/ is a symbolic link: refused")
        for directory, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                path = os.path.join(directory, name)
                mode = os.lstat(path).st_mode
                if stat.S_ISLNK(mode):
                    _check_link(path)
                if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
                    yield os.path.relpath(path, root)


def _check_link(path: str) -> None:
    """A link to a directory elsewhere would lead the next image's files there."""
    target = os.readlink(path)
    if "/" in target or target in (".", ".."):
        raise InvalidArgument(
            f"the image's link {os.path.basename(path)} leads to {target}: refused"
        )


def _copy(source: str, target: str) -> None:
    """A file appears under its name only when it is whole; nothing at ``target`` is written through."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    scratch = f"{target}.{os.getpid()}.part"
    try:
        shutil.copy2(source, scratch, follow_symlinks=False)
        if not os.path.islink(scratch):
            # Without set-user-id: what is installed runs as who calls it.
            os.chmod(scratch, stat.S_IMODE(os.lstat(scratch).st_mode) & 0o777)
        os.rename(scratch, target)
    except BaseException:
        if os.path.lexists(scratch):
            os.unlink(scratch)
        raise
