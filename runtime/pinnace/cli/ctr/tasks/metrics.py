"""``ctr tasks metrics``: what a task uses, from its cgroup (version 1 or 2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pinnace.api.schema import cgroups1, cgroups2
from pinnace.api.schema.tasks import MetricsRequest, Tasks
from pinnace.cli import containers
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import FORMAT, json_out, rfc3339, table, wants_json
from pinnace.cli.ctr.events import plain
from pinnace.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from pinnace.api.codec import Message
    from pinnace.api.schema.types import Metric
    from pinnace.cli.options import Call, Flag

USAGE = "CONTAINER"
FLAGS: tuple[Flag, ...] = (FORMAT,)


def run(call: Call) -> int:
    container_id = call.only_argument("container id must be provided")
    as_json = wants_json(call)
    with Client.of(call) as client:
        containers.get(client, container_id)
        request = MetricsRequest(filters=[f"id=={container_id}"])
        found = client.call(Tasks.metrics, request).metrics
    if not found:
        raise NotFound(f'no metrics for "{container_id}": it has no running task')
    data = decode(found[0])
    if as_json:
        json_out(plain(data))
        return 0
    rows = ["ID\tTIMESTAMP\t", f"{found[0].id}\t{rfc3339(found[0].timestamp)}\t"]
    table(rows, minimum=1, padding=8)
    table(["", "METRIC\tVALUE\t", *_rows(data)], minimum=1, padding=8)
    return 0


def decode(metric: Metric) -> Message:
    """The measurements inside, for either version of cgroups."""
    if metric.data is not None:
        for kind in (cgroups1.Metrics, cgroups2.Metrics):
            if metric.data.holds(kind):
                return metric.data.unpack(kind)
    kind_name = metric.data.type_url if metric.data else "nothing"
    raise InvalidArgument(f"metrics of an unknown kind: {kind_name}")


def _rows(data: Message) -> Iterator[str]:
    leaves = _of_version_1(data) if isinstance(data, cgroups1.Metrics) else _leaves("", plain(data))
    for name, value in leaves:
        yield f"{name}\t{value}\t"


def _of_version_1(data: cgroups1.Metrics) -> Iterator[tuple[str, object]]:
    """What containerd's ctr shows of it, by the names of the kernel's files; all of it is in the JSON."""
    if data.memory is not None:
        usage = data.memory.usage or cgroups1.MemoryEntry()
        yield "memory.usage_in_bytes", usage.usage
        yield "memory.limit_in_bytes", usage.limit
        yield "memory.stat.cache", data.memory.total_cache
    if data.cpu is not None and data.cpu.usage is not None:
        yield "cpuacct.usage", data.cpu.usage.total
        yield "cpuacct.usage_percpu", f"[{' '.join(map(str, data.cpu.usage.per_cpu))}]"
    if data.pids is not None:
        yield "pids.current", data.pids.current
        yield "pids.limit", data.pids.limit


def _leaves(prefix: str, values: dict[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _leaves(f"{path}.", value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for index, each in enumerate(value):
                yield from _leaves(f"{path}.{index}.", each)
        else:
            yield path, value
