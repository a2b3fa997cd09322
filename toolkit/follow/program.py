"""The agent as a file that a board keeps: a zip archive that Python runs, the same bytes from the same sources."""

from __future__ import annotations

import io
import zipfile
from functools import cache

from toolkit.paths import PROJECT

_MAIN = "import sys\nfrom toolkit.agent.follow.main import main\nsys.exit(main(sys.argv[1:]))\n"


@cache
def archive() -> bytes:
    """The archive's bytes."""
    root = PROJECT / "toolkit" / "agent"
    sources = {"__main__.py": _MAIN, "toolkit/__init__.py": ""}
    for path in root.rglob("*.py"):
        sources[path.relative_to(PROJECT).as_posix()] = path.read_text(encoding="utf-8")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as found:
        for name in sorted(sources):
            found.writestr(
                zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), sources[name], zipfile.ZIP_DEFLATED
            )
    return buffer.getvalue()
