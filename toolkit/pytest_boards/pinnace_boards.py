"""What a project that uses the plugin imports: the type of its fixture ``board``.

Installed it is the package ``pinnace_boards``; what is behind it may move.
"""

from __future__ import annotations

from toolkit.pytest_boards import RunningBoard

__all__ = ["RunningBoard"]
