"""The built-in pause image: imported at the first start, so that a board without network runs pods.

It takes the place of the default ``sandbox_image`` only; who names another one means that one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinnace.errors import NotFound
from pinnace.store.images import Image

if TYPE_CHECKING:
    from pinnace.store.store import Store

NAMESPACE = "k8s.io"
LABELS = {"io.cri-containerd.image": "managed", "io.cri-containerd.pinned": "pinned"}
"""What CRI's clients look for: an image of CRI's, which is never to be removed for space."""


def archive_path() -> str:
    """Where a release has the image; the file is absent when we do not run from a release."""
    here = os.path.dirname(os.path.abspath(__file__))
    return os.path.join(here, "..", "..", "..", "share", "pause.tar")


def ensure(store: Store, name: str, archive: str, snapshotter: str) -> bool:
    """Import ``archive`` as the image ``name`` unless there is one; whether it was imported.

    Raises what an import raises: a damaged archive, a full disk.
    """
    try:
        store.images.get(NAMESPACE, name)
    except NotFound:
        pass
    else:
        return False
    if not os.path.exists(archive):
        return False
    from pinnace.images.load import import_

    with open(archive, "rb") as file:
        found = import_(store, NAMESPACE, file, snapshotter=snapshotter, image_labels=LABELS)
    for image in found:
        store.images.put(NAMESPACE, Image(name, image.target, LABELS))
        if image.name != name:
            store.images.remove(NAMESPACE, image.name)
    return True
