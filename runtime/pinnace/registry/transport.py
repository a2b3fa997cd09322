"""HTTP towards registries: pooled connections, time limits, redirects, retries with patience.

Promise: every call ends. Connecting, each read and a body's progress are bounded in time; answers
that are kept in memory are bounded in size; redirects carry no credentials to another host and
never lead from TLS to plain HTTP.
"""

from __future__ import annotations

import http.client
import os
import random
import select
import socket
import ssl
import threading
import time
from base64 import b64encode
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import unquote, urljoin, urlsplit

from pinnace.errors import DataLoss, Error, ResourceExhausted, Unavailable
from pinnace.registry import tls
from pinnace.registry.hosts import Host, is_local

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from pinnace.registry.upload import Content

    Body: TypeAlias = bytes | Content | None

READ_SECONDS = 60.0
_ATTEMPTS = 5
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 60.0
_REDIRECTS = 5
_BLOCK_BYTES = 1 << 17
"""Bytes of an upload that are read and sent at a time; http.client takes 8 KiB by itself."""
CONNECTIONS = 8
"""Requests to one address that are under way at a time: registries refuse clients with more."""
_SENT_BYTES = 1 << 22
"""Bytes that the kernel is asked to send at a time, where it can take them from the file."""
_SHORT = 64 * 1024
_TRY_AGAIN = frozenset((408, 429, 500, 502, 503, 504))
PROGRESS = 64 * 1024
"""Bytes that must come within each READ_SECONDS, and between two failures that do not add up."""
AGENT = "pinnace/0.1"
# Headers that belong to one host and are not shown to another.
_PRIVATE = frozenset(("authorization", "cookie", "proxy-authorization"))


trace: Callable[[str], None] | None = None
"""Told each request with the status of its answer, for ``--debug``; without queries, which may be secret."""


class Address(NamedTuple):
    """Where a connection goes."""

    scheme: str
    host: str
    port: int


