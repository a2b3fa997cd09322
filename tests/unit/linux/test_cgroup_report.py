"""Reports in runc's form from pretended control files of both versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinnace.cli.runc import update
from pinnace.errors import InvalidArgument
from pinnace.linux.cgroups import report
from pinnace.linux.cgroups.v1 import LegacyCgroup
from pinnace.linux.cgroups.v2 import UnifiedCgroup


def fill(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name.replace("__", ".")).write_text(content)


def test_version_2(tmp_path: Path) -> None:
    fill(
        tmp_path / "x",
        cpu__stat="usage_usec 90\nuser_usec 60\nsystem_usec 30\nnr_periods 5\nnr_throttled 2\nthrottled_usec 7\n",
        cpu__pressure="some avg10=1.50 avg60=0.00 avg300=0.00 total=12\n",
        memory__stat="anon 5\nfile 3\nkernel 2\n", memory__current="12\n", memory__max="max\n",
        memory__peak="20\n", memory__events="max 4\noom 0\n", memory__swap__current="1\n",
        memory__swap__max="100\n", pids__current="3\n", pids__max="20\n",
        io__stat="8:0 rbytes=1 wbytes=2 rios=3 wios=4\n",
        hugetlb__2MB__current="7\n", hugetlb__2MB__rsvd__current="9\n", hugetlb__2MB__events="max 1\n",
    )  # fmt: skip
    found = report.usage(UnifiedCgroup("/x", str(tmp_path)))
    assert found["cpu"]["usage"] == {"total": 90000, "kernel": 30000, "user": 60000}
    assert found["cpu"]["throttling"] == {
        "periods": 5,
        "throttledPeriods": 2,
        "throttledTime": 7000,
    }
    assert found["cpu"]["psi"]["some"] == {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 12}
    assert found["memory"]["usage"] == {
        "limit": (1 << 64) - 1,
        "usage": 12,
        "max": 20,
        "failcnt": 4,
    }
    assert found["memory"]["swap"] == {"limit": (1 << 64) - 1, "usage": 13, "failcnt": 0}
    assert found["memory"]["cache"] == 3
    assert found["pids"] == {"current": 3, "limit": 20}
    assert [entry["op"] for entry in found["blkio"]["ioServicedRecursive"]] == ["Read", "Write"]
    assert found["hugetlb"] == {"2MB": {"usage": 7, "max": 0, "failcnt": 1}}


def test_version_1(tmp_path: Path) -> None:
    hierarchies = {name: str(tmp_path / name) for name in ("cpuacct", "cpuset", "memory", "blkio")}
    fill(tmp_path / "cpuacct/x", cpuacct__usage="5\n", cpuacct__usage_percpu="2 3 \n", cpuacct__usage_all="cpu user system\n0 1 1\n1 2 1\n")  # fmt: skip
    fill(tmp_path / "cpuset/x", cpuset__cpus="0-2,5\n", cpuset__sched_relax_domain_level="-1\n")
    fill(tmp_path / "memory/x", memory__stat="cache 5\n", memory__usage_in_bytes="12\n")
    fill(tmp_path / "blkio/x", blkio__throttle__io_serviced_recursive="8:0 Read 4\nTotal 4\n")
    found = report.usage(LegacyCgroup("/x", hierarchies))
    assert found["cpu"]["usage"]["percpu_kernel"] == [1, 1]
    assert found["cpuset"]["cpus"] == [0, 1, 2, 5]
    assert found["cpuset"]["sched_relax_domain_level"] == -1
    assert found["memory"]["usage"]["usage"] == 12
    assert found["blkio"] == {"ioServicedRecursive": [{"major": 8, "minor": 0, "op": "Read", "value": 4}]}  # fmt: skip
    assert found["hugetlb"] == {}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("-1", -1),
        ("64m", 64 << 20),
        ("1.5g", 3 << 29),
        ("10KiB", 10240),
        ("2 GB", 2 << 30),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert update.size("memory", text) == size


@pytest.mark.parametrize("text", ["", "-2", "x", "1x", "m", "1.g", "9e3"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InvalidArgument, match="--memory"):
        update.size("memory", text)
