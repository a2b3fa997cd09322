"""The stories leave no command out."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from pinnace.cli.ctr import APP
from pinnace.cli.options import Command
from tests.conformance.matrix.stories import STORIES


def _leaves(command: Command, *above: str) -> Iterator[tuple[str, ...]]:
    """The path of every command below, each part by its proper name."""
    for each in command.commands:
        if each.commands:
            yield from _leaves(each, *above, each.name)
        else:
            yield (*above, each.name)


def _path(words: str) -> tuple[str, ...]:
    """The proper names of the commands in a row."""
    command, found = APP, []
    for word in shlex.split(words):
        known = [it for it in command.commands if word in (it.name, *it.aliases)]
        if known:
            (command,) = known
            found.append(command.name)
    return tuple(found)


def test_every_command_is_in_a_story() -> None:
    told = {_path(row.words) for rows in STORIES.values() for row in rows}
    assert not set(_leaves(APP)) - told