class Response:
    """An answer whose body is still on the wire; close it, or read it to its end."""

    def __init__(
        self, client: Client, address: Address, connection: http.client.HTTPConnection,
        raw: http.client.HTTPResponse, url: str, slot: threading.Semaphore,
    ) -> None:  # fmt: skip
        self.status = raw.status
        self.headers = raw.headers
        self.url = url
        self._client = client
        self._address = address
        self._connection: http.client.HTTPConnection | None = connection
        self._raw = raw
        self._left = raw.length
        self._mark = (time.monotonic(), 0)
        self._count = 0
        self._slot: threading.Semaphore | None = slot

    @property
    def length(self) -> int | None:
        """Bytes of the body that are still to come; None when the server did not say."""
        return self._left

    def read(self, size: int = -1) -> bytes:
        """Up to *size* bytes, nothing at the end.

        Raises Unavailable when the connection breaks, stalls or ends before the announced length.
        """
        if self._connection is None:
            return b""
        try:
            # One read of the socket at a time: a server that drips would never fill the buffer.
            data = self._raw.read1(size) if size >= 0 else self._raw.read()
            if self._left is not None and len(data) == self._left:
                self._raw.read()  # nothing is left, and it is told so: the connection can go on
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unavailable(
                f"connection to {self._address.host} broke: {_reason(error)}"
            ) from None
        self._count += len(data)
        if self._left is not None:
            self._left -= len(data)
        if data:
            self._check_pace()
        elif self._left:
            left = self._left
            self._drop()
            raise Unavailable(f"{self._address.host} closed the connection {left} bytes too early")
        if not data or self._left == 0:
            self._release()
        return data

    def _check_pace(self) -> None:
        since, count = self._mark
        now = time.monotonic()
        if now - since < READ_SECONDS:
            return
        if self._count - count < PROGRESS:
            self._drop()
            raise Unavailable(f"{self._address.host} sends too slowly")
        self._mark = (now, self._count)

    def document(self, limit: int) -> bytes:
        """The whole body; raises DataLoss beyond *limit* bytes."""
        parts: list[bytes] = []
        size = 0
        try:
            while data := self.read(65536):
                size += len(data)
                if size > limit:
                    raise DataLoss(f"answer of {self._address.host} is larger than {limit} bytes")
                parts.append(data)
        finally:
            self.close()
        return b"".join(parts)

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._leave()
        if self._raw.will_close or not self._raw.isclosed():
            connection.close()
        else:
            self._client.give_back(self._address, connection)

    def close(self) -> None:
        """Done with the answer: a short rest is read, so that the connection can be used again.

        A new connection costs a TLS handshake, which takes an ARMv6 board half a second.
        """
        if self._connection is not None and self._left is not None and self._left <= _SHORT:
            try:
                self._raw.read()
                self._release()
            except (OSError, http.client.HTTPException):
                pass
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._leave()

    def _leave(self) -> None:
        """Let the next request to the host begin."""
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.release()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Client:
    """Connections to one :class:`Host` and to where it redirects; safe for many threads."""

    def __init__(self, host: Host, *, sleep: float = 1.0) -> None:
        """*sleep* scales every wait between attempts (tests use less)."""
        self.host = host
        self._sleep = sleep
        self._idle: dict[Address, list[http.client.HTTPConnection]] = {}
        self._slots: dict[Address, threading.Semaphore] = {}
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body = None,
        *,
        retry: bool = True,
    ) -> Response:
        """Send a request, following redirects of GET and HEAD; answers of any status come back.

        A busy server and a failed connection are tried again, with growing waits or as long as
        ``Retry-After`` says. Raises Unavailable, ResourceExhausted (429).
        """
        for attempt in range(1, _ATTEMPTS + 1):
            last = attempt == _ATTEMPTS or not retry
            try:
                response = self._follow(method, url, headers, body)
            except _Broken as error:
                if last:
                    raise Unavailable(str(error)) from None
                self.pause(attempt)
                continue
            if response.status not in _TRY_AGAIN or (last and response.status != 429):
                return response
            wait = response.headers.get("Retry-After")
            response.close()
            if last:
                raise ResourceExhausted(
                    f"{self.host.address} has had too many requests",
                    hint="wait a while, log in, or use a mirror (hosts.toml)",
                )
            self.pause(attempt, wait)
        raise AssertionError("unreachable")

    def pause(self, attempt: int, retry_after: str | None = None) -> None:
        """Wait before the next attempt, longer each time, or as long as the server says."""
        delay = _FIRST_DELAY * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)  # noqa: S311 (jitter)
        delay = max(delay, _seconds_until(retry_after or ""))
        time.sleep(min(delay, _LONGEST_DELAY) * self._sleep)

    def _follow(self, method: str, url: str, headers: Mapping[str, str], body: Body) -> Response:
        headers = dict(headers)
        for _ in range(_REDIRECTS + 1):
            response = self._send(method, url, headers, body)
            location = response.headers.get("Location")
            if (
                response.status not in (301, 302, 303, 307, 308)
                or not location
                or method not in ("GET", "HEAD")
            ):
                return response
            response.close()
            target = urljoin(url, location)
            old, new = address_of(url), address_of(target)
            if old.scheme == "https" and new.scheme != "https":
                raise Unavailable(f"{old.host} redirects to plain HTTP ({new.host}): refused")
            if new != old:
                headers = {k: v for k, v in headers.items() if k.lower() not in _PRIVATE}
                for name, _value in self.host.headers:
                    headers.pop(name, None)
            url = target
        raise Unavailable(f"{self.host.address} redirects in circles")

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Body) -> Response:
        address = address_of(url)
        parts = urlsplit(url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        sent = {"User-Agent": AGENT, **headers}
        proxy = proxy_for(address) if address.scheme == "http" else None
        if proxy:  # RFC 9112, 3.2.2: a proxy is asked for the whole URL
            path = f"{parts.scheme}://{parts.netloc}{path}"
            sent.update(proxy.headers)
        slot = self._slot_for(address)
        slot.acquire()
        try:
            connection, raw = self._exchange(address, method, path, body, sent)
        except BaseException:
            slot.release()
            raise
        if trace:
            trace(f"{method} {url.partition('?')[0]} {raw.status}")
        return Response(self, address, connection, raw, url, slot)

    def _slot_for(self, address: Address) -> threading.Semaphore:
        """At most so many requests to one address are under way; others wait for their turn."""
        with self._lock:
            return self._slots.setdefault(address, threading.Semaphore(CONNECTIONS))

    def _exchange(
        self, address: Address, method: str, path: str, body: Body, sent: Mapping[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        while True:
            connection, reused = self._connection(address)
            try:
                _write_request(connection, method, path, body, dict(sent))
                return connection, connection.getresponse()
            except Error:  # what is uploaded could not be read: a half-sent request is no use
                connection.close()
                raise
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if reused and (body is None or isinstance(body, bytes)):
                    continue  # the server closed a connection that was kept: not a failure
                raise self._explain(address, error) from None

    def _connection(self, address: Address) -> tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            idle = self._idle.get(address)
            if idle:
                return idle.pop(), True
        try:
            return self._connect(address), False
        except (OSError, http.client.HTTPException) as error:
            raise self._explain(address, error) from None

    def _connect(self, address: Address) -> http.client.HTTPConnection:
        proxy = proxy_for(address)
        target = proxy.address if proxy else address
        connection: http.client.HTTPConnection
        if address.scheme == "https":
            own = (address.host, address.port) == _host_port(self.host.scheme, self.host.address)
            # Storage that a private registry redirects to has its CA, but gets no certificate of ours.
            context = tls.context(self.host if own else self.host._replace(client=()))
            connection = http.client.HTTPSConnection(
                target.host,
                target.port,
                timeout=self.host.dial_timeout,
                context=context,
                blocksize=_BLOCK_BYTES,
            )
            if proxy:
                connection.set_tunnel(address.host, address.port, proxy.headers)
        else:
            connection = http.client.HTTPConnection(
                target.host,
                target.port,
                timeout=self.host.dial_timeout,
                blocksize=_BLOCK_BYTES,
            )
        connection.connect()
        if connection.sock is not None:
            connection.sock.settimeout(READ_SECONDS)
        return connection

    def give_back(self, address: Address, connection: http.client.HTTPConnection) -> None:
        """Keep a connection for the next request."""
        with self._lock:
            idle = self._idle.setdefault(address, [])
            if len(idle) < CONNECTIONS:
                idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            for idle in self._idle.values():
                for connection in idle:
                    connection.close()
            self._idle.clear()

    def _explain(self, address: Address, error: Exception) -> Error:
        """A failure worth another try is _Broken; what will fail again says what to do."""
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            return tls.explain(self.host._replace(address=address.host), error)
        if isinstance(error, socket.gaierror):
            return Unavailable(
                f"host {address.host} is not known: {error.strerror}",
                hint="check its spelling and this machine's name server (/etc/resolv.conf)",
            )
        return _Broken(f"cannot reach {address.host}:{address.port}: {_reason(error)}")


def _write_request(
    connection: http.client.HTTPConnection, method: str, path: str, body: Body, headers: dict[str, str]
) -> None:  # fmt: skip
    """Send a request; a file's bytes go from the disk's cache to the socket, unless TLS needs them."""
    send = getattr(body, "send", None)
    if send is None or isinstance(connection.sock, ssl.SSLSocket):
        connection.request(method, path, cast("Any", body), headers)
        return
    connection.request(method, path, None, headers)
    offset, size = 0, int(headers["Content-Length"])
    while offset < size:
        try:
            sent = send(connection.sock.fileno(), offset, min(size - offset, _SENT_BYTES))
        except BlockingIOError:  # the socket has a time limit, and is thus not blocking
            _wait_writable(connection.sock)
            continue
        if not sent:
            raise OSError(f"what is uploaded ends after {offset} of {size} bytes")
        offset += sent


def _wait_writable(sock: socket.socket) -> None:
    """Raises TimeoutError when the other side takes nothing for as long as the socket's limit."""
    watched = select.poll()
    watched.register(sock, select.POLLOUT)
    if not watched.poll(None if sock.gettimeout() is None else (sock.gettimeout() or 0) * 1000):
        raise TimeoutError("timed out")


def _seconds_until(retry_after: str) -> float:
    """What ``Retry-After`` says: seconds, or a date (RFC 9110, 10.2.3); 0 for anything else."""
    text = retry_after.strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        return parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0


class _Broken(Unavailable):
    """A failure that may be over in a moment."""


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, http.client.RemoteDisconnected):
        return "connection closed without an answer"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    # A server's own words may be among them: one line, and nothing for the terminal to obey.
    return "".join(c if c.isprintable() else " " for c in text).strip()[:200]


def address_of(url: str) -> Address:
    """Where a URL leads; raises Unavailable for anything but http and https."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        raise Unavailable(f"not a usable URL: {url[:200]!r}")
    return Address(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80))


def _host_port(scheme: str, address: str) -> tuple[str, int]:
    parts = address_of(f"{scheme}://{address}")
    return parts.host, parts.port


def speaks_tls(host: Host) -> bool:
    """Whether a host that may be asked without TLS speaks it after all.

    Only the shape of its answer decides: a host that cannot be reached is left to the request.
    """
    address = address_of(f"https://{host.address}")
    if proxy_for(address):
        return host.scheme == "https"
    context = tls.context(host._replace(skip_verify=True))
    try:
        with (
            socket.create_connection((address.host, address.port), host.dial_timeout) as plain,
            context.wrap_socket(plain, server_hostname=address.host),
        ):
            return True
    except ssl.SSLError as error:
        return error.reason not in tls.NOT_TLS
    except OSError:
        return host.scheme == "https"


class Proxy(NamedTuple):
    """A proxy, and the headers that it alone gets."""

    address: Address
    headers: dict[str, str]


def proxy_for(address: Address) -> Proxy | None:
    """The proxy that the environment names for *address* (https_proxy, http_proxy, no_proxy)."""
    value = _variable(f"{address.scheme}_proxy")
    if not value or is_local(address.host):
        return None
    for pattern in _variable("no_proxy").split(","):
        pattern = pattern.strip().lstrip(".")
        if pattern == "*" or (
            pattern and (address.host == pattern or address.host.endswith(f".{pattern}"))
        ):
            return None
    url = value if "://" in value else f"http://{value}"
    parts = urlsplit(url)
    headers = {}
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    return Proxy(address_of(url), headers)


def _variable(name: str) -> str:
    return os.environ.get(name) or os.environ.get(name.upper()) or ""
