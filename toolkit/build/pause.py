"""The pause image: our own pause program for all four architectures, as a multi-arch OCI image.

A bundle carries it as an image layout, which the daemon imports at its first start, so that a board
without a network runs pods. It has the name that containerd's default configuration asks for.
"""

from __future__ import annotations

from collections.abc import Iterable

from toolkit import oci
from toolkit.arch import Arch
from toolkit.build import native
from toolkit.build.version import runtime_version
from toolkit.tree import Tree

NAME = "registry.k8s.io/pause:3.10.2"

_CREATED = 1735689600
"""2025-01-01: the image is the same as long as its program is."""
_CONFIG = {
    "Entrypoint": ["/pause"],
    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    "User": "65535:65535",
    "WorkingDir": "/",
}


def image(arch: Arch) -> oci.Image:
    """The image for one architecture, made of the cached helper."""
    tree = Tree(_CREATED)
    tree.file("pause", native.build("pause", arch, runtime_version()).read_bytes(), 0o755)
    layer = oci.layer(tree.tar())
    return oci.image(arch.facts.oci, [layer], _CONFIG, created=_CREATED)


def layout(architectures: Iterable[Arch] = Arch) -> bytes:
    """The image layout (tar) that a bundle carries in ``share/``."""
    return oci.layout([image(arch) for arch in architectures], NAME)
