"""What every invoke task shares: errors become one line and an exit code."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from invoke.exceptions import Exit
from invoke.parser.argument import Argument
from invoke.parser.context import to_flag
from invoke.tasks import Task
from invoke.tasks import task as invoke_task

from toolkit import console
from toolkit.errors import PinnaceError
from toolkit.secrets import mask

F = TypeVar("F", bound=Callable[..., Any])


class _WordsTask(Task[Any]):
    """A task whose positional words may be left out: invoke demands every word, or takes none."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        arguments = super().get_arguments(ignore_unknown_help)
        valued = {to_flag(name) for one in arguments if one.takes_value for name in one.names}
        given = _words_behind(self.name, valued)
        for number, one in enumerate([one for one in arguments if one.positional]):
            # What is not there must not be demanded: it would take `--help` for the word.
            one.positional = number < given
            if one.positional:
                # A default would keep the word from being taken.
                one.default = one._value = None
        return arguments


def _words_behind(name: str, valued: set[str]) -> int:
    """How many words stand behind the task's name that are no flags, nor the values of one of ``valued``."""
    behind = sys.argv[sys.argv.index(name) + 1 :] if name in sys.argv else []
    if "--" in behind:
        behind = behind[: behind.index("--")]
    pairs = zip(["", *behind], behind, strict=False)
    return sum(not word.startswith("-") and before not in valued for before, word in pairs)


class _LetterTask(Task[Any]):
    """A task with a flag that has a letter, too: ``--output`` and ``-o``."""

    letters: dict[str, str]

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        arguments = super().get_arguments(ignore_unknown_help)
        for one in arguments:
            if one.name in self.letters:
                one.names = (*one.names, self.letters[one.name])
        return arguments


def task(
    *,
    letters: dict[str, str] | None = None,
    **options: Any,
) -> Callable[[F], Any]:
    """``invoke.task`` that shows a :class:`PinnaceError` as one line and exits with its code.

    A task returns an exit status (``int``) or ``None``. Its ``positional`` words have defaults and may be left
    out (``./inv bench``, ``./inv board list``). ``letters``: flags that have a letter, too.
    """
    if "positional" in options:
        options["klass"] = _WordsTask
    if letters:
        options["klass"] = type("LetterTask", (_LetterTask,), {"letters": letters})

    # Letters that invoke would pick by itself: -h for --health-time, and even "--" for --accept-new.
    options["auto_shortflags"] = False

    def decorate(function: F) -> Any:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            mask.in_tracebacks()
            try:
                status = function(*args, **kwargs)
            except PinnaceError as problem:
                console.error(problem)
                raise Exit(code=problem.exit_code) from None
            except KeyboardInterrupt:
                console.note("interrupted")
                raise Exit(code=130) from None
            except BrokenPipeError:
                # The reader of our output went away (`| head`): not an error of ours.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise Exit(code=141) from None
            if status:
                raise Exit(code=status)

        return invoke_task(**options)(run)

    return decorate


def remainder() -> list[str]:
    """The words behind ``--`` on the command line: invoke parses them off but hands them to nobody."""
    return sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []


def assume_yes(flag: bool) -> bool:
    """Whether questions are answered with yes: ``--yes``, or ``CI=true``."""
    return flag or os.environ.get("CI") == "true"


def words(text: str) -> tuple[str, ...]:
    """A flag's list: ``a,b`` (spaces and empty words do not count)."""
    return tuple(word.strip() for word in text.split(",") if word.strip())
