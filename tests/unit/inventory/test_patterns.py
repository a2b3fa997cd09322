"""Host patterns, as Ansible documents them."""

from __future__ import annotations

import pytest

from toolkit.errors import UsageError
from toolkit.inventory.parser import parse
from toolkit.inventory.patterns import select

INVENTORY = parse(
    "[web]\nw1\nw2\nw3\n[db]\nd1\nw3\n[staging]\nw1\nd1\n[six]\n2001:db8::1\n", "inv.ini"
)


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("w1", "w1"),
        ("web", "w1 w2 w3"),
        ("web:db", "w1 w2 w3 d1"),
        ("web,db", "w1 w2 w3 d1"),
        ("web, d1", "w1 w2 w3 d1"),
        ("web:!staging", "w2 w3"),
        ("!staging:web", "w2 w3"),
        ("web:&staging", "w1"),
        ("web:db:&staging:!d1", "w1"),
        ("!web", "d1 2001:db8::1"),
        ("&db", "w3 d1"),
        ("w*", "w1 w2 w3"),
        ("~w[12]", "w1 w2"),
        ("~(w|d)1", "w1 d1"),
        ("web[0]", "w1"),
        ("web[-1]", "w3"),
        ("web[0:1]", "w1 w2"),
        ("web[1:]", "w2 w3"),
        ("2001:db8::1", "2001:db8::1"),
        ("all", "w1 w2 w3 d1 2001:db8::1"),
    ],
)
def test_pattern(pattern: str, hosts: str) -> None:
    assert select(INVENTORY, pattern) == hosts.split()


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("wbe", "did you mean 'web'?"),
        ("nothing-like-it", "hosts there: w1"),
        ("web[7]", "web has 3 hosts"),
        ("web:!web", "leaves no host"),
        ("x*", "leaves no host"),
        ("~w(", "not a regular expression"),
        ("", "is not a host pattern"),
        ("web:!", "is not a host pattern"),
    ],
)
def test_a_pattern_that_names_nothing_is_an_error(pattern: str, message: str) -> None:
    with pytest.raises(UsageError) as problem:
        select(INVENTORY, pattern)
    assert message in str(problem.value)
