"""What every invoke task shares: errors become one line and an exit code."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from invoke.exceptions import Exit
from invoke.tasks import task as invoke_task

from toolkit import console
from toolkit.errors import PinnaceError

F = TypeVar("F", bound=Callable[..., Any])


def task(**options: Any) -> Callable[[F], Any]:
    """``invoke.task`` that shows a :class:`PinnaceError` as one line and exits with its code.

    A task returns an exit status (``int``) or ``None``.
    """

    def decorate(function: F) -> Any:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
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
