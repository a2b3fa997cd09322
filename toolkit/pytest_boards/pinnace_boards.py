"""What a project that uses the plugin imports: the type of its fixture ``board``.

Installed at the top level, under the distribution's name; what is behind it may move.
"""

from __future__ import annotations

from toolkit.pytest_boards import RunningBoard

__all__ = ["RunningBoard"]
