"""Metrics of a container on cgroup v1."""

from __future__ import annotations

from pinnace.api import codec as pb

PACKAGE = "io.containerd.cgroups.v1"


class HugetlbStat(pb.Message):
    usage = pb.uint64(1)
    max = pb.uint64(2)
    failcnt = pb.uint64(3)
    pagesize = pb.string(4)


class PidsStat(pb.Message):
    current = pb.uint64(1)
    limit = pb.uint64(2)


class CPUUsage(pb.Message):
    total = pb.uint64(1)
    kernel = pb.uint64(2)
    user = pb.uint64(3)
    per_cpu = pb.uint64s(4)


class Throttle(pb.Message):
    periods = pb.uint64(1)
    throttled_periods = pb.uint64(2)
    throttled_time = pb.uint64(3)


class CPUStat(pb.Message):
    usage = pb.message(1, CPUUsage)
    throttling = pb.message(2, Throttle)


class MemoryEntry(pb.Message):
    limit = pb.uint64(1)
    usage = pb.uint64(2)
    max = pb.uint64(3)
    failcnt = pb.uint64(4)


class MemoryStat(pb.Message):
    cache = pb.uint64(1)
    rss = pb.uint64(2)
    rss_huge = pb.uint64(3)
    mapped_file = pb.uint64(4)
    dirty = pb.uint64(5)
    writeback = pb.uint64(6)
    pg_pg_in = pb.uint64(7)
    pg_pg_out = pb.uint64(8)
    pg_fault = pb.uint64(9)
    pg_maj_fault = pb.uint64(10)
    inactive_anon = pb.uint64(11)
    active_anon = pb.uint64(12)
    inactive_file = pb.uint64(13)
    active_file = pb.uint64(14)
    unevictable = pb.uint64(15)
    hierarchical_memory_limit = pb.uint64(16)
    hierarchical_swap_limit = pb.uint64(17)
    total_cache = pb.uint64(18)
    total_rss = pb.uint64(19)
    total_rss_huge = pb.uint64(20)
    total_mapped_file = pb.uint64(21)
    total_dirty = pb.uint64(22)
    total_writeback = pb.uint64(23)
    total_pg_pg_in = pb.uint64(24)
    total_pg_pg_out = pb.uint64(25)
    total_pg_fault = pb.uint64(26)
    total_pg_maj_fault = pb.uint64(27)
    total_inactive_anon = pb.uint64(28)
    total_active_anon = pb.uint64(29)
    total_inactive_file = pb.uint64(30)
    total_active_file = pb.uint64(31)
    total_unevictable = pb.uint64(32)
    usage = pb.message(33, MemoryEntry)
    swap = pb.message(34, MemoryEntry)
    kernel = pb.message(35, MemoryEntry)
    kernel_tcp = pb.message(36, MemoryEntry)


class BlkIOEntry(pb.Message):
    op = pb.string(1)
    device = pb.string(2)
    major = pb.uint64(3)
    minor = pb.uint64(4)
    value = pb.uint64(5)


class BlkIOStat(pb.Message):
    io_service_bytes_recursive = pb.messages(1, BlkIOEntry)
    io_serviced_recursive = pb.messages(2, BlkIOEntry)
    io_queued_recursive = pb.messages(3, BlkIOEntry)
    io_service_time_recursive = pb.messages(4, BlkIOEntry)
    io_wait_time_recursive = pb.messages(5, BlkIOEntry)
    io_merged_recursive = pb.messages(6, BlkIOEntry)
    io_time_recursive = pb.messages(7, BlkIOEntry)
    sectors_recursive = pb.messages(8, BlkIOEntry)


class RdmaEntry(pb.Message):
    device = pb.string(1)
    hca_handles = pb.uint32(2)
    hca_objects = pb.uint32(3)


class RdmaStat(pb.Message):
    current = pb.messages(1, RdmaEntry)
    limit = pb.messages(2, RdmaEntry)


class NetworkStat(pb.Message):
    name = pb.string(1)
    rx_bytes = pb.uint64(2)
    rx_packets = pb.uint64(3)
    rx_errors = pb.uint64(4)
    rx_dropped = pb.uint64(5)
    tx_bytes = pb.uint64(6)
    tx_packets = pb.uint64(7)
    tx_errors = pb.uint64(8)
    tx_dropped = pb.uint64(9)


class CgroupStats(pb.Message):
    nr_sleeping = pb.uint64(1)
    nr_running = pb.uint64(2)
    nr_stopped = pb.uint64(3)
    nr_uninterruptible = pb.uint64(4)
    nr_io_wait = pb.uint64(5)


class MemoryOomControl(pb.Message):
    oom_kill_disable = pb.uint64(1)
    under_oom = pb.uint64(2)
    oom_kill = pb.uint64(3)


class Metrics(pb.Message):
    hugetlb = pb.messages(1, HugetlbStat)
    pids = pb.message(2, PidsStat)
    cpu = pb.message(3, CPUStat)
    memory = pb.message(4, MemoryStat)
    blkio = pb.message(5, BlkIOStat)
    rdma = pb.message(6, RdmaStat)
    network = pb.messages(7, NetworkStat)
    cgroup_stats = pb.message(8, CgroupStats)
    memory_oom_control = pb.message(9, MemoryOomControl)
