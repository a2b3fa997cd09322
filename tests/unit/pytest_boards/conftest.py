"""Somebody's project, on a machine whose ``ssh`` runs its command right here."""

from __future__ import annotations

from pathlib import Path

import pytest

_SSH = """\
#!/bin/sh
# ssh(1) as the plugin calls it: a master makes its socket and waits, a command runs.
for word; do
    case $word in ControlPath=*) socket=${word#ControlPath=} ;; -M) master=yes ;; esac
done
[ -z "$master" ] || { : >"$socket"; exec sleep 60; }
while [ "$1" != -- ]; do shift; done
shift
exec sh -c "$*"
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Somebody's project with the plugin, where boards are pretended."""
    bin_folder = pytester.mkdir("bin")
    (bin_folder / "ssh").write_text(_SSH)
    (bin_folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_folder), prepend=":")
    monkeypatch.setenv("XDG_STATE_HOME", str(pytester.path / "state"))
    monkeypatch.setenv("BOARDS_LOG", str(pytester.path / "boards.log"))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    return pytester
