"""What a person types: ``./inv --list``. Each task is a few lines over ``toolkit/``."""

from __future__ import annotations

from invoke.context import Context

from toolkit.cli import task


@task(
    help={
        "fast": "unit tests and linters only (under a minute, no root)",
        "only": "pytest expression (-k) to run a part",
    }
)
def test(_: Context, fast: bool = False, only: str = "", yes: bool = False) -> int:
    """Run the project's tests: linters, unit, property, conformance, emulated boards."""
    from toolkit import testing

    return testing.run(fast=fast, only=only, yes=yes)


@task()
def lock(_: Context) -> None:
    """Write the lock files in locks/ anew from their .in files."""
    from toolkit import testing

    testing.lock()
