"""Debian packages laid out as a root, from small packages made here."""

import io
import lzma
import tarfile
from pathlib import Path

import pytest

from toolkit.errors import PinnaceError
from toolkit.lab import deb


def _package(path: Path, files: dict[str, str], links: dict[str, str] | None = None) -> Path:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.mtime, info.mode = len(content), 100, 0o4755
            info.uid, info.uname = 33, "www-data"
            archive.addfile(info, io.BytesIO(content.encode()))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(f"./{name}")
            info.type, info.linkname = tarfile.LNKTYPE, f"./{target}"
            archive.addfile(info)
    parts = [("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", lzma.compress(buffer.getvalue()))]  # fmt: skip
    packed = b"!<arch>\n"
    for name, data in parts:
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n"
        packed += header.encode() + data + b"\n" * (len(data) % 2)
    path.write_bytes(packed)
    return path


def test_old_directories_become_links_into_usr(tmp_path: Path) -> None:
    tree = deb.unpack([_package(tmp_path / "a.deb", {"bin/cat": "cat", "lib/ld.so": "ld"})])
    deb.link_merged_directories(tree)
    assert tree.read("usr/bin/cat") == b"cat"
    assert {"bin", "lib", "usr/lib/ld.so"} <= set(tree)
    assert "sbin" not in tree


def test_hard_links_follow_their_target(tmp_path: Path) -> None:
    package = _package(tmp_path / "a.deb", {"bin/perl": "p"}, {"bin/perl5": "bin/perl"})
    with tarfile.open(fileobj=io.BytesIO(deb.unpack([package]).tar())) as archive:
        assert archive.getmember("usr/bin/perl5").linkname == "usr/bin/perl"


def test_owners_and_special_modes_survive(tmp_path: Path) -> None:
    tree = deb.unpack([_package(tmp_path / "a.deb", {"usr/bin/mount": "m"})])
    with tarfile.open(fileobj=io.BytesIO(tree.tar())) as archive:
        mount = archive.getmember("usr/bin/mount")
    assert (mount.uid, mount.uname, mount.mode, mount.mtime) == (33, "", 0o4755, 100)


def test_documentation_is_left_out_but_not_the_licence(tmp_path: Path) -> None:
    files = {"usr/share/doc/x/copyright": "c", "usr/share/doc/x/NEWS": "n", "usr/share/man/man1/x.1": "m"}  # fmt: skip
    tree = deb.unpack([_package(tmp_path / "a.deb", files)])
    assert [path for path in tree if path.endswith(("copyright", "NEWS", "x.1"))] == [
        "usr/share/doc/x/copyright"
    ]


def test_a_file_that_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "x.deb").write_bytes(b"PK")
    with pytest.raises(PinnaceError, match="not a Debian package"):
        deb.unpack([tmp_path / "x.deb"])
