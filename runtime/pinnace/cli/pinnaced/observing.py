"""The daemon's windows: metrics for Prometheus, and the debug socket; each is there when it is configured."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from pinnace.daemon import host
from pinnace.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pinnace.api.httpd import Answer, Httpd
    from pinnace.daemon.config import Config
    from pinnace.daemon.daemon import Daemon
    from pinnace.daemon.log import Log
    from pinnace.daemon.metrics import Calls


def counter(config: Config) -> Calls | None:
    """What counts calls, where a window will show them; for :func:`start`."""
    if not config.text("metrics_address") and not config.text("debug_address"):
        return None
    from pinnace.daemon.metrics import Calls

    return Calls()


def start(daemon: Daemon, calls: Calls | None, log: Log) -> list[Httpd]:
    """Open what the configuration asks for; raises Unavailable when an address cannot be used."""
    found: list[Httpd] = []
    if calls is None:
        return found
    address = daemon.config.text("metrics_address")
    if address:
        found.append(_metrics(daemon, calls, log, address))
        log.info(f"metrics are at http://{address}/v1/metrics")
    path = daemon.config.text("debug_address")
    if path:
        found.append(_debug(daemon, calls, log, path))
        log.info(f"the debug socket is {path}")
    for each in found:
        each.start()
    return found


def _metrics(daemon: Daemon, calls: Calls, log: Log, address: str) -> Httpd:
    from pinnace.api.httpd import Httpd

    page = _metrics_page(daemon, calls)
    return Httpd(_listen_tcp(address), {"/v1/metrics": page, "/metrics": page}, log.error)


def _metrics_page(daemon: Daemon, calls: Calls):  # type: ignore[no-untyped-def]
    from pinnace.api.httpd import Answer
    from pinnace.daemon import metrics

    def page(_: Mapping[str, str]) -> Answer:
        return Answer(metrics.page(daemon, calls), content_type=metrics.CONTENT_TYPE)

    return page


def _debug(daemon: Daemon, calls: Calls, log: Log, path: str) -> Httpd:
    from pinnace.api.httpd import Answer, Httpd
    from pinnace.daemon import insides

    def profile(query: Mapping[str, str]) -> Answer:
        text = query.get("seconds", "30")
        if not text.isdecimal():
            return Answer("seconds is a number\n", 400)
        return Answer(insides.profile(float(text)))

    pages = {
        "/debug/pprof/goroutines": lambda _: Answer(insides.threads()),
        "/debug/pprof/goroutine": lambda _: Answer(insides.threads()),
        "/debug/pprof/threadcreate": lambda _: Answer(insides.threads()),
        "/debug/pprof/heap": lambda _: Answer(insides.memory()),
        "/debug/pprof/profile": profile,
        "/debug/tasks": lambda _: Answer(insides.tasks(daemon)),
        "/debug/memory": lambda _: Answer(insides.memory()),
        "/v1/metrics": _metrics_page(daemon, calls),
    }
    uid, gid = daemon.config.number("debug_uid"), daemon.config.number("debug_gid")
    return Httpd(host.listen(path, uid, gid), pages, log.error)


def _listen_tcp(address: str) -> socket.socket:
    name, _, port = address.rpartition(":")
    name = name.strip("[]")
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((name, int(port)))
        sock.listen(16)
    except OSError as problem:
        sock.close()
        raise Unavailable(
            f"cannot listen on {address}: {problem.strerror}",
            hint="see metrics.address in config.toml",
        ) from None
    return sock
