"""Runs on a board, beside no daemon: everything that its store says it has, checked against the bytes on its disk.

Prints JSON: what the store had to repair, blobs that are not what they are called, images and layers' digests.
"""

import contextlib
import hashlib
import json
import os
import stat
import sys
from pathlib import Path

sys.path.insert(0, "/opt/pinnace/current/lib")

from pinnace.store.store import Store

_ROOT = "/var/lib/pinnace"
_NAMESPACE = "default"


def tree_digest(top: str) -> str:
    """One digest of all names, modes, owners, links and contents under a directory."""
    found = hashlib.sha256()
    for folder, folders, names in os.walk(top):
        folders.sort()
        for name in sorted([*folders, *names]):
            path = os.path.join(folder, name)
            about = os.lstat(path)
            found.update(f"{os.path.relpath(path, top)} {about.st_mode:o} {about.st_uid}:{about.st_gid}\n".encode())  # fmt: skip
            if stat.S_ISLNK(about.st_mode):
                found.update(os.readlink(path).encode())
            elif stat.S_ISREG(about.st_mode):
                found.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return found.hexdigest()


def main() -> None:
    with contextlib.closing(Store(_ROOT)) as store:
        # A blob may belong to several, and to one that no test uses: the pause image's are CRI's.
        content = {
            info.digest for space in store.namespaces.list() for info in store.content.walk(space)
        }
        snapshotter = store.snapshotter()
        layers = {
            info.name: tree_digest(snapshotter.paths(_NAMESPACE, info.name)[0])
            for info in snapshotter.walk(_NAMESPACE)
            if info.kind == "committed"
        }
        told = {
            "notice": store.notice or "",
            "blobs": len(content),
            "bad": [str(digest) for digest in content if not store.content.blobs.verify(digest)],
            "images": [image.name for image in store.images.list(_NAMESPACE)],
            "layers": layers,
        }
    print(json.dumps(told))


main()
