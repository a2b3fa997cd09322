"""A registry, spoken to by the runtime's own client in a process of its own (``pinnace/registry/pipe.py``).

The agent has the standard library alone; the client is in the release that the board runs, or, on a
laptop, in the project.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_START = "import sys; sys.path.insert(0, {library!r}); from pinnace.registry.pipe import main; sys.exit(main(sys.argv[1:]))"


class RegistryError(Exception):
    """What the registry did not do; ``kind`` is the client's error (``NotFound``, ``Unavailable`` ...)."""

    def __init__(self, message: str, kind: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.hint = hint


class Registry:
    """A client; a context manager ends its process."""

    def __init__(self, library: str, directories: Sequence[str] = (), authfile: str = "") -> None:
        """``library``: where the package ``pinnace`` is; ``directories`` have a hosts.toml per registry."""
        # A release that is switched under a running client must not become half of it.
        library = os.path.realpath(library)
        words = [*directories, *(["--authfile", authfile] if authfile else [])]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", _START.format(library=library), *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._process.communicate()

    def manifest(self, reference: str) -> tuple[str, str, bytes]:
        """Digest, media type and text of the manifest that ``reference`` names."""
        found = self._ask(do="manifest", reference=reference)
        return found["digest"], found["mediaType"], base64.b64decode(found["data"])

    def fetch(self, reference: str, digest: str, size: int, path: str) -> None:
        """The blob in the new file ``path``, verified; ``size`` in bytes."""
        self._ask(do="fetch", reference=reference, digest=digest, size=size, path=path)

    def push_file(self, reference: str, path: str) -> None:
        """The file as a blob of the repository."""
        self._ask(do="push", reference=reference, path=path)

    def push(self, reference: str, data: bytes, media_type: str = "") -> str:
        """A blob, or with the ``media_type`` of one a manifest under its tag; its digest."""
        kind = {"mediaType": media_type} if media_type else {}
        text = base64.b64encode(data).decode()
        return str(self._ask(do="push", reference=reference, data=text, **kind)["digest"])

    def _ask(self, **question: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
            found = dict(json.loads(line)) if line else None
        except (OSError, ValueError):
            found = None
        if found is None:
            assert self._process.stderr is not None
            self._process.kill()
            said = self._process.stderr.read().strip().splitlines()
            raise RegistryError(f"the registry client ended: {said[-1] if said else 'no output'}")
        if "error" in found:
            raise RegistryError(found["error"], found["kind"], found["hint"])
        return found
