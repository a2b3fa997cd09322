"""Metrics of a container on cgroup v2 (without pressure stall information)."""

from __future__ import annotations

from pinnace.api import codec as pb

PACKAGE = "io.containerd.cgroups.v2"


class PidsStat(pb.Message):
    current = pb.uint64(1)
    limit = pb.uint64(2)


class CPUStat(pb.Message):
    usage_usec = pb.uint64(1)
    user_usec = pb.uint64(2)
    system_usec = pb.uint64(3)
    nr_periods = pb.uint64(4)
    nr_throttled = pb.uint64(5)
    throttled_usec = pb.uint64(6)


class MemoryStat(pb.Message):
    anon = pb.uint64(1)
    file = pb.uint64(2)
    kernel_stack = pb.uint64(3)
    slab = pb.uint64(4)
    sock = pb.uint64(5)
    shmem = pb.uint64(6)
    file_mapped = pb.uint64(7)
    file_dirty = pb.uint64(8)
    file_writeback = pb.uint64(9)
    anon_thp = pb.uint64(10)
    inactive_anon = pb.uint64(11)
    active_anon = pb.uint64(12)
    inactive_file = pb.uint64(13)
    active_file = pb.uint64(14)
    unevictable = pb.uint64(15)
    slab_reclaimable = pb.uint64(16)
    slab_unreclaimable = pb.uint64(17)
    pgfault = pb.uint64(18)
    pgmajfault = pb.uint64(19)
    workingset_refault = pb.uint64(20)
    workingset_activate = pb.uint64(21)
    workingset_nodereclaim = pb.uint64(22)
    pgrefill = pb.uint64(23)
    pgscan = pb.uint64(24)
    pgsteal = pb.uint64(25)
    pgactivate = pb.uint64(26)
    pgdeactivate = pb.uint64(27)
    pglazyfree = pb.uint64(28)
    pglazyfreed = pb.uint64(29)
    thp_fault_alloc = pb.uint64(30)
    thp_collapse_alloc = pb.uint64(31)
    usage = pb.uint64(32)
    usage_limit = pb.uint64(33)
    swap_usage = pb.uint64(34)
    swap_limit = pb.uint64(35)
    max_usage = pb.uint64(36)
    swap_max_usage = pb.uint64(37)


class RdmaEntry(pb.Message):
    device = pb.string(1)
    hca_handles = pb.uint32(2)
    hca_objects = pb.uint32(3)


class RdmaStat(pb.Message):
    current = pb.messages(1, RdmaEntry)
    limit = pb.messages(2, RdmaEntry)


class IOEntry(pb.Message):
    major = pb.uint64(1)
    minor = pb.uint64(2)
    rbytes = pb.uint64(3)
    wbytes = pb.uint64(4)
    rios = pb.uint64(5)
    wios = pb.uint64(6)


class IOStat(pb.Message):
    usage = pb.messages(1, IOEntry)


class HugeTlbStat(pb.Message):
    current = pb.uint64(1)
    max = pb.uint64(2)
    pagesize = pb.string(3)


class MemoryEvents(pb.Message):
    low = pb.uint64(1)
    high = pb.uint64(2)
    max = pb.uint64(3)
    oom = pb.uint64(4)
    oom_kill = pb.uint64(5)


class Metrics(pb.Message):
    pids = pb.message(1, PidsStat)
    cpu = pb.message(2, CPUStat)
    memory = pb.message(4, MemoryStat)
    rdma = pb.message(5, RdmaStat)
    io = pb.message(6, IOStat)
    hugetlb = pb.messages(7, HugeTlbStat)
    memory_events = pb.message(8, MemoryEvents)
