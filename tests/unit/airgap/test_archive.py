"""The file of a fleet: the same bytes from the same contents, and nothing but what was written comes out."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.airgap import archive
from toolkit.errors import UsageError
from toolkit.resources import Content

Members = list[tuple[tarfile.TarInfo, bytes]]


def contents() -> dict[str, Content]:
    made = [Content(text) for text in (b"plan", b"x" * 70000)]
    return {content.digest: content for content in made}


def written(path: Path) -> Path:
    found = contents()
    index = json.dumps({"blobs": {digest: content.size for digest, content in found.items()}}).encode()  # fmt: skip
    archive.write(path, index, "signature", found, lambda _: None)
    return path


def read(path: Path) -> archive.Opened:
    return archive.read(path, lambda _: None)


def test_there_and_back(tmp_path: Path) -> None:
    opened = read(written(tmp_path / "a.tar"))
    assert opened.signature == "signature"
    assert {name: content.data for name, content in opened.contents.items()} == {name: content.data for name, content in contents().items()}  # fmt: skip
    assert written(tmp_path / "b.tar").read_bytes() == (tmp_path / "a.tar").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_contents_that_change_meanwhile(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"before")
    content = Content(file)
    digest = content.digest
    file.write_bytes(b"after!")
    with pytest.raises(UsageError, match="changed while"):
        archive.write(tmp_path / "a.tar", b"{}", "", {digest: content}, lambda _: None)
    assert not (tmp_path / "a.tar").exists()


def _members(path: Path) -> Members:
    with tarfile.open(path) as tar:
        return [(info, file.read() if (file := tar.extractfile(info)) else b"") for info in tar]


def _rewritten(path: Path, change: Callable[[Members], None]) -> Path:
    members = _members(path)
    change(members)
    with tarfile.open(path, "w") as tar:
        for info, data in members:
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))
    return path


def _named(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


BLOB = f"blobs/sha256/{hashlib.sha256(b'other').hexdigest()}"
ATTACKS: dict[str, tuple[Callable[[Members], None], str]] = {
    "a way out": (lambda m: m.append((_named("../../etc/passwd"), b"x")), "no business"),
    "a way out of blobs": (lambda m: m.append((_named("blobs/sha256/../../x"), b"x")), "no business"),
    "an absolute path": (lambda m: m.append((_named("/etc/passwd"), b"x")), "no business"),
    "a symbolic link": (lambda m: m.append((_named(BLOB, tarfile.SYMTYPE, "/etc/passwd"), b"")), "no plain file"),
    "a hard link": (lambda m: m.append((_named(BLOB, tarfile.LNKTYPE, "index.json"), b"")), "no plain file"),
    "a device": (lambda m: m.append((_named(BLOB, tarfile.CHRTYPE), b"")), "no plain file"),
    "an index that is a link": (lambda m: m.__setitem__(0, (_named("index.json", tarfile.SYMTYPE, "/etc/passwd"), b"")), "no plain file"),
    "one more content": (lambda m: m.append((_named(BLOB), b"other")), "not whole"),
    "a content less": (lambda m: m.__delitem__(2), "not whole"),
    "two contents swapped": (lambda m: m.__setitem__(slice(2, 4), [(m[2][0], m[3][1]), (m[3][0], m[2][1])]), "not whole"),
    "other content of the same size": (lambda m: m.__setitem__(-1, (m[-1][0], bytes(len(m[-1][1])))), "altered"),
    "an index twice": (lambda m: m.append(m[0]), "twice"),
    "no index": (lambda m: m.__delitem__(0), "no index.json"),
    "no signature": (lambda m: m.__delitem__(1), "no index.json.sig"),
    "an index that is none": (lambda m: m.__setitem__(0, (m[0][0], b"[]")), "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks(tmp_path: Path, attack: str) -> None:
    change, why = ATTACKS[attack]
    with pytest.raises(UsageError, match=why):
        read(_rewritten(written(tmp_path / "a.tar"), change))


def test_every_length_but_the_whole_is_refused(tmp_path: Path) -> None:
    data = written(tmp_path / "a.tar").read_bytes()
    cut = tmp_path / "cut.tar"
    for length in range(0, len(data) - 20480, 3001):
        cut.write_bytes(data[:length])
        with pytest.raises(UsageError, match=r"cut off|not whole|no index"):
            read(cut)


def test_something_else(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"hello" * 1000)
    for name, why in (("x", "not a bundle"), ("y", "No such file"), (".", "directory")):
        with pytest.raises(UsageError, match=why):
            read(tmp_path / name)
