"""Device trees are read and written as the specification says, and anything else is refused."""

from __future__ import annotations

import struct

import pytest

from toolkit.boards.system import fdt
from toolkit.boards.system.fdt import Node, Tree
from toolkit.errors import PinnaceError

# Written by hand from the specification's chapter 5: one property, one child with a NOP before its end.
_STRUCTURE = (
    struct.pack(">I4s", 1, b"")
    + struct.pack(">III8s", 3, 6, 0, b"acme,x\0\0")
    + struct.pack(">I8s", 1, b"cpu@0\0\0\0")
    + struct.pack(">III4s", 3, 4, 11, b"\0\0\0\x07")
    + struct.pack(">III", 4, 2, 2)
    + struct.pack(">I", 9)
)
_STRINGS = b"compatible\0reg\0"


def flattened(
    structure: bytes = _STRUCTURE, *, magic: int = 0xD00DFEED, version: int = 17
) -> bytes:
    reserved = struct.pack(">4Q", 0x1000, 0x2000, 0, 0)
    begin = 40 + len(reserved)
    strings = begin + len(structure)
    sizes = (len(_STRINGS), len(structure))
    header = (magic, strings + len(_STRINGS), begin, strings, 40, version, 16, 3, *sizes)
    return struct.pack(">10I", *header) + reserved + structure + _STRINGS


def test_a_tree_is_read() -> None:
    tree = fdt.parse(flattened())
    assert tree.reserved == ((0x1000, 0x2000),)
    assert tree.boot_cpu == 3
    assert tree.root.properties == {"compatible": b"acme,x"}
    assert tree.node("/cpu@0").cells("reg") == (7,)


def test_what_is_written_is_read_the_same() -> None:
    deep = Node({"name": b"odd"}, {"a@1": Node({"empty": b"", "reg": b"\0\0\0\1"}), "b": Node()})
    tree = Tree(Node({"#size-cells": b"\0\0\0\0"}, {"soc": deep}), ((1, 2), (3, 4)), 1)
    assert fdt.parse(fdt.dump(tree)) == tree


def test_properties_are_cells_and_strings() -> None:
    node = Node()
    node.set_cells("reg", 0x7E100000, 0x114)
    node.set_strings("compatible", "brcm,bcm2835-pm", "brcm,bcm2835-pm-wdt")
    assert node.properties["reg"] == b"\x7e\x10\0\0\0\0\x01\x14"
    assert node.strings("compatible") == ["brcm,bcm2835-pm", "brcm,bcm2835-pm-wdt"]
    assert (node.cells("absent"), node.strings("absent")) == ((), [])


def test_nodes_are_found_by_what_they_are_compatible_with() -> None:
    one, two = Node({"compatible": b"x\0y\0"}), Node({"compatible": b"y\0"})
    tree = Tree(Node(children={"one": one, "two": two}))
    assert tree.compatible("x") is one
    assert tree.all_compatible("y") == [one, two]
    with pytest.raises(PinnaceError, match="2 nodes compatible with y"):
        tree.compatible("y")
    with pytest.raises(PinnaceError, match="no node /three"):
        tree.node("/three")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a tree at all, though long enough for a header of ten words",
        flattened(magic=0xD00DFEEE),
        flattened(version=3),
        flattened(_STRUCTURE[:-8] + struct.pack(">I", 9)),  # the root is not closed
        flattened(_STRUCTURE[:20]),
        flattened(_STRUCTURE[:-4]),
        flattened()[:-1],
    ],
)
def test_a_damaged_tree_is_refused(data: bytes) -> None:
    with pytest.raises(PinnaceError, match="damaged"):
        fdt.parse(data)
