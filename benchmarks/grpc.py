"""Our gRPC server beside grpclib's: import, memory when idle, processor time per call.

    .venv/bin/python -m benchmarks.grpc                       # ours alone
    .venv/bin/python -m benchmarks.grpc --peer VENV/bin/python # a Python that has grpclib

Both answer the same unary method with the same bytes to the same client (ours), each in a process
of its own; what is measured is the server's process. The result is a table; docs/daemon.md keeps
the one that the decision was taken with.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from toolkit import console
from toolkit.paths import RUNTIME

CALLS = 3000
_TICK = os.sysconf("SC_CLK_TCK")

_OURS = """
import socket, sys, time
begun = time.perf_counter()
from pinnace.api.server import Server
from pinnace.api.method import Method
from pinnace.api.schema.wellknown import Any
spent = time.perf_counter() - begun
class Echo:
    once = Method("test.Echo", "Once", Any, Any)
class Service:
    def once(self, request, context):
        return request
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print(spent, flush=True)
Server(listener, {"test.Echo": lambda: (Echo, Service())}).serve()
"""
_PEER = """
import sys, time
begun = time.perf_counter()
import asyncio
from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase
from grpclib.server import Server
spent = time.perf_counter() - begun
class Raw(CodecBase):
    __content_subtype__ = "proto"
    def encode(self, message, kind):
        return message
    def decode(self, data, kind):
        return data
class Echo:
    async def once(self, stream):
        await stream.send_message(await stream.recv_message())
    def __mapping__(self):
        return {"/test.Echo/Once": Handler(self.once, Cardinality.UNARY_UNARY, bytes, bytes)}
async def main():
    server = Server([Echo()], codec=Raw())
    await server.start(path=sys.argv[1])
    print(spent, flush=True)
    await server.wait_closed()
asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Import in milliseconds, memory in MiB (PSS, before and after the calls), call in microseconds."""

    name: str
    imported: float
    idle: float
    after: float
    call: float


def measure(name: str, python: str, source: str) -> Measured:
    """Start a server, let it rest, call it, and look at its process."""
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory, "socket"))
        process = subprocess.Popen(
            [python, "-c", source, path],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(RUNTIME)},
        )
        try:
            assert process.stdout
            imported = float(process.stdout.readline()) * 1000
            time.sleep(0.5)
            idle = _memory(process.pid)
            _call(path, CALLS // 10)
            before = _cpu(process.pid)
            _call(path, CALLS)
            call = (_cpu(process.pid) - before) / CALLS * 1e6
            return Measured(name, imported, idle, _memory(process.pid), call)
        finally:
            process.kill()
            process.wait()


def _call(path: str, times: int) -> None:
    # The runtime is not the toolkit's to import: the client is a process of its own, too.
    script = (
        "import sys\n"
        "from pinnace.api.client import Channel\n"
        "from pinnace.api.method import Method\n"
        "from pinnace.api.schema.wellknown import Any\n"
        "method = Method('test.Echo', 'Once', Any, Any)\n"
        "channel = Channel(sys.argv[1], namespace='default')\n"
        "message = Any(type_url='t', value=b'x' * 200)\n"
        "for _ in range(int(sys.argv[2])):\n"
        "    assert channel.unary(method, message) == message\n"
    )
    command = [sys.executable, "-c", script, path, str(times)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(RUNTIME)})


def _cpu(pid: int) -> float:
    """Processor seconds of a process, its own and the kernel's for it (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _memory(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError("no Pss in smaps_rollup")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", metavar="PYTHON", help="a Python that has grpclib")
    options = parser.parse_args()
    found = [measure("pinnace", sys.executable, _OURS)]
    if options.peer:
        found.append(measure("grpclib", options.peer, _PEER))
    console.out.print("server    import ms   idle MiB   after calls MiB   µs per call")
    for row in found:
        console.out.print(
            f"{row.name:<9} {row.imported:>9.1f} {row.idle:>10.1f} {row.after:>17.1f} {row.call:>13.0f}",
            highlight=False,
        )


if __name__ == "__main__":
    main()
