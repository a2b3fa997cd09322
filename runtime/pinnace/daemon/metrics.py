"""What the daemon counts, in Prometheus' text format (version 0.0.4), under containerd's names where it has one.

``grpc_server_*`` are those of go-grpc-prometheus, ``process_*`` those of Prometheus' client libraries, and
``container_*`` those of containerd's cgroup metrics, version 1 or 2 as the machine has them.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.errors import Error
from pinnace.version import CONTAINERD_VERSION, REVISION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pinnace.daemon.daemon import Daemon

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MOST_SERIES = 2000
"""Series of one counter: a client that invents methods makes no more memory."""

_CODES = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
    "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented",
    "Internal", "Unavailable", "DataLoss", "Unauthenticated",
)  # fmt: skip


Sample = tuple[tuple[tuple[str, str], ...], float]
"""Labels and a value."""


class Family(NamedTuple):
    """One metric: its name, what it is, and its samples: labels and value."""

    name: str
    kind: str
    about: str
    samples: list[Sample]

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.about}"
        yield f"# TYPE {self.name} {self.kind}"
        for labels, value in self.samples:
            shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
            number = repr(int(value)) if value == int(value) else repr(value)
            yield f"{self.name}{{{shown}}} {number}" if shown else f"{self.name} {number}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class Calls:
    """Counts gRPC calls; :meth:`began` and :meth:`ended` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began: dict[tuple[str, str], int] = {}
        self._ended: dict[tuple[str, str, int], int] = {}

    def began(self, path: str, kind: str) -> None:
        """A call of ``/service/Method``; ``kind`` is ``unary``, ``server_stream`` ..."""
        with self._lock:
            key = (path, kind)
            if key in self._began or len(self._began) < _MOST_SERIES:
                self._began[key] = self._began.get(key, 0) + 1

    def ended(self, path: str, kind: str, status: int) -> None:
        """It ended with a gRPC status."""
        with self._lock:
            key = (path, kind, status)
            if key in self._ended or len(self._ended) < _MOST_SERIES:
                self._ended[key] = self._ended.get(key, 0) + 1

    def families(self) -> Iterator[Family]:
        with self._lock:
            began, ended = dict(self._began), dict(self._ended)
        handled = [
            ((("grpc_code", _code(status)), *_method(path, kind)), float(count))
            for (path, kind, status), count in sorted(ended.items())
        ]
        started = [
            (_method(path, kind), float(count)) for (path, kind), count in sorted(began.items())
        ]
        yield Family(
            "grpc_server_handled_total", "counter", "Calls completed on the server.", handled
        )
        yield Family(
            "grpc_server_started_total", "counter", "Calls started on the server.", started
        )


def _code(status: int) -> str:
    return _CODES[status] if 0 <= status < len(_CODES) else str(status)


def _method(path: str, kind: str) -> tuple[tuple[str, str], ...]:
    service, _, name = path.lstrip("/").partition("/")
    return ("grpc_method", name), ("grpc_service", service), ("grpc_type", kind)


def page(daemon: Daemon, calls: Calls) -> str:
    """All metrics, as a scrape gets them."""
    families = [_build(), *_process(), *_counts(daemon), *calls.families(), *_containers(daemon)]
    return "".join(f"{line}\n" for family in families for line in family.lines())


def _build() -> Family:
    labels = (("revision", REVISION), ("version", CONTAINERD_VERSION))
    return Family(
        "containerd_build_info_total", "counter", "containerd build information", [(labels, 1.0)]
    )


def _gauge(name: str, about: str, value: float, kind: str = "gauge") -> Family:
    return Family(name, kind, about, [((), value)])


def _process() -> Iterator[Family]:
    times = os.times()
    yield _gauge(
        "process_cpu_seconds_total",
        "Processor time of the daemon, in seconds.",
        times.user + times.system,
        "counter",
    )
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = [int(word) for word in file.read().split()]
    size = os.sysconf("SC_PAGE_SIZE")
    yield _gauge(
        "process_resident_memory_bytes", "Resident memory of the daemon, in bytes.", pages[1] * size
    )
    yield _gauge(
        "process_virtual_memory_bytes", "Address space of the daemon, in bytes.", pages[0] * size
    )
    yield _gauge(
        "process_open_fds", "Open file descriptors of the daemon.", len(os.listdir("/proc/self/fd"))
    )
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield _gauge("process_max_fds", "Most file descriptors the daemon may open.", limit)
    yield _gauge("process_threads", "Threads of the daemon.", threading.active_count())
    yield _gauge(
        "process_start_time_seconds",
        "When the daemon started, in seconds since the epoch.",
        _started(),
    )


def _started() -> float:
    """proc_pid_stat(5): field 22 is in clock ticks since boot; the name in brackets may hold anything."""
    with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    with open("/proc/stat", encoding="ascii") as file:
        booted = next(int(line.split()[1]) for line in file if line.startswith("btime "))
    return booted + ticks / os.sysconf("SC_CLK_TCK")


def _counts(daemon: Daemon) -> Iterator[Family]:
    """What there is in each namespace; ours alone."""
    names = list(daemon.store.namespaces.list())
    kinds = (
        ("pinnace_containers", "Containers, running or not.", daemon.store.containers.list),
        ("pinnace_images", "Images.", daemon.store.images.list),
        ("pinnace_tasks", "Tasks.", daemon.tasks.list),
    )
    for metric, about, listed in kinds:
        samples: list[Sample] = [
            ((("namespace", name),), float(len(listed(name)))) for name in names
        ]
        yield Family(metric, "gauge", about, samples)


