"""The lab's images: which Debian packages each is made of, and how.

All four architectures come from one Debian release, so that the same test sees the same programs on
each. ARMv6 boards get Debian ``armel``, labelled ``linux/arm/v6``: its code is for ARMv5 and newer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import PinnaceError
from toolkit.lab import deb
from toolkit.tree import Tree

SUITE = "bookworm"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_BASE = (
    "base-files", "base-passwd", "bash", "coreutils", "dash", "debianutils", "findutils",
    "gcc-12-base", "grep", "gzip", "hostname", "libacl1", "libattr1", "libblkid1", "libc-bin",
    "libc6", "libcap-ng0", "libcrypt1", "libgcc-s1", "libgmp10", "libmount1", "libpcre2-8-0",
    "libselinux1", "libsmartcols1", "libtinfo6", "libudev1", "libuuid1", "mawk", "mount",
    "ncurses-base", "sed", "tar", "util-linux", "zlib1g",
)  # fmt: skip
# They need PAM, systemd or debconf, which would double the image.
_BASE_WITHOUT = ("usr/bin/su", "usr/sbin/runuser", "usr/bin/lslogins", "usr/sbin/update-passwd")
_NGINX = ("nginx", "nginx-common", "libatomic1", "libssl3")

_NGINX_SITE = """\
# One site, as the official image has it. Without IPv6: a board may have none.
server {
    listen 80;
    server_name localhost;
    location / {
        root /usr/share/nginx/html;
        index index.html;
    }
}
"""


@dataclass(frozen=True, slots=True)
class LayerRecipe:
    """A layer: the packages it is made of and the function that makes it from their files."""

    packages: tuple[str, ...]
    make: Callable[[list[Path]], Tree]


@dataclass(frozen=True, slots=True)
class Recipe:
    """An image: its layers from the lowest up, and the defaults it runs with."""

    repository: str
    tag: str
    layers: tuple[LayerRecipe, ...]
    config: Mapping[str, Any]

    @property
    def packages(self) -> tuple[str, ...]:
        return tuple(name for layer in self.layers for name in layer.packages)


def busybox(packages: list[Path]) -> Tree:
    """A root with busybox and its applets as hard links, as the official image has it."""
    unpacked = deb.unpack(packages)
    program = unpacked.read("usr/bin/busybox")
    tree = Tree(unpacked.mtime)
    tree.file("bin/busybox", program, 0o755)
    for applet in applets(program):
        if applet != "busybox":
            tree.hardlink(f"bin/{applet}", "bin/busybox")
    tree.symlink("usr/bin/env", "../../bin/env")
    tree.directory("root", 0o700)
    tree.directory("tmp", 0o1777)
    tree.directory("var/www")
    tree.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n")  # fmt: skip
    tree.file("etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n")
    tree.file("etc/shadow", "root:*:::::::\nnobody:*:::::::\n", 0o640)
    tree.file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    return tree


def applets(program: bytes) -> list[str]:
    """The applets of a busybox, read from its sorted name table: it may be for another processor."""
    at = program.find(b"\0[\0[[\0") + 1
    names: list[str] = []
    while at:
        name = program[at : program.index(b"\0", at)].decode("latin-1")
        if not re.fullmatch(r"[a-z0-9_.\[-]+", name) or (names and name <= names[-1]):
            break
        names.append(name)
        at += len(name) + 1
    if "sh" not in names:
        raise PinnaceError("this busybox has no table of applets that we can read")
    return names


def debian(packages: list[Path]) -> Tree:
    """A small Debian root, with by hand what the maintainer scripts of its packages would do."""
    tree = deb.unpack(packages)
    deb.link_merged_directories(tree)
    for name in ("passwd", "group"):
        tree.file(f"etc/{name}", tree.read(f"usr/share/base-passwd/{name}.master"))
    tree.file("etc/shadow", "root:*:::::::\n", 0o640)
    tree.file("etc/nsswitch.conf", tree.read("usr/share/libc-bin/nsswitch.conf"))
    tree.file("etc/profile", tree.read("usr/share/base-files/profile"))
    tree.file("root/.bashrc", tree.read("usr/share/base-files/dot.bashrc"))
    tree.symlink("usr/bin/awk", "mawk")
    tree.symlink("usr/bin/sh", "dash")
    for path in _BASE_WITHOUT:
        tree.remove(path)
    return tree


def nginx(packages: list[Path]) -> Tree:
    """nginx over the base; it writes its logs to the container's output."""
    tree = deb.unpack(packages)
    for log, stream in (("access", "stdout"), ("error", "stderr")):
        tree.symlink(f"var/log/nginx/{log}.log", f"/dev/{stream}")
    tree.directory("var/lib/nginx")
    return tree


def nginx_site(_: list[Path]) -> Tree:
    """The default site and page, a layer of their own."""
    tree = Tree(mtime=1)
    tree.file("etc/nginx/conf.d/default.conf", _NGINX_SITE)
    return tree


_DEBIAN = LayerRecipe(_BASE, debian)

RECIPES = (
    Recipe(
        "library/busybox",
        "latest",
        (LayerRecipe(("busybox-static",), busybox),),
        {"Env": [PATH], "Cmd": ["sh"]},
    ),
    Recipe("library/debian", SUITE, (_DEBIAN,), {"Env": [PATH], "Cmd": ["bash"]}),
    Recipe(
        "library/nginx",
        "latest",
        (_DEBIAN, LayerRecipe(_NGINX, nginx), LayerRecipe((), nginx_site)),
        {
            "Env": [PATH],
            "Cmd": ["nginx", "-g", "daemon off;"],
            "ExposedPorts": {"80/tcp": {}},
            "StopSignal": "SIGQUIT",
        },
    ),
)
