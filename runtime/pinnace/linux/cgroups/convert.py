"""Values of OCI resources, which are version 1's, on the scales of version 2. No files, no state.

Scales are those of Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

from __future__ import annotations

from pinnace.errors import InvalidArgument

MIN_SHARES, MAX_SHARES = 2, 262144
MIN_WEIGHT, MAX_WEIGHT = 1, 10000
MIN_BLKIO, MAX_BLKIO = 10, 1000
PERIOD = 100000
"""Microseconds: the default period of processor quotas."""


def cpu_weight(shares: int) -> int:
    """``cpu.shares`` as ``cpu.weight``: 2, 1024 and 262144 become 1, 100 and 10000.

    A curve through both minimums, both defaults and both maximums, as runc since 1.3.2 and crun since
    1.23 have it (opencontainers/cgroups#20). The straight line of their earlier versions made
    39 of the default, so that a container with default shares got less than a service.
    Shares beyond the scale count as its ends.
    """
    from math import ceil, log2

    if shares <= MIN_SHARES:
        return MIN_WEIGHT
    if shares >= MAX_SHARES:
        return MAX_WEIGHT
    power: float = log2(shares)
    return ceil(10 ** ((power * (power + 125) - 126) / 612))


def io_weight(weight: int) -> int:
    """``blkio.weight`` (10 to 1000) as ``io.weight`` (1 to 10000), on a straight line as runc and crun do."""
    inside = max(MIN_BLKIO, min(weight, MAX_BLKIO))
    return 1 + (inside - MIN_BLKIO) * (MAX_WEIGHT - 1) // (MAX_BLKIO - MIN_BLKIO)


def swap_max(both: int, memory: int) -> str:
    """``memory.swap.max`` for a version 1 limit of memory and swap together; -1 is no limit.

    Raises InvalidArgument when there is no memory limit to take away, or it is the larger one.
    """
    if both < 0:
        return "max"
    if memory <= 0:
        raise InvalidArgument(
            "memory.swap is a limit of memory and swap together: it needs memory.limit"
        )
    if both < memory:
        raise InvalidArgument(f"memory.swap ({both}) is less than memory.limit ({memory})")
    return str(both - memory)


def bytes_or_max(value: int) -> str:
    """A limit as version 2 writes it: -1 is ``max``."""
    return "max" if value < 0 else str(value)


def quota_per_second(quota: int, period: int) -> int:
    """Microseconds of processor a second, as systemd counts (``CPUQuotaPerSecUSec``).

    systemd keeps whole percents (10000 microseconds a second), so it is rounded up to those: never
    less than was asked for.
    """
    per_second = -(-quota * 1_000_000 // (period or PERIOD))
    return -(-per_second // 10_000) * 10_000
