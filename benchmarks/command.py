"""``./inv bench``: run benchmarks and show what came out."""

from __future__ import annotations

import importlib
from typing import Protocol, cast

import benchmarks
from benchmarks import harness
from toolkit import console
from toolkit.errors import UsageError
from toolkit.paths import PROJECT

PLOTS = PROJECT / "docs" / "benchmarks"


class Benchmark(Protocol):
    """What a benchmark's module has."""

    def run(self) -> list[harness.Result]: ...


def run(name: str, *, as_json: bool, plot: bool) -> None:
    """Run benchmark ``name`` (all when empty); print a table, or JSON.

    Raises :class:`UsageError` for a name there is not.
    """
    if name and name not in benchmarks.NAMES:
        raise UsageError(f"no benchmark {name}", hint=f"There are: {', '.join(benchmarks.NAMES)}")
    results = []
    for each in [name] if name else benchmarks.NAMES:
        module = cast(Benchmark, importlib.import_module(f"benchmarks.{each}"))
        found = module.run()
        results += found
        if plot:
            harness.plot(found, PLOTS / f"{each}.svg", f"{each}: pinnace beside its peer")
    if as_json:
        console.out.print(harness.as_json(results), markup=False, soft_wrap=True)
    else:
        harness.show(results)
