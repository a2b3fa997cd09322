"""What of images is allowed, and what signs them, as the command line has it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinnace.errors import InvalidArgument, Unimplemented
from pinnace.images.signing import payload, policy, registriesd
from pinnace.spec import digest as digests
from pinnace.spec import reference as references
from pinnace.store import disk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.cli.options import Call
    from pinnace.images.copy import Check, Sign
    from pinnace.images.signing.signature import Signature
    from pinnace.images.transports.base import Document, Source
    from pinnace.spec.reference import Reference


def check_of(call: Call) -> Check:
    """The check that each image must pass before it is used.

    Without a policy file everything passes, unless ``--require-signed`` is given.
    """
    wanted = _policy(call)
    signed = call.on("require-signed")
    if signed and call.on("insecure-policy"):
        raise InvalidArgument("--require-signed and --insecure-policy cannot be used together")

    def check(source: Source, document: Document, signatures: Sequence[Signature]) -> None:
        wanted.check(_image(source, document), signatures, signed=signed)

    return check


def _policy(call: Call) -> policy.Policy:
    if call.on("insecure-policy"):
        return policy.ANYTHING
    path = call.text("policy") or policy.default_path()
    return policy.load(path) if path else policy.ANYTHING


def _image(source: Source, document: Document) -> policy.Image:
    """The image as policies speak of it (containers-policy.json(5), "Supported transports")."""
    transport, _, rest = source.name.partition(":")
    scopes: tuple[str, ...] = ()
    if transport == "docker" and source.reference:
        scopes = registriesd.scopes_of(str(source.reference))
    elif transport == "dir":
        scopes = _folders(os.path.realpath(rest))
    elif transport in ("oci", "oci-archive"):
        path, colon, name = rest.partition(":")
        real = os.path.realpath(path)
        scopes = ((f"{real}:{name}",) if colon else ()) + _folders(real)
    return policy.Image(source.name, transport, scopes, source.reference, document.digest)


def _folders(path: str) -> tuple[str, ...]:
    found = [path]
    while os.path.dirname(path) != path:
        path = os.path.dirname(path)
        found.append(path)
    return tuple(found)


def signers_of(call: Call) -> list[Sign]:
    """What signs a copy, as ``--sign-by`` and ``--sign-by-sigstore-private-key`` say."""
    for flag in ("sign-by-sigstore", "sign-by-sq-fingerprint"):
        if call.has(flag) and call.text(flag):
            raise Unimplemented(
                f"--{flag} is not supported", hint="--sign-by or --sign-by-sigstore-private-key"
            )
    found: list[Sign] = []
    passphrase = passphrase_of(call, "sign-passphrase-file")
    fingerprint, path = call.text("sign-by"), call.text("sign-by-sigstore-private-key")
    if fingerprint:
        found.append(_by_gpg(fingerprint, passphrase))
    if path:
        found.append(_by_key(path, passphrase))
    return found


def _by_gpg(fingerprint: str, passphrase: bytes | None) -> Sign:
    from pinnace.images.signing import simple

    return lambda manifest, reference: simple.sign(
        _claim(manifest, reference), fingerprint, passphrase
    )


def _by_key(path: str, passphrase: bytes | None) -> Sign:
    from pinnace.images.signing import keys, sigstore
    from pinnace.images.transports import files

    if passphrase is None:
        passphrase = asked(f"Passphrase for {path}: ")
    secret = keys.load_private(files.read(path, 1 << 20), passphrase, path)
    return lambda manifest, reference: sigstore.sign(_claim(manifest, reference), secret)


def _claim(manifest: bytes, reference: Reference) -> payload.Claim:
    return payload.Claim(digests.sha256(manifest), str(reference))


def identity_of(call: Call) -> Reference | None:
    """``--sign-identity``, which must be a full name."""
    text = call.text("sign-identity")
    if not text:
        return None
    reference = references.normalize(text)
    if str(reference) != text:
        raise InvalidArgument(f"--sign-identity {text}: is no full name", hint=str(reference))
    return reference


def passphrase_of(call: Call, flag: str) -> bytes | None:
    """The first line of the file that *flag* names, which may be a pipe; None without one."""
    path = call.text(flag)
    if not path:
        return None
    with disk.errors(path), open(path, "rb") as file:
        return file.readline(1 << 16).rstrip(b"\n")


def asked(prompt: str) -> bytes:
    """A passphrase from the terminal, without echo; raises InvalidArgument without a terminal."""
    import getpass

    if not os.isatty(0):
        raise InvalidArgument(
            "a passphrase is needed", hint="name a file with it, or use a terminal"
        )
    return getpass.getpass(prompt).encode()
