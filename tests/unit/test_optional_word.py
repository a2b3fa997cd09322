"""Words of a task that may be left out: `./inv history`, `./inv board list`, `./inv board --help`."""

from __future__ import annotations

import pytest
from invoke.context import Context
from invoke.parser import Parser, ParserContext

from toolkit import cli


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("history", 0),
        ("history 2026", 1),
        ("history --limit 1", 0),
        ("history --limit=1", 0),
        ("history --json", 0),
        ("history --json 2026", 1),
        ("history --limit 1 2026", 1),
        ("history 2026 --json", 1),
        ("history start 2026 --json", 2),
        ("history start 2026 -- ls /", 2),
    ],
)
def test_the_value_of_a_flag_is_not_a_word(
    line: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["inv", *line.split()])
    assert cli._words_behind("history", {"--limit", "-l"}) == count


@cli.task(positional=["action", "name"])
def board(_: Context, action: str = "", name: str = "", cold: bool = False) -> None:
    """Something with two words."""


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("board", ("", "", False)),
        ("board list", ("list", "", False)),
        ("board start one", ("start", "one", False)),
        ("board --cold start one", ("start", "one", True)),
        ("board start --cold", ("start", "", True)),
    ],
)
def test_words_that_are_left_out_are_empty(
    line: str, values: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["inv", *line.split()])
    context = ParserContext(name="board", args=board.get_arguments())
    (parsed,) = Parser(contexts=[context]).parse_argv(line.split())
    assert tuple(parsed.args[name].value for name in ("action", "name", "cold")) == values
