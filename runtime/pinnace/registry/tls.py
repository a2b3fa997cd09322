"""TLS towards registries, and its failures said in sentences.

Boards often have no clock that survives a power cut; then every certificate is "not yet valid"
(rancher/os#2848). A clock that is older than this program is wrong for certain, and is named.
"""

from __future__ import annotations

import os
import ssl
import threading
import time
from typing import TYPE_CHECKING

from pinnace.errors import Error, InvalidArgument, Unavailable

if TYPE_CHECKING:
    from pinnace.registry.hosts import Host

RELEASED = 1_793_491_200
"""2026-11-01, seconds since the epoch: no right clock shows an earlier time."""

# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_NOT_YET_VALID, _EXPIRED, _HOSTNAME = 9, 10, (62, 64)
_UNKNOWN_CA = (2, 18, 19, 20, 21, 27)

NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF")
"""OpenSSL's reasons when the other side speaks something else."""

_contexts: dict[tuple[object, ...], ssl.SSLContext] = {}
_lock = threading.Lock()
_MAX_CONTEXTS = 16


def context(host: Host) -> ssl.SSLContext:
    """The TLS settings for *host* (kept, as reading the system's CAs takes a while on a board).

    Files that changed are read anew. Raises InvalidArgument for those that cannot be read.
    """
    files = (*host.ca, *(name for pair in host.client for name in pair))
    key = (host.ca, host.client, host.skip_verify, *map(_version, files))
    with _lock:
        if key not in _contexts:
            if len(_contexts) >= _MAX_CONTEXTS:
                _contexts.clear()
            _contexts[key] = _make(host)
        return _contexts[key]


def _version(path: str) -> tuple[int, ...]:
    """What tells a changed file from the one that was read."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _make(host: Host) -> ssl.SSLContext:
    made = ssl.create_default_context()
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in host.ca:
        try:
            made.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(f"CA certificate {path} for {host.url}: {error}") from None
    for certificate, key in host.client:
        try:
            made.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(
                f"client certificate {certificate} for {host.url}: {error}"
            ) from None
    if host.skip_verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def explain(host: Host, error: ssl.SSLError, now: float | None = None) -> Error:
    """What a TLS failure means and what to do about it; *now* is the clock's time in seconds."""
    name = host.address
    if isinstance(error, ssl.SSLCertVerificationError):
        return _explain_certificate(host, error, time.time() if now is None else now)
    reason = error.reason or str(error)
    if reason in NOT_TLS:
        return Unavailable(
            f"{name} does not speak TLS",
            hint=f'if it is meant to be plain HTTP: server = "http://{name}" in hosts.toml, or --plain-http',
        )
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return Unavailable(
            f"{name} refused the TLS connection: {reason.lower().replace('_', ' ')}",
            hint='does it want a client certificate? Set client = [["x.cert", "x.key"]] in hosts.toml',
        )
    return Unavailable(f"TLS with {name} failed: {reason.lower().replace('_', ' ')}")


def _explain_certificate(host: Host, error: ssl.SSLCertVerificationError, clock: float) -> Error:
    name, code = host.address, error.verify_code
    if code in (_NOT_YET_VALID, _EXPIRED):
        state = "is not valid yet" if code == _NOT_YET_VALID else "has expired"
        now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(clock))
        if clock < RELEASED:
            hint = f"this machine's clock is wrong: it says {now}; set it (timedatectl set-time, NTP) and try again"
        else:
            hint = f"this machine's clock says {now}; if that is right, the registry needs a new certificate"
        return Unavailable(f"the certificate of {name} {state}", hint=hint)
    if code in _HOSTNAME:
        return Unavailable(
            f"the certificate of {name} is for another host: {error.verify_message}",
            hint="use the name that the certificate has",
        )
    if code in _UNKNOWN_CA:
        registry = host.stands_for or name
        return Unavailable(
            f"the certificate of {name} is signed by an unknown authority ({error.verify_message})",
            hint=f'put the CA certificate beside hosts.toml in certs.d/{registry}/ and name it there: ca = "ca.crt"',
        )
    return Unavailable(f"the certificate of {name} is not accepted: {error.verify_message}")
