"""Which board a test runs on, and why it does not run on another: pure decisions about facts.

A test wishes (``@pytest.mark.board(arch="armv6l")``) and needs (``@pytest.mark.requires("seccomp")``). The boards
are those that the person chose, or else all that this machine can run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.arch import Arch
from toolkit.boards import capability
from toolkit.errors import UsageError

TIERS = ("native", "user", "system")
"""From the quickest to the truest; the quickest that fits is taken."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is decided by: a board's name and kind. ``obstacle`` says why this machine cannot run it.

    ``machine`` is what exported images are for that it can be made from.
    """

    name: str
    arch: str
    tier: str
    image: str
    shows: frozenset[str]
    obstacle: str = ""
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a test says of its board; empty where it does not mind.

    ``folder`` is an exported image, and ``machine`` what that is for.
    """

    arch: str = ""
    tier: str = ""
    image: str = ""
    needs: frozenset[str] = frozenset()
    folder: str = ""
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A board for a test, or with ``reason`` one that it cannot run on; no board has an empty name.

    ``folder`` is the exported image that it is made from; empty: Debian as it comes.
    """

    board: str
    reason: str = ""
    folder: str = ""


def wish(
    marks: Iterable[Mapping[str, Any]],
    needs: Iterable[str],
    machine_of: Callable[[str], tuple[str, str]] = lambda path: (path, ""),
) -> Wish:
    """The wish of a test from its marks, the nearest first; raises :class:`UsageError` for unknown words.

    ``machine_of`` tells for the path of an exported image its folder and what machine it is for.
    """
    said: dict[str, str] = {}
    for mark in marks:
        for key, value in mark.items():
            if key not in ("arch", "tier", "image"):
                raise UsageError(f"a board has no {key!r}", hint="board(arch=, tier=, image=)")
            said.setdefault(key, str(value))
    if "arch" in said:
        said["arch"] = Arch.parse_list(said["arch"])[0].label
    if "tier" in said and said["tier"] not in TIERS:
        raise UsageError(f"no tier {said['tier']!r}", hint=f"one of: {', '.join(TIERS)}")
    if "/" in said.get("image", ""):
        said["folder"], said["machine"] = machine_of(said.pop("image"))
    return Wish(**said, needs=capability.checked(frozenset(needs)))


def choices(wished: Wish, boards: Sequence[Facts], *, everywhere: bool) -> list[Choice]:
    """Where a test runs.

    ``everywhere``: on each of ``boards``, with the reason where it cannot. Otherwise on the one that fits and is
    quickest; when there is none, on no board, with all reasons.
    """
    judged = [Choice(each.name, unfit(each, wished), wished.folder) for each in boards]
    if everywhere:
        return judged or [Choice("", "no board was chosen")]
    order = {each.name: TIERS.index(each.tier) for each in boards}
    fitting = sorted(
        (choice for choice in judged if not choice.reason), key=lambda choice: order[choice.board]
    )
    if fitting:
        return fitting[:1]
    # The nearest misses say most: a board of another processor was never meant.
    near = [each for each in boards if not wished.arch or each.arch == wished.arch] or boards
    return [Choice("", "; ".join(dict.fromkeys(unfit(each, wished) for each in near)))]


def unfit(board: Facts, wished: Wish) -> str:
    """Why a test cannot run on a board; empty when it can."""
    for what, has, wants in (
        ("", board.arch, wished.arch),
        ("of tier ", board.tier, wished.tier),
        ("", board.image, wished.image),
    ):
        if wants and wants != has:
            return f"{board.name} is {what}{has}, not {wants}"
    if wished.folder and wished.machine != board.machine:
        return f"{board.name} cannot be made from {wished.folder}, an image of sys-{wished.machine}"
    missing = sorted(wished.needs - board.shows)
    if missing:
        return f"{board.name} cannot show {', '.join(missing)}"
    return board.obstacle and f"{board.name} {board.obstacle}"
