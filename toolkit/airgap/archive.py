"""The file: a signed index, and contents by digest.

    index.json               which plan for which host, the size of every content
    index.json.sig           its signature
    blobs/sha256/<digest>    plans, releases, images, packages, files

Members are sorted and have no owner and no time: equal contents give equal bytes. Nothing of a file is ever
unpacked: members are looked up by name, and one that is not a plain file of these names is an error.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.paths import give_to_user
from toolkit.resources import Content

INDEX = "index.json"
SIGNATURE = "index.json.sig"
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_CHUNK = 1 << 18
_LARGEST = 16 << 20
"""Bytes of an index."""

Advance = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Slice(Content):
    """A content inside a file: ``source`` is the file."""

    at: int
    length: int
    name: str

    def chunks(self) -> Iterator[bytes]:
        assert isinstance(self.source, Path)
        with self.source.open("rb") as file:
            file.seek(self.at)
            left = self.length
            while left and (chunk := file.read(min(_CHUNK, left))):
                left -= len(chunk)
                yield chunk

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks())

    @property
    def digest(self) -> str:
        return self.name

    @property
    def size(self) -> int:
        return self.length


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that is whole: every content is what the index says. Whose it is, boards decide."""

    text: str
    signature: str
    contents: Mapping[str, Content]

    @property
    def index(self) -> dict[str, Any]:
        return dict(json.loads(self.text))

    def plan_of(self, host: str) -> str:
        """The text of a host's plan; raises :class:`UsageError` when it is for others."""
        hosts = self.index["hosts"]
        if host not in hosts:
            raise UsageError(f"it has no plan for {host}", hint=f"it is for {', '.join(sorted(hosts))}")  # fmt: skip
        return self.contents[hosts[host]["plan"]].data.decode()


def write(
    path: Path, index: bytes, signature: str, contents: Mapping[str, Content], advance: Advance
) -> None:
    """Write the file, whole or not at all; ``advance`` is told bytes."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with tarfile.open(scratch, "w", format=tarfile.PAX_FORMAT) as tar:
            _add(tar, INDEX, io.BytesIO(index), len(index))
            _add(tar, SIGNATURE, io.BytesIO(signature.encode()), len(signature.encode()))
            for digest in sorted(contents):
                content = contents[digest]
                _add(tar, f"blobs/sha256/{digest}", _Checked(content, digest, advance), content.size)  # fmt: skip
        os.replace(scratch, path)
        give_to_user(path)
    except OSError as problem:
        raise UsageError(f"{path}: {problem.strerror or problem}") from problem
    finally:
        scratch.unlink(missing_ok=True)


def _add(tar: tarfile.TarFile, name: str, file: Any, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, 0
    tar.addfile(info, file)


class _Checked:
    """A content as a file to read, which has to be what it was when the index was made."""

    def __init__(self, content: Content, digest: str, advance: Advance) -> None:
        self._chunks = content.chunks()
        self._digest = digest
        self._state = hashlib.sha256()
        self._rest = b""
        self._left = content.size
        self._advance = advance

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (chunk := next(self._chunks, b"")):
            self._state.update(chunk)
            self._rest += chunk
        data, self._rest = self._rest[:size], self._rest[size:]
        self._left -= len(data)
        self._advance(len(data))
        if not self._left and self._state.hexdigest() != self._digest:
            raise UsageError(f"content {self._digest[:12]} changed while it was written", hint="run again")  # fmt: skip
        return data


def read(path: Path, advance: Advance) -> Opened:
    """Open and check a file; raises :class:`UsageError` for anything that :func:`write` does not write."""
    members = _members(path)
    for name in (INDEX, SIGNATURE):
        if name not in members:
            raise UsageError(
                f"{path} has no {name}: it is not one that `./inv bundle --limit` made"
            )
        if members[name].size > _LARGEST:
            raise UsageError(f"{path}: {name} is too large")
    text, signature = (members.pop(name).data for name in (INDEX, SIGNATURE))
    try:
        blobs = json.loads(text)["blobs"]
        wanted = {str(name): int(size) for name, size in blobs.items()}
        shown, signed = text.decode(), signature.decode("ascii")
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise UsageError(f"{path}: {INDEX} is damaged: {problem}") from None
    found = {match[1]: content for name, content in members.items() if (match := _BLOB.fullmatch(name))}  # fmt: skip
    missing = [name for name in wanted if name not in found]
    other = [name for name in found if found[name].size != wanted.get(name)]
    if missing or other:
        raise UsageError(f"{path} is not whole: {(missing or other)[0][:12]} is missing or of another size", hint="copy it again")  # fmt: skip
    for name, content in found.items():
        state = hashlib.sha256()
        for chunk in content.chunks():
            state.update(chunk)
            advance(len(chunk))
        if state.hexdigest() != name:
            raise UsageError(f"{path} is damaged or was altered: content {name[:12]}", hint="copy it again")  # fmt: skip
    return Opened(shown, signed, found)


def _members(path: Path) -> dict[str, Slice]:
    found: dict[str, Slice] = {}
    try:
        size = path.stat().st_size
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                if info.name not in (INDEX, SIGNATURE) and not _BLOB.fullmatch(info.name):
                    raise UsageError(f"{path} names a file that has no business there: {info.name}")
                if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.sparse is not None:
                    raise UsageError(f"{path}: {info.name} is no plain file")
                if info.name in found:
                    raise UsageError(f"{path} has {info.name} twice")
                if info.offset_data + info.size > size:
                    raise UsageError(f"{path} is cut off in {info.name}", hint="copy it again")
                found[info.name] = Slice(source=path, at=info.offset_data, length=info.size, name=info.name.rpartition("/")[2])  # fmt: skip
    except OSError as problem:
        raise UsageError(f"{path}: {problem.strerror or problem}") from None
    except tarfile.TarError as problem:
        raise UsageError(f"{path} is cut off or not a bundle: {problem}", hint="copy it again") from None  # fmt: skip
    return found
