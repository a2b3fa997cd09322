"""Content digests: ``algorithm:hex``, the names that content goes by.

Promise: a :class:`Digest` is always well formed (OCI image spec, "Descriptor", section "Digests"),
so it may be used in a path. sha256 and sha512 are the registered algorithms.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Hasher(Protocol):
        """What hashlib's objects have in common."""

        def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
        def hexdigest(self) -> str: ...


_FORM = re.compile(r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})\Z")
_ALGORITHMS: dict[str, Callable[[], Hasher]] = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}


class Digest(str):
    """A digest whose form was checked; compares and hashes as the text it is."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Raise InvalidArgument unless *text* is a sha256 or sha512 digest in lower case."""
        if isinstance(text, cls):
            return text
        if not isinstance(text, str) or not _FORM.match(text):
            raise InvalidArgument(f"invalid digest {str(text)[:160]!r}", hint=_why(str(text)))
        return cls(text)

    @property
    def algorithm(self) -> str:
        """``sha256`` or ``sha512``."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The part behind the colon."""
        return self.partition(":")[2]

    def hasher(self) -> Hasher:
        """A fresh hash object of this digest's algorithm."""
        return _ALGORITHMS[self.algorithm]()

    def verify(self, data: bytes) -> bool:
        """Whether *data* is what this digest names."""
        hasher = self.hasher()
        hasher.update(data)
        return hasher.hexdigest() == self.hex


parse = Digest.parse


def sha256(data: bytes) -> Digest:
    """The sha256 digest of *data*."""
    return of(hashlib.sha256(data))


def sha512(data: bytes) -> Digest:
    """The sha512 digest of *data*."""
    return of(hashlib.sha512(data), "sha512")


def of(hasher: Hasher, algorithm: str = "sha256") -> Digest:
    """The digest of what was fed to *hasher*."""
    return Digest(f"{algorithm}:{hasher.hexdigest()}")


def hasher_for(algorithm: str) -> Hasher:
    """A fresh hash object; raises InvalidArgument for an unsupported *algorithm*."""
    make = _ALGORITHMS.get(algorithm)
    if make is None:
        raise InvalidArgument(f"unsupported digest algorithm {algorithm[:40]!r}")
    return make()


def _why(text: str) -> str:
    algorithm, colon, value = text.partition(":")
    if not colon:
        return "a digest is written algorithm:hex, as in sha256:..."
    if algorithm not in _ALGORITHMS:
        return "only sha256 and sha512 are supported"
    size = 64 if algorithm == "sha256" else 128
    if len(value) != size:
        return f"{algorithm} has {size} hexadecimal digits, not {len(value)}"
    return "hexadecimal digits are lower case"
