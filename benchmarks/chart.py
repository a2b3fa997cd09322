"""A bar chart as SVG: ours beside the peer's, each group on its own scale."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

_WIDTH = 720
_LEFT = 20
_BAR = 18
_GROUP = 86
_SPAN = 520  # pixels of the longest bar of a group
_OURS, _THEIRS, _TEXT = "#0b7285", "#adb5bd", "#343a40"


def bar_chart(groups: Sequence[tuple[str, float, float, str]], title: str) -> str:
    """The chart as a document.

    Args:
        groups: name with its unit, our value, the peer's value, the peer's name.
    """
    height = 60 + _GROUP * len(groups)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="13" fill="{_TEXT}">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="30" font-size="17" font-weight="bold">{escape(title)}</text>',
    ]
    for index, group in enumerate(groups):
        parts += _group(60 + index * _GROUP, *group)
    return "\n".join([*parts, "</svg>", ""])


def _group(top: int, name: str, ours: float, theirs: float, peer: str) -> list[str]:
    longest = max(ours, theirs) or 1.0
    lines = [f'<text x="{_LEFT}" y="{top}" font-weight="bold">{escape(name)}</text>']
    for row, (label, value, colour) in enumerate(
        (("pinnace", ours, _OURS), (peer, theirs, _THEIRS))
    ):
        y = top + 8 + row * (_BAR + 4)
        width = max(1.0, value / longest * _SPAN)
        lines += [
            f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>',
            f'<text x="{_LEFT + width + 8:.1f}" y="{y + 14}">{value:.1f}  {escape(label)}</text>',
        ]
    return lines
