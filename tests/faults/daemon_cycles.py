"""Many containers by a few clients at once, from their record to the removal of everything."""

from __future__ import annotations

import threading

from tests.faults.daemon_load import Cycle, Load
from tests.faults.test_daemon_killed import Stack

CLIENTS = 4


def cycles(stack: Stack, count: int, prefix: str) -> int:
    """Run ``count`` containers, ``<prefix>-<client>-<number>``; how many there were: each client has as many."""
    load = Load(stack.client, stack.arena, stack.parent, set())

    def work(worker: int) -> None:
        client = stack.client()
        for number in range(count // CLIENTS):
            cycle = Cycle(client, stack.arena, f"{prefix}-{worker}-{number}", stack.parent)
            load.run(cycle)
            cycle.close()
        client.close()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    whole = count // CLIENTS * CLIENTS
    assert not load.problems
    assert load.right >= whole
    return whole
