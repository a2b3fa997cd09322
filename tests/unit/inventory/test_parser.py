"""Ansible's INI inventory, as its guide documents it, in small cases."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.errors import UsageError
from toolkit.inventory.model import Inventory
from toolkit.inventory.parser import parse, typed


def read(text: str) -> Inventory:
    return parse(text, "inv.ini")


def values(text: str, host: str) -> dict[str, Any]:
    return {name: variable.value for name, variable in read(text).variables(host).items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("-3", -3),
        ("1.5", 1.5),
        ("True", True),
        ("true", "true"),
        ("yes", "yes"),
        ("None", None),
        ("'quoted'", "quoted"),
        ("plain", "plain"),
        ("10.0.0.1", "10.0.0.1"),
        ("007", "007"),
        ("0o17", 15),
        ("[1, 'a']", [1, "a"]),
        ("{'a': [1]}", {"a": [1]}),
        ("[1, a]", "[1, a]"),
        ("/dev/ttyS0", "/dev/ttyS0"),
        ("a b", "a b"),
        ("", ""),
    ],
)
def test_values_are_python_literals_or_text(text: str, expected: Any) -> None:
    found = typed(text)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("line", "hosts"),
    [
        ("pi", ["pi"]),
        ("a[1:3]", ["a1", "a2", "a3"]),
        ("a[01:03]", ["a01", "a02", "a03"]),
        ("a[008:010]", ["a008", "a009", "a010"]),
        ("a[1:5:2]", ["a1", "a3", "a5"]),
        ("a[:2]", ["a0", "a1", "a2"]),
        ("db-[a:c].lan", ["db-a.lan", "db-b.lan", "db-c.lan"]),
        ("[a:b][1:2]", ["a1", "a2", "b1", "b2"]),
        ("[2001:db8::1]", ["2001:db8::1"]),
        ("2001:db8::1", ["2001:db8::1"]),
        ("pi # a comment", ["pi"]),
        ("pi:2222", ["pi"]),
    ],
)
def test_host_names(line: str, hosts: list[str]) -> None:
    # A first line that begins with a bracket would be a section.
    assert list(
        read(f"[g]\n{line}\n" if not line.startswith("[a") else f"[g]\nx{line}\n").hosts
    ) == [f"x{host}" if line.startswith("[a") else host for host in hosts]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("h a=1 b=two", {"a": 1, "b": "two"}),
        ("h a='x y'", {"a": "x y"}),
        ('h a="x=y"', {"a": "x=y"}),
        ("h:2222", {"ansible_port": 2222}),
        ("h[1:2]:23 a=1", None),
        ("[::1]:2022", None),
        ("h a=1 # b=2", {"a": 1}),
        (r"h a=\'1\'", {"a": "1"}),
    ],
)
def test_host_variables(line: str, expected: dict[str, Any] | None) -> None:
    inventory = read(line)
    first = next(iter(inventory.hosts))
    if expected is None:
        assert inventory.variables(first)["ansible_port"].value in (23, 2022)
    else:
        assert values(line, first) == expected


def test_group_variables_take_the_rest_of_the_line() -> None:
    text = "[g]\nh\n[g:vars]\na = x # not a comment\nb='quoted'\nc={'k': 'v w'}\n"
    assert values(text, "h") == {"a": "x # not a comment", "b": "quoted", "c": {"k": "v w"}}


def test_host_wins_over_child_over_parent_over_all() -> None:
    text = """
        h a=host
        [child]
        h
        [parent:children]
        child
        [all:vars]
        a=all
        b=all
        c=all
        d=all
        [parent:vars]
        b=parent
        c=parent
        a=parent
        [child:vars]
        c=child
        a=child
    """
    assert values(text, "h") == {"a": "host", "b": "parent", "c": "child", "d": "all"}


def test_groups_of_one_depth_go_by_name_and_priority() -> None:
    text = "[b]\nh\n[a]\nh\n[a:vars]\nv=a\n[b:vars]\nv=b\n"
    assert values(text, "h") == {"v": "b"}
    assert values(text + "[a:vars]\nansible_group_priority=10\n", "h") == {"v": "a"}


def test_members_keep_the_order_of_the_file_and_are_listed_once() -> None:
    inventory = read("z\n[a]\nx\ny\n[b]\ny\n[all_of:children]\na\nb\n")
    assert inventory.members("all_of") == ["x", "y"]
    assert inventory.members("all") == ["z", "x", "y"]
    assert inventory.members("ungrouped") == ["z"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a\n", "inv.ini:1:1: '[a' is not a section"),
        ("\n[a:kids]\n", "inv.ini:2:1: [a:kids] has an unknown type"),
        (
            "[a:vars]\nx=1\n",
            "inv.ini:1:1: [a:vars] sets variables of the group 'a', which is nowhere",
        ),
        ("[a:children]\nb\n", "inv.ini:2:1: [a:children] names the group 'b', which is nowhere"),
        ("[a]\nh\n[a:vars]\nx\n", "inv.ini:4:1: a line of [a:vars] is written name=value"),
        ("h x\n", "inv.ini:1:3: a host variable is written name=value, not 'x'"),
        ("h x='1\n", "inv.ini:1:1: the line cannot be split into words"),
        ("h[3:1]\n", "inv.ini:1:1: the range [3:1] is empty"),
        ("h[1:]\n", "inv.ini:1:1: the range [1:] has no end"),
        ("h[01:3]\n", "inv.ini:1:1: [01:3]: both ends of a padded range"),
        ("h[1:3:0]\n", "inv.ini:1:1: the step of [1:3:0]"),
        ("h[1:b]\n", "inv.ini:1:1: [1:b] mixes"),
        ("h[1]\n", "inv.ini:1:1: a range is written"),
        ("h[1:2\n", "inv.ini:1:1: 'h[1:2': a bracket is not closed"),
        ("h[1:99999999]\n", "inv.ini:1:1: [1:99999999] names more than 100000 hosts"),
        ("[a:children]\na\n", "inv.ini:2:1: group 'a' cannot be a child of 'a'"),
        ("[a:children]\nb\n[b:children]\na\n", "inv.ini:4:1: group 'a' cannot be a child of 'b'"),
    ],
)
def test_a_mistake_is_named_with_file_and_line(text: str, message: str) -> None:
    with pytest.raises(UsageError) as problem:
        read(text)
    assert problem.value.message.startswith(message)
