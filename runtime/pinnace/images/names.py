"""Further names for images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.errors import AlreadyExists
from pinnace.store.images import Image

if TYPE_CHECKING:
    from pinnace.store.store import Store


def tag(store: Store, namespace: str, source: str, target: str, *, force: bool = False) -> Image:
    """Let *target* mean what *source* means; raises NotFound, AlreadyExists without *force*."""
    with store.db.transaction():
        found = store.images.get(namespace, source)
        image = Image(target, found.target, found.labels)
        try:
            return store.images.create(namespace, image)
        except AlreadyExists:
            if not force:
                raise
            return store.images.update(namespace, image)
