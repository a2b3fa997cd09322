"""The toolkit's own modules as text, for the keys of what they make.

In ``pinnace-boards`` the toolkit's package is called otherwise; in a key it is not, so that both find what the
other has made.
"""

from __future__ import annotations

import inspect
from types import ModuleType

_ROOT = (__package__ or "toolkit.boards").removesuffix(".boards")


def of(module: ModuleType) -> str:
    """A module's text."""
    return plain(inspect.getsource(module))


def plain(text: str) -> str:
    """A module's ``text`` as it is in the toolkit."""
    return text.replace(_ROOT, "toolkit")