class _Series(NamedTuple):
    """Where a value is in a shim's stats, and what containerd calls it."""

    path: str
    name: str
    about: str
    kind: str = "gauge"


_V2 = (
    _Series("cpu.usage_usec", "container_cpu_usage_usec_microseconds", "Total cpu usage (cgroup v2)"),
    _Series("cpu.user_usec", "container_cpu_user_usec_microseconds", "Current cpu usage in user space (cgroup v2)"),
    _Series("cpu.system_usec", "container_cpu_system_usec_microseconds", "Current cpu usage in kernel space (cgroup v2)"),
    _Series("cpu.nr_periods", "container_cpu_nr_periods_total", "Current cpu number of periods (only if controller is enabled)"),
    _Series("cpu.nr_throttled", "container_cpu_nr_throttled_total", "Total number of times tasks have been throttled (only if controller is enabled)"),
    _Series("cpu.throttled_usec", "container_cpu_throttled_usec_microseconds", "Total time duration for which tasks have been throttled (only if controller is enabled)"),
    _Series("memory.usage", "container_memory_usage_bytes", "Current memory usage (cgroup v2)"),
    _Series("memory.usage_limit", "container_memory_usage_limit_bytes", "Current memory usage limit (cgroup v2)"),
    _Series("memory.swap_usage", "container_memory_swap_usage_bytes", "Current swap usage (cgroup v2)"),
    _Series("memory.swap_limit", "container_memory_swap_limit_bytes", "Current swap usage limit (cgroup v2)"),
    _Series("memory.anon", "container_memory_anon_bytes", "The anon amount"),
    _Series("memory.file", "container_memory_file_bytes", "The file amount"),
    _Series("memory.pgfault", "container_memory_pgfault_bytes", "The pgfault amount"),
    _Series("memory.pgmajfault", "container_memory_pgmajfault_bytes", "The pgmajfault amount"),
    _Series("memory_events.oom", "container_memory_oom_total", "The number of times a container has received an oom event"),
    _Series("pids.current", "container_pids_current", "Current number of pids (cgroup v2)"),
    _Series("pids.limit", "container_pids_limit", "Current pids limit (cgroup v2)"),
)  # fmt: skip
_V1 = (
    _Series("cpu.usage.total", "container_cpu_total_nanoseconds", "The total cpu time"),
    _Series("cpu.usage.kernel", "container_cpu_kernel_nanoseconds", "The total kernel cpu time"),
    _Series("cpu.usage.user", "container_cpu_user_nanoseconds", "The total user cpu time"),
    _Series("cpu.throttling.periods", "container_cpu_throttle_periods_total", "The total cpu throttle periods"),
    _Series("cpu.throttling.throttled_periods", "container_cpu_throttled_periods_total", "The total cpu throttled periods"),
    _Series("cpu.throttling.throttled_time", "container_cpu_throttled_time_nanoseconds", "The total cpu throttled time"),
    _Series("memory.cache", "container_memory_cache_bytes", "The cache amount used"),
    _Series("memory.rss", "container_memory_rss_bytes", "The rss amount used"),
    _Series("memory.usage.usage", "container_memory_usage_usage_bytes", "The memory usage"),
    _Series("memory.usage.limit", "container_memory_usage_limit_bytes", "The memory limit"),
    _Series("memory.usage.max", "container_memory_usage_max_bytes", "The memory maximum usage"),
    _Series("memory.usage.failcnt", "container_memory_usage_failcnt_total", "The usage failcnt"),
    _Series("memory.swap.usage", "container_memory_swap_usage_bytes", "The swap usage"),
    _Series("memory.swap.limit", "container_memory_swap_limit_bytes", "The swap limit"),
    _Series("pids.current", "container_pids_current", "Current number of pids"),
    _Series("pids.limit", "container_pids_limit", "Current pids limit"),
)  # fmt: skip
_IO = (("rbytes", "bytes", "read"), ("wbytes", "bytes", "written"), ("rios", "total", "read operations"), ("wios", "total", "write operations"))  # fmt: skip


def _containers(daemon: Daemon) -> Iterator[Family]:
    found: dict[str, Family] = {}
    for namespace in daemon.store.namespaces.list():
        for task in daemon.tasks.list(namespace):
            try:
                stats = task.call("stats")
            except Error:
                continue  # it ends just now, or its cgroup is not ours to read
            labels = (("container_id", task.id), ("namespace", namespace))
            for name, kind, about, more, value in _samples(stats):
                family = found.setdefault(name, Family(name, kind, about, []))
                family.samples.append(((*labels, *more), value))
    yield from (found[name] for name in sorted(found))


def _samples(
    stats: Mapping[str, Any],
) -> Iterator[tuple[str, str, str, tuple[tuple[str, str], ...], float]]:
    series: Iterable[_Series] = _V1 if stats.get("cgroup") == 1 else _V2
    for each in series:
        value: Any = stats
        for part in each.path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, (int, float)):
            yield each.name, each.kind, each.about, (), float(value)
    io = stats.get("io")
    for entry in (io.get("usage") or ()) if isinstance(io, dict) else ():
        device = (("major", str(entry.get("major", 0))), ("minor", str(entry.get("minor", 0))))
        for key, unit, about in _IO:
            if key in entry:
                yield f"container_io_{key}_{unit}", "gauge", f"IO {about} (cgroup v2)", device, float(entry[key])  # fmt: skip
