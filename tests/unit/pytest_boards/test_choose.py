"""Which board a test runs on, and what is said where it cannot."""

from __future__ import annotations

import pytest

from toolkit.errors import UsageError
from toolkit.pytest_boards.choose import Choice, Facts, Wish, choices, unfit, wish

USER = Facts("emu-armv6l", "armv6l", "user", "bookworm", frozenset())
NATIVE = Facts("emu-amd64", "amd64", "native", "trixie", frozenset({"seccomp"}))
SYSTEM = Facts("sys-armv6l", "armv6l", "system", "trixie", frozenset({"seccomp", "power-cut"}))
ALL = [SYSTEM, USER, NATIVE]


@pytest.mark.parametrize(
    ("wished", "board"),
    [
        (Wish(), "emu-amd64"),
        (Wish(arch="armv6l"), "emu-armv6l"),
        (Wish(arch="armv6l", image="trixie"), "sys-armv6l"),
        (Wish(tier="system"), "sys-armv6l"),
        (Wish(needs=frozenset({"seccomp"})), "emu-amd64"),
        (Wish(arch="armv6l", needs=frozenset({"seccomp"})), "sys-armv6l"),
    ],
)
def test_the_quickest_board_that_fits_is_taken(wished: Wish, board: str) -> None:
    assert choices(wished, ALL, everywhere=False) == [Choice(board)]


def test_on_chosen_boards_a_test_is_run_or_skipped_with_the_reason() -> None:
    wished = Wish(needs=frozenset({"power-cut"}))
    assert choices(wished, ALL, everywhere=True) == [
        Choice("sys-armv6l"),
        Choice("emu-armv6l", "emu-armv6l cannot show power-cut"),
        Choice("emu-amd64", "emu-amd64 cannot show power-cut"),
    ]


def test_without_a_fitting_board_the_near_misses_are_the_reason() -> None:
    wished = Wish(arch="armv6l", needs=frozenset({"seccomp"}))
    assert choices(wished, [USER, NATIVE], everywhere=False) == [
        Choice("", "emu-armv6l cannot show seccomp")
    ]
    assert choices(Wish(arch="arm64"), [USER], everywhere=False) == [
        Choice("", "emu-armv6l is armv6l, not arm64")
    ]


def test_what_this_machine_cannot_run_is_said() -> None:
    rootless = Facts("emu-arm64", "arm64", "user", "trixie", frozenset(), "needs root")
    assert unfit(rootless, Wish()) == "emu-arm64 needs root"


def test_the_nearest_mark_wins_and_needs_add_up() -> None:
    marks = [{"arch": "armv6l"}, {"arch": "aarch64", "tier": "user"}]
    assert wish(marks, ["seccomp", "bpf"]) == Wish(
        "armv6l", "user", "", frozenset({"seccomp", "bpf"})
    )
    assert wish([{"arch": "aarch64"}], []).arch == "arm64"


@pytest.mark.parametrize(
    ("mark", "needs", "said"),
    [
        ({"architecture": "arm64"}, [], "no 'architecture'"),
        ({"arch": "z80"}, [], "z80"),
        ({"tier": "fast"}, [], "'fast'"),
        ({}, ["telepathy"], "telepathy"),
    ],
)
def test_a_word_that_means_nothing_is_refused(
    mark: dict[str, str], needs: list[str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        wish([mark], needs)


BIG = Facts("sys-arm64", "arm64", "system", "trixie", frozenset(), machine="arm64")


def test_an_image_of_ones_own_is_told_by_its_slash_and_runs_on_its_machine_alone() -> None:
    wished = wish([{"image": "images/ready"}], [], lambda path: (f"/project/{path}", "arm64"))
    assert choices(wished, [*ALL, BIG], everywhere=False) == [
        Choice("sys-arm64", folder="/project/images/ready")
    ]
    said = choices(wished, ALL, everywhere=False)[0].reason
    assert "emu-amd64 cannot be made from /project/images/ready, an image of sys-arm64" in said


def test_a_release_is_no_path() -> None:
    assert wish([{"image": "trixie"}], []) == Wish(image="trixie")
