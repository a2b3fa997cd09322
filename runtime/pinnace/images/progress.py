"""What a pull, push, import or export tells while it works."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from pinnace.spec.image import Descriptor

    Report = Callable[["Progress"], None]
    """Called from several threads; must not raise."""

RESOLVING, RESOLVED = "resolving", "resolved"
WAITING, DOWNLOADING, COMPLETE, EXISTS = "waiting", "downloading", "complete", "already exists"
UPLOADING, UPLOADED = "uploading", "uploaded"
EXTRACTING, EXTRACTED = "extracting", "extracted"
SAVING, SAVED = "saving", "saved"
SAYING = "saying"
"""A sentence for people, in ``name``."""


class Progress(NamedTuple):
    """One step: what happens to which content (or to the image *name*), and how far it is."""

    event: str
    name: str
    offset: int = 0
    total: int = 0
    descriptor: Descriptor | None = None


def silent(_: Progress) -> None:
    """For those who do not want to know."""
