"""``./inv bundle``: build, and say what came out."""

from __future__ import annotations

from toolkit import console
from toolkit.arch import Arch
from toolkit.build.bundle import build


def run(*, arch: str, python: str) -> None:
    """Build the bundles asked for and print one row for each."""
    rows = []
    for each in Arch.parse_list(arch):
        with console.step(f"bundle for {each.label}, Python {python}") as step:
            made = build(each, python)
            step.detail = made.id
        rows.append([made.id, _kilobytes(made.size), _kilobytes(made.unpacked), str(made.path)])
    console.table(["id", "size", "unpacked", "path"], rows)


def _kilobytes(size: int) -> str:
    return f"{size / 1000:.0f} kB"
