"""Threads that are kept for a short while."""

from __future__ import annotations

import threading

import pytest

from pinnace.api import workers
from pinnace.api.workers import Workers


def test_it_rests_once_nothing_comes_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "IDLE_SECONDS", 0.1)
    rests = threading.Semaphore(0)
    pool = Workers("test", on_rest=rests.release)
    together = threading.Barrier(5)
    for _ in range(4):
        pool.submit(lambda: (together.wait(10), None)[1])
    assert not rests.acquire(timeout=0.2)  # they work
    together.wait(10)
    assert rests.acquire(timeout=10)
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(10)
    assert rests.acquire(timeout=10)


def test_a_thread_whose_job_another_took_goes_on_waiting() -> None:
    pool = Workers("test")
    done = threading.Semaphore(0)
    threads: set[int] = set()

    def job() -> None:
        threads.add(threading.get_native_id())
        done.release()

    def submit() -> None:
        for _ in range(500):
            pool.submit(job)
            done.acquire()

    clients = [threading.Thread(target=submit) for _ in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(30)
    assert len(threads) <= 2 * len(clients)
