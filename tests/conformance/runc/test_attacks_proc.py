"""A /proc or /sys that is not where it seems to be, or not whole: what the runtime and the container write goes elsewhere.

Each is tried twice: against the runtime as it is, and ``undefended``, to see it succeed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pinnace.errors import Error, InvalidArgument
from pinnace.runc import rootfs
from tests.conformance.runc.attacker import both
from tests.conformance.runc.conftest import Box

pytestmark = pytest.mark.root

_NOT_ORDINARY = "must be mounted on ordinary directory"


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Switch a check of the runtime off."""
    return lambda check: monkeypatch.setattr(rootfs, check, lambda *_: None)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    place = tmp_path / "volume"
    place.mkdir()
    (place / "marker").write_text("volume")
    return place


def _bind(source: Path, target: str) -> dict[str, object]:
    return {"destination": target, "type": "bind", "source": str(source), "options": ["bind"]}


@both
@pytest.mark.parametrize("target", ["/proc/self/attr", "/proc/sys/kernel", "/data"])
def test_covering_parts_of_proc(
    box: Box, volume: Path, target: str, undefended: bool, without: Callable[[str], None]
) -> None:
    """CVE-2019-16884: a volume in the place of labels and settings, by name and through a link of the image."""
    (box.root / "data").symlink_to("/proc/sys")
    box.spec["mounts"].append(_bind(volume, target))
    if undefended:
        without("_check_below_proc")
        assert box.run("cat", f"{target}/marker").output == "volume"
    else:
        with pytest.raises(InvalidArgument, match="inside /proc"):
            box.create("true")


@both
def test_covering_parts_of_proc_with_a_tmpfs(
    box: Box, undefended: bool, without: Callable[[str], None]
) -> None:
    """CVE-2019-16884: what is written to the settings then goes to a file that does nothing."""
    (box.root / "data").symlink_to("/proc/sys")
    box.spec["mounts"].append({"destination": "/data", "type": "tmpfs", "source": "tmpfs"})
    box.linux["readonlyPaths"] = []
    if undefended:
        without("_check_below_proc")
        assert box.sh("echo 1 > /proc/sys/fake; cat /proc/sys/fake").output == "1\n"
    else:
        with pytest.raises(InvalidArgument, match="inside /proc"):
            box.create("true")


@both
def test_proc_that_is_a_symlink(box: Box, undefended: bool, without: Callable[[str], None]) -> None:
    """CVE-2019-19921: the image chooses where /proc is, and what is mounted there later takes its place."""
    (box.root / "proc").symlink_to("/fake")
    (box.root / "fake").mkdir()
    box.spec["mounts"].append({"destination": "/fake", "type": "tmpfs", "source": "tmpfs"})
    if undefended:
        without("_check_ordinary")
        # Nothing is masked or read-only any more, and labels would be written to a file.
        assert box.sh("echo label > /proc/label; cat /fake/label").output == "label\n"
    else:
        with pytest.raises(Error, match=_NOT_ORDINARY):
            box.create("true")


@both
@pytest.mark.parametrize("target", ["/sys", "/proc"])
def test_a_kernel_file_system_that_is_a_link(
    box: Box, target: str, undefended: bool, without: Callable[[str], None]
) -> None:
    """CVE-2023-28642: with /proc or /sys elsewhere, what is masked and labelled there is the image's choice."""
    (box.root / "fake").mkdir()
    (box.root / target.strip("/")).symlink_to("fake")
    kind = {"/sys": "sysfs", "/proc": "proc"}[target]
    if undefended:
        without("_check_ordinary")
        box.linux["maskedPaths"] = box.linux["readonlyPaths"] = []
        assert _mounted_on(box, kind) == "/fake"
    else:
        with pytest.raises(Error, match=_NOT_ORDINARY):
            box.create("true")


@both
def test_sys_below_a_symlink(box: Box, undefended: bool, without: Callable[[str], None]) -> None:
    (box.root / "fake").mkdir()
    (box.root / "link").symlink_to("fake")
    box.spec["mounts"] = [each for each in box.spec["mounts"] if each["type"] != "sysfs"]
    box.spec["mounts"].append({"destination": "/link/sys", "type": "sysfs", "source": "sysfs"})
    if undefended:
        without("_check_ordinary")
        assert _mounted_on(box, "sysfs") == "/fake/sys"
    else:
        with pytest.raises(Error, match=_NOT_ORDINARY):
            box.create("true")


@both
def test_proc_through_a_volume(
    box: Box, volume: Path, undefended: bool, without: Callable[[str], None]
) -> None:
    """CVE-2023-27561: the link in the image leads through a volume, so that it is one only then."""
    (volume / "inner").mkdir()
    (box.root / "proc").symlink_to("vol/inner")
    (box.root / "vol").mkdir()
    box.spec["mounts"].insert(0, _bind(volume, "/vol"))
    if undefended:
        without("_check_ordinary")
        assert _mounted_on(box, "proc") == "/vol/inner"
    else:
        with pytest.raises(Error, match=_NOT_ORDINARY):
            box.create("true")


def _mounted_on(box: Box, kind: str) -> str:
    """Where the container has the first file system of a kind."""
    pid = box.background("sleep", "100")
    lines = Path(f"/proc/{pid}/mounts").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.split()[2] == kind)
