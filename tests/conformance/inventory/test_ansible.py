"""What an inventory means here is what it means to Ansible, or the difference is listed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.inventory import cases
from tests.conformance.inventory.oracle import Ansible
from toolkit.errors import UsageError
from toolkit.inventory import parser, patterns, show

pytestmark = pytest.mark.peer

Case = str | Mapping[str, str]


@pytest.fixture(scope="module")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ansible]:
    with Ansible(tmp_path_factory.mktemp("oracle")) as found:
        yield found


def write(directory: Path, case: Case) -> Path:
    for name, text in ({"hosts": case} if isinstance(case, str) else case).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory / "hosts"


def plain(value: Any) -> Any:
    """As JSON has it: keys are text."""
    return json.loads(show.dump(value))


@pytest.mark.parametrize(
    "case",
    [*cases.VALUES, *cases.HOST_VALUES, *cases.LINES, *cases.RANGES, *cases.GROUPS, *cases.FILES],
    ids=repr,
)
def test_same_meaning(case: Case, ansible: Ansible, tmp_path: Path) -> None:
    path = write(tmp_path, case)
    inventory = parser.load(path)
    for export in (True, False):
        theirs = ansible.ask(path, export=export)
        assert not theirs.error
        assert plain(show.listing(inventory, export=export)) == theirs.listing
    ours = "\n".join(show.graph(inventory, variables=True))
    assert ours.splitlines() == theirs.graph


@pytest.mark.parametrize("case", cases.WRONG, ids=repr)
def test_both_refuse(case: Case, ansible: Ansible, tmp_path: Path) -> None:
    path = write(tmp_path, case)
    assert ansible.ask(path).error
    with pytest.raises(UsageError, match=r"(hosts|h\.yml):\d+:\d+: "):
        parser.load(path)


@pytest.mark.parametrize("why", cases.STRICTER)
def test_refused_here_only(why: str, ansible: Ansible, tmp_path: Path) -> None:
    path = write(tmp_path, cases.STRICTER[why])
    assert not ansible.ask(path).error
    with pytest.raises(UsageError, match=r":\d+:\d+: "):
        parser.load(path)


def test_text_that_is_no_template_is_only_text_here(ansible: Ansible, tmp_path: Path) -> None:
    """Ansible marks it in its JSON; nothing is a template here, so there is nothing to mark."""
    path = write(tmp_path, {"hosts": "h\n", "host_vars/h.yml": "a: !unsafe '{{ no }}'\n"})
    theirs = ansible.ask(path).listing["_meta"]["hostvars"]["h"]
    assert theirs == {"a": {"__ansible_unsafe": "{{ no }}"}}
    assert show.host(parser.load(path), "h") == {"a": "{{ no }}"}


@pytest.mark.parametrize("pattern", cases.PATTERNS)
def test_pattern_names_the_same_hosts(pattern: str, ansible: Ansible, tmp_path: Path) -> None:
    path = write(tmp_path, cases.PATTERNS_OF)
    theirs = ansible.ask(path, (pattern,))
    assert not theirs.error
    assert patterns.select(parser.load(path), pattern) == theirs.hosts[pattern]


_NAMES = st.sampled_from("abcdef")
_VALUES = st.sampled_from(["1", "text", "[1, 2]", "True", "'q'", "{'k': 1}"])
_HOST = st.builds(
    lambda name, variables: " ".join([f"host-{name}", *(f'{k}="{v}"' for k, v in variables)]),
    _NAMES,
    st.lists(st.tuples(_NAMES, _VALUES), max_size=3),
)


@st.composite
def inventories(draw: st.DrawFn) -> str:
    """Groups that contain only later ones (so never each other), with hosts and variables."""
    names = [f"g{letter}" for letter in "pqrstu"]
    lines = draw(st.lists(_HOST, max_size=2))
    for index, name in enumerate(names):
        lines += [f"[{name}]", *draw(st.lists(_HOST, max_size=3))]
        if draw(st.booleans()):
            lines += [f"[{name}:vars]"]
            lines += [f"{k}={v}" for k, v in draw(st.lists(st.tuples(_NAMES, _VALUES), max_size=3))]
            if draw(st.booleans()):
                lines.append(f"ansible_group_priority={draw(st.integers(1, 3))}")
        below = draw(st.lists(st.sampled_from(names[index + 1 :] or names[:1]), max_size=2))
        if below and index + 1 < len(names):
            lines += [f"[{name}:children]", *below]
    return "\n".join(lines) + "\n"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=inventories())
def test_generated_inventories(
    text: str, ansible: Ansible, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.mktemp("generated"), text)
    theirs = ansible.ask(path)
    assert not theirs.error
    assert plain(show.listing(parser.load(path))) == theirs.listing
