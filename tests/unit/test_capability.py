"""What boards say they can show."""

from pathlib import Path

import pytest

from toolkit import boards
from toolkit.boards import capability, cgroups
from toolkit.errors import UsageError


def test_a_user_emulated_board_shows_nothing_that_qemu_user_lacks() -> None:
    board = boards.get("emu-armv6l")
    assert board.tier == "user"
    assert not board.shows & {capability.SECCOMP, capability.NETFILTER, capability.PTRACE}


def test_a_native_board_shows_what_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "os.uname", lambda: type("uname", (), {"machine": "x86_64", "release": "6"})
    )
    board = boards.get("emu-amd64")
    assert board.tier == "native"
    assert capability.SECCOMP in board.shows
    assert capability.POWER_CUT not in board.shows
    assert board.shows <= capability.MEANING.keys()


@pytest.mark.parametrize(
    ("controllers", "options", "words"),
    [
        ("cpu io memory pids", "", {"cgroup2", "memory-limit"}),
        ("hugetlb", "", set()),
        ("hugetlb", "memory", {"memory-limit"}),
        ("hugetlb", "cpu,cpuacct", set()),
    ],
)
def test_limits_are_shown_where_a_hierarchy_has_them(
    tmp_path: Path, controllers: str, options: str, words: set[str]
) -> None:
    (tmp_path / "cgroup.controllers").write_text(f"{controllers}\n")
    found = [cgroups.Hierarchy(tmp_path, "")]
    if options:
        found.append(cgroups.Hierarchy(tmp_path / "v1", options))
    assert cgroups.shown(found) == words


def test_a_word_that_no_board_shows_is_refused() -> None:
    assert capability.checked(frozenset({"seccomp"})) == {"seccomp"}
    with pytest.raises(UsageError, match="'telepathy'"):
        capability.checked(frozenset({"seccomp", "telepathy"}))
