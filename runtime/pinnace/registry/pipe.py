"""A registry for another program: questions as lines of JSON on standard input, answers on standard output.

What follows releases on a board, and the toolkit on a laptop, import nothing of this package; they start this
module and talk to it.

    {"do": "manifest", "reference": R}                               digest, mediaType, data (base64)
    {"do": "fetch", "reference": R, "digest": D, "size": N, "path": P}    the file P is new, and what D says
    {"do": "push", "reference": R, "mediaType": T, "path": P} or "data": base64    digest

An answer has ``error`` (and ``kind``, ``hint``) where it did not work. The words behind the module are
directories in the form of certs.d; ``--authfile FILE`` names the logins.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from pinnace.errors import DataLoss, InvalidArgument, described
from pinnace.registry import credentials
from pinnace.registry.resolver import Resolver
from pinnace.spec.digest import Digest
from pinnace.spec.image import Descriptor
from pinnace.spec.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHUNK = 1 << 18
_OCTETS = "application/octet-stream"


class Pipe:
    """Answers questions; keeps one resolver per repository, as logins are per repository."""

    def __init__(self, directories: Sequence[str], authfile: str = "") -> None:
        self._directories = directories
        self._files = [authfile] if authfile else []
        self._resolvers: dict[str, Resolver] = {}

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer; errors are in it."""
        verbs = {"manifest": self._manifest, "fetch": self._fetch, "push": self._push}
        try:
            verb = verbs.get(question.get("do", ""))
            if verb is None:
                raise InvalidArgument(f"there is no question {question.get('do')!r}")
            return verb(question)
        except Exception as problem:
            error = described(problem)
            kind = type(error).__name__
            return {"error": error.message, "kind": kind, "hint": error.hint or ""}

    def _resolver(self, reference: str) -> Resolver:
        ref = Reference.parse(reference).checked()
        if ref.locator not in self._resolvers:
            login = credentials.for_image(ref, self._files)
            self._resolvers[ref.locator] = Resolver(self._directories, credentials=login)
        return self._resolvers[ref.locator]

    def _manifest(self, question: dict[str, Any]) -> dict[str, Any]:
        reference = question["reference"]
        found, data = self._resolver(reference).manifest(reference)
        text = base64.b64encode(data).decode()
        return {"digest": str(found.digest), "mediaType": found.media_type, "data": text}

    def _fetch(self, question: dict[str, Any]) -> dict[str, Any]:
        reference, digest = question["reference"], Digest.parse(question["digest"])
        size, path = int(question["size"]), question["path"]
        descriptor = Descriptor(_OCTETS, digest, size)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path, flags, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                self._receive(reference, descriptor, file)
        except BaseException:
            os.unlink(path)
            raise
        return {}

    def _receive(self, reference: str, descriptor: Descriptor, file: io.BufferedWriter) -> None:
        """Into ``file``, no more than was announced; raises DataLoss unless it is what it should be."""
        hasher, arrived = descriptor.digest.hasher(), 0
        stream = self._resolver(reference).fetch(reference, descriptor)
        try:
            while chunk := stream.read(_CHUNK):
                arrived += len(chunk)
                if arrived > descriptor.size:
                    raise DataLoss(f"{descriptor.digest} is longer than its {descriptor.size} bytes")  # fmt: skip
                hasher.update(chunk)
                file.write(chunk)
        finally:
            stream.close()
        if hasher.hexdigest() != descriptor.digest.hex:
            raise DataLoss(f"the registry sent something else than {descriptor.digest}")

    def _push(self, question: dict[str, Any]) -> dict[str, Any]:
        reference, media_type = question["reference"], question.get("mediaType", _OCTETS)
        if "path" in question:
            path = question["path"]
            digest, size = _digest_of(path), os.path.getsize(path)
            self._resolver(reference).push(reference, Descriptor(media_type, digest, size), lambda: open(path, "rb"))  # noqa: SIM115  # fmt: skip
            return {"digest": str(digest), "size": size}
        data = base64.b64decode(question["data"])
        hasher = hashlib.sha256()
        hasher.update(data)
        digest = Digest.parse(f"sha256:{hasher.hexdigest()}")
        descriptor = Descriptor(media_type, digest, len(data))
        self._resolver(reference).push(reference, descriptor, lambda: io.BytesIO(data))
        return {"digest": str(digest), "size": len(data)}


def _digest_of(path: str) -> Digest:
    hasher = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
    return Digest.parse(f"sha256:{hasher.hexdigest()}")


def main(words: Sequence[str]) -> int:
    """Answer until the input ends."""
    directories, authfile = list(words), ""
    if "--authfile" in directories:
        at = directories.index("--authfile")
        authfile = directories[at + 1]
        del directories[at : at + 2]
    pipe = Pipe(directories, authfile)
    for line in sys.stdin:
        print(json.dumps(pipe.answer(json.loads(line))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
