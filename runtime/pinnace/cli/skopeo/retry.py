"""``--retry-times``: a command's work begun again when a registry failed."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TypeVar

from pinnace.errors import ResourceExhausted, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from pinnace.cli.options import Call

    Result = TypeVar("Result")

_LONGEST = 60.0


def run(call: Call, work: Callable[[], Result]) -> Result:
    """What *work* returns; failures that may pass are tried ``--retry-times`` more."""
    times = call.integer("retry-times")
    for attempt in range(1, times + 1):
        try:
            return work()
        except (Unavailable, ResourceExhausted) as problem:
            delay = call.seconds("retry-delay") or min(_LONGEST, 2.0 ** (attempt - 1))
            sys.stderr.write(f"skopeo: {problem}; again in {delay:g} s ({attempt}/{times})\n")
            time.sleep(delay)
    return work()
