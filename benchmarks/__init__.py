"""Measurements beside the peers: ``./inv bench [NAME] [--json]``.

Each benchmark is a module with ``run() -> list[Result]``; :mod:`benchmarks.harness` has what they share.
"""

from __future__ import annotations

NAMES = ("boards", "daemon", "fleet", "idle", "images", "runc")
"""The benchmarks there are; each is a module of this package."""
