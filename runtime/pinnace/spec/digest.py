"""Content digests: ``algorithm:hex``, the names that content goes by.

Promise: a :class:`Digest` is always well formed (OCI image spec, "Descriptor", section "Digests"),
so it may be used in a path. sha256 and sha512 are the registered algorithms.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from typing import TYPE_CHECKING, cast

from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Hasher(Protocol):
        """What hashlib's objects have in common."""

        def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
        def hexdigest(self) -> str: ...


_FORM = re.compile(r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})\Z")
_ALGORITHMS = ("sha256", "sha512")
_SMALL = 1 << 16
"""Bytes that Python's own code hashes as fast as a process that hashes nothing else can load OpenSSL: 1.4 MB of its memory."""
_LITTLE = 8 << 20
"""Bytes that a process has hashed in streams before it loads OpenSSL, which is eight times as fast on a PC: 35 ms of its life there."""


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
        return hasher_for(self.algorithm)

    def verify(self, data: bytes) -> bool:
        """Whether *data* is what this digest names."""
        hasher = self.hasher()
        hasher.update(data)
        return hasher.hexdigest() == self.hex


parse = Digest.parse


def sha256(data: bytes) -> Digest:
    """The sha256 digest of *data*."""
    if len(data) <= _SMALL:
        return of(_own_sha256()(data))
    hasher = hasher_for("sha256")
    hasher.update(data)
    return of(hasher)


def sha512(data: bytes) -> Digest:
    """The sha512 digest of *data*."""
    hasher = hasher_for("sha512")
    hasher.update(data)
    return of(hasher, "sha512")


def of(hasher: Hasher, algorithm: str = "sha256") -> Digest:
    """The digest of what was fed to *hasher*."""
    return Digest(f"{algorithm}:{hasher.hexdigest()}")


def hasher_for(algorithm: str) -> Hasher:
    """A fresh hash object; raises InvalidArgument for an unsupported *algorithm*."""
    if algorithm not in _ALGORITHMS:
        raise InvalidArgument(f"unsupported digest algorithm {algorithm[:40]!r}")
    if algorithm == "sha256" and _Sparing.total <= _LITTLE and "hashlib" not in sys.modules:
        return _Sparing()
    return _of_openssl(algorithm)


def _of_openssl(algorithm: str) -> Hasher:
    import hashlib

    return cast("Hasher", getattr(hashlib, algorithm)())


class _Sparing:
    """Python's own SHA-256, until the process has hashed so much that OpenSSL's is worth its memory."""

    __slots__ = ("_hasher", "_seen")
    total = 0
    """Bytes that all of them together have hashed; several threads may count a little less than all."""

    def __init__(self) -> None:
        self._hasher = _own_sha256()()
        self._seen: bytearray | None = bytearray()  # what OpenSSL's is to begin with

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        if self._seen is not None:
            self._seen += data
            _Sparing.total += len(data)
            if _Sparing.total > _LITTLE:
                data, self._seen = self._seen, None
                self._hasher = _of_openssl("sha256")
        self._hasher.update(data)

    def hexdigest(self) -> str:
        return self._hasher.hexdigest()


def _own_sha256() -> Callable[..., Hasher]:
    """The one that Python brings along, by the name of its release; hashlib has it where a build is without OpenSSL."""
    for name in ("_sha256", "_sha2", "hashlib"):  # until 3.11, from 3.12 on, anywhere
        try:
            return cast("Callable[..., Hasher]", import_module(name).sha256)
        except (ImportError, AttributeError):
            continue
    raise ImportError("this Python has no SHA-256")


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
