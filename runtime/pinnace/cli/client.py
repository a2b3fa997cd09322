"""The daemon as commands see it: one connection, one containerd namespace.

Promise: everything a command does goes through here, so that each failure to reach the daemon reads the
same and says what to do about it.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, TypeVar

from pinnace.api.client import Channel
from pinnace.api.codec import Message

if TYPE_CHECKING:
    from collections.abc import Generator

    from pinnace.api.client import Call as Stream
    from pinnace.api.method import Method
    from pinnace.cli.options import Call

ADDRESSES = ("/run/pinnace/pinnace.sock", "/run/containerd/containerd.sock")
"""Where the daemon listens, tried in this order when no address was given."""

_CONNECT_SECONDS = 10.0

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class Client:
    """A connection to the daemon at ``address``, speaking for ``namespace``.

    Args:
        timeout: seconds for all calls together; 0 for no limit.
        debug: say each call and its time on standard error.
        channel: the connection itself, in place of an address.
    """

    def __init__(
        self, address: str, namespace: str, *, timeout: float = 0, connect_timeout: float = 0, debug: bool = False,
        channel: Channel | None = None,
    ) -> None:  # fmt: skip
        self.debug = debug
        self.namespace = namespace
        self.lease = ""
        self._deadline = time.monotonic() + timeout if timeout else 0.0
        self._channel = channel or Channel(
            address, namespace=namespace, connect_timeout=connect_timeout or _CONNECT_SECONDS
        )

    @classmethod
    def of(cls, call: Call) -> Client:
        """The connection that a command's global flags ask for."""
        return cls(
            call.text("address") or default_address(),
            call.text("namespace"),
            timeout=call.seconds("timeout"),
            connect_timeout=call.seconds("connect-timeout"),
            debug=call.on("debug"),
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def call(
        self, method: Method[Request, Response], request: Request, *, namespace: str = ""
    ) -> Response:
        """One request, one answer; raises the :class:`pinnace.errors.Error` of its status."""
        started = time.monotonic()
        try:
            return self._channel.unary(
                method, request, metadata=self._metadata(namespace), timeout=self._remaining()
            )
        finally:
            if self.debug:
                milliseconds = (time.monotonic() - started) * 1000
                sys.stderr.write(f"DEBUG {method.path} {milliseconds:.1f} ms\n")

    def begin(
        self, method: Method[Request, Response], request: Request
    ) -> Stream[Request, Response]:
        """One request whose answer is taken later, by ``result()``, or never."""
        if self.debug:
            sys.stderr.write(f"DEBUG {method.path} (begun)\n")
        return self._channel.stream(
            method, request, metadata=self._metadata(), timeout=self._remaining()
        )

    def read(
        self, method: Method[Request, Response], request: Request
    ) -> Generator[Response, None, None]:
        """One request, many answers."""
        if self.debug:
            sys.stderr.write(f"DEBUG {method.path} (stream)\n")
        with self._channel.stream(
            method, request, metadata=self._metadata(), timeout=self._remaining()
        ) as answers:
            yield from answers

    def open(self, method: Method[Request, Response]) -> Stream[Request, Response]:
        """A stream in both directions."""
        return self._channel.stream(method, metadata=self._metadata())

    def _metadata(self, namespace: str = "") -> dict[str, str]:
        headers = {"containerd-namespace": namespace} if namespace else {}
        if self.lease:
            headers["containerd-lease"] = self.lease
        return headers

    def _remaining(self) -> float | None:
        return max(0.001, self._deadline - time.monotonic()) if self._deadline else None


def default_address() -> str:
    """The first of the usual addresses where something listens, else ours."""
    for address in ADDRESSES:
        if os.path.exists(address):
            return address
    return ADDRESSES[0]
