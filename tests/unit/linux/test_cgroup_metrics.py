"""Statistics of a control group fit containerd's metrics messages, field by field."""

from __future__ import annotations

from pathlib import Path

from pinnace.api.schema import cgroups1, cgroups2
from pinnace.api.services import metrics
from pinnace.linux.cgroups.v1 import LegacyCgroup
from pinnace.linux.cgroups.v2 import UnifiedCgroup


def write(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name.replace("__", ".")).write_text(content)


def test_version_1(tmp_path: Path) -> None:
    hierarchies = {name: str(tmp_path / name) for name in ("memory", "cpuacct", "pids", "blkio")}
    write(
        tmp_path / "memory/x", memory__stat="cache 5\nrss 7\n", memory__usage_in_bytes="12\n",
        memory__limit_in_bytes="64\n", memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    )  # fmt: skip
    write(tmp_path / "cpuacct/x", cpuacct__usage="90\n", cpuacct__usage_percpu="40 50 \n")
    write(tmp_path / "pids/x", pids__current="3\n", pids__max="max\n")
    write(
        tmp_path / "blkio/x",
        blkio__throttle__io_service_bytes_recursive="8:0 Read 4096\nTotal 4096\n",
    )
    group = LegacyCgroup("/x", hierarchies)
    found = metrics.message(group.stats())
    decoded = cgroups1.Metrics.decode(found.value)
    assert found.type_url.endswith("io.containerd.cgroups.v1.Metrics")
    assert decoded.memory is not None
    assert decoded.memory.usage is not None
    assert decoded.cpu is not None
    assert decoded.cpu.usage is not None
    assert (decoded.memory.rss, decoded.memory.usage.limit) == (7, 64)
    assert decoded.cpu.usage.total == 90
    assert list(decoded.cpu.usage.per_cpu) == [40, 50]
    assert group.oom_kills() == 2


def test_version_2(tmp_path: Path) -> None:
    write(
        tmp_path / "x", memory__stat="anon 5\n", memory__current="12\n", memory__max="max\n",
        cpu__stat="usage_usec 90\n", pids__current="3\n", pids__max="20\n",
        io__stat="8:0 rbytes=1 wbytes=2 rios=3 wios=4\n", memory__events="oom_kill 1\n",
    )  # fmt: skip
    group = UnifiedCgroup("/x", str(tmp_path))
    decoded = cgroups2.Metrics.decode(metrics.message(group.stats()).value)
    assert decoded.memory is not None
    assert decoded.pids is not None
    assert (decoded.memory.anon, decoded.memory.usage, decoded.pids.limit) == (5, 12, 20)
    assert group.oom_kills() == 1
