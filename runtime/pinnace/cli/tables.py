"""Aligned columns, laid out as Go's ``text/tabwriter`` does, so that scripts parse ours the same way.

A cell ends with a tab; what follows a line's last tab is not part of a column. A column is as wide as
its widest cell in a run of lines that have it, plus padding. (Rules: pkg.go.dev/text/tabwriter.)
"""

from __future__ import annotations

from collections.abc import Sequence


def tabulate(lines: Sequence[str], *, minimum: int, padding: int) -> str:
    """``lines`` with their tabs expanded, each ended by a newline.

    Args:
        minimum: the smallest width of a column.
        padding: spaces added to the widest cell.
    """
    rows = [line.split("\t") for line in lines]
    padded = [list(row) for row in rows]
    for column in range(max((len(row) for row in rows), default=0)):
        start = 0
        while start < len(rows):
            end = start
            while end < len(rows) and len(rows[end]) - 1 > column:
                end += 1
            if end > start:
                widest = max(len(row[column]) for row in rows[start:end])
                width = max(minimum, widest + padding)
                for row in padded[start:end]:
                    row[column] = row[column].ljust(width)
            start = end + 1
    return "".join("".join(row) + "\n" for row in padded)


def tabulate_with_tabs(lines: Sequence[str]) -> str:
    """``lines`` aligned by tabs of eight columns instead of spaces, ready for cut(1)."""
    rows = [line.split("\t") for line in lines]
    columns = max((len(row) for row in rows), default=0) - 1
    widths = [
        max(-(-len(row[column]) // 8) for row in rows if len(row) > column + 1)
        for column in range(columns)
    ]
    return "".join(_tabbed(row, widths) + "\n" for row in rows)


def _tabbed(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = zip(row, widths, strict=False)
    start = "".join(cell + "\t" * (width - len(cell) // 8) for cell, width in cells)
    return start + "".join(row[len(widths) :])


def size(count: int) -> str:
    """Bytes for people, as containerd prints them: ``1005.1 KiB``."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if amount < 1024 or unit == "PiB":
            break
        amount /= 1024
    return f"{amount:.1f} {unit}"


def decimal_size(count: int) -> str:
    """Bytes in powers of a thousand with four digits, as ``ctr content list`` has them: ``1.028MB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.4g}{unit}"
