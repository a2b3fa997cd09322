"""Trees become the same tar archive whatever the order in which they were filled."""

import gzip
import io
import tarfile

import pytest

from toolkit.tree import Tree, compress


def _members(tree: Tree) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(tree.tar())) as archive:
        return archive.getmembers()


def test_the_order_of_adding_does_not_matter() -> None:
    one, other = Tree(7), Tree(7)
    one.file("a/x", "1")
    one.symlink("b", "a")
    other.symlink("b", "a")
    other.file("a/x", b"1")
    assert one.tar() == other.tar()


def test_entries_are_owned_by_root_and_have_the_trees_time() -> None:
    tree = Tree(1234)
    tree.file("bin/tool", "x", 0o755)
    tool = _members(tree)[-1]
    assert (tool.uid, tool.gid, tool.uname, tool.mtime, tool.mode) == (0, 0, "", 1234, 0o755)


def test_parents_come_before_what_is_in_them() -> None:
    tree = Tree()
    tree.file("a/b/c", "")
    assert [member.name for member in _members(tree)] == ["a", "a/b", "a/b/c"]


def test_hard_links_come_after_their_target() -> None:
    tree = Tree()
    tree.file("bin/busybox", "x", 0o755)
    tree.hardlink("bin/[", "bin/busybox")
    last = _members(tree)[-1]
    assert (last.name, last.islnk(), last.linkname, last.mode) == (
        "bin/[", True, "bin/busybox", 0o755,
    )  # fmt: skip


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x"])
def test_paths_stay_inside(path: str) -> None:
    with pytest.raises(ValueError, match="inside"):
        Tree().file(path, "x")


def test_compressed_data_has_no_time_in_it() -> None:
    packed = compress(b"data")
    assert packed[4:8] == b"\0\0\0\0"
    assert gzip.decompress(packed) == b"data"
