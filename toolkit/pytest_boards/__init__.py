"""``pinnace-boards``: emulated ARM boards as a pytest fixture, for any project.

Installed on its own (``pip install ./toolkit/pytest_boards``) or with the toolkit. A test takes the fixture
``board`` and gets a :class:`RunningBoard`; docs/ci.md tells the rest.
"""

from __future__ import annotations

from toolkit.pytest_boards.running import RunningBoard

__all__ = ["RunningBoard"]
