"""``policy.json``: which images may be used, and whose signatures they need.

Source: containers-policy.json(5). Read strictly: a key that is not known makes the file invalid, and a
requirement that cannot be checked refuses the image. Nothing is allowed by mistake.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.errors import Error, InvalidArgument, NotFound, PermissionDenied, Unimplemented
from pinnace.images.signing import identity, keys, sigstore, simple
from pinnace.images.transports import files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.images.signing.payload import Claim
    from pinnace.images.signing.signature import Signature
    from pinnace.spec.digest import Digest
    from pinnace.spec.reference import Reference

ACCEPT, REJECT, SIGNED_BY, SIGSTORE = (
    "insecureAcceptAnything", "reject", "signedBy", "sigstoreSigned",
)  # fmt: skip
SYSTEM_PATH = "/etc/containers/policy.json"
_MAX_BYTES = 4 << 20
_SIMPLE_KEYS = ("keyPath", "keyPaths", "keyData")
_SIGSTORE_KEYS = ("keyPath", "keyPaths", "keyData", "keyDatas")
_SIGSTORE_FOREIGN = (
    "fulcio", "pki", "rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData",
    "rekorPublicKeyDatas",
)  # fmt: skip


class Image(NamedTuple):
    """What is to be used: its transport, its scopes from the narrowest on, its name and manifest."""

    name: str
    transport: str
    scopes: tuple[str, ...]
    reference: Reference | None
    digest: Digest


class Requirement(NamedTuple):
    """One condition; ``keys`` are the contents of key files."""

    type: str
    keys: tuple[bytes, ...] = ()
    identity: identity.Match = identity.DEFAULT
    unsupported: str = ""


class Policy(NamedTuple):
    """The requirements: by default, and for scopes of transports."""

    default: tuple[Requirement, ...]
    transports: dict[str, dict[str, tuple[Requirement, ...]]]

    def check(self, image: Image, signatures: Sequence[Signature], *, signed: bool = False) -> None:
        """Raise PermissionDenied unless *image* meets every requirement; with *signed*, one at least
        must be a signature."""
        wanted = self._requirements(image)
        if signed and all(item.type == ACCEPT for item in wanted):
            raise PermissionDenied(
                f"{image.name}: the policy takes it without a signature, and one is required"
            )
        for item in wanted:
            _check(item, image, signatures)

    def _requirements(self, image: Image) -> tuple[Requirement, ...]:
        scopes = self.transports.get(image.transport, {})
        for scope in (*image.scopes, ""):
            if scope in scopes:
                return scopes[scope]
        return self.default


ANYTHING = Policy((Requirement(ACCEPT),), {})


def default_path() -> str:
    """The user's policy, else the system's; empty when there is neither."""
    home = os.environ.get("HOME") or "/"
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    found = (os.path.join(config, "containers", "policy.json"), SYSTEM_PATH)
    return next((path for path in found if os.path.exists(path)), "")


def load(path: str) -> Policy:
    """Read a policy file; raises NotFound, InvalidArgument with the place of a mistake."""
    try:
        document = json.loads(files.read(path, _MAX_BYTES), object_pairs_hook=_no_repeats)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{path}: {error}") from None
    _only(document, ("default", "transports"), path)
    if "default" not in document:
        raise InvalidArgument(f"{path}: default is missing")
    transports: dict[str, dict[str, tuple[Requirement, ...]]] = {}
    for transport, scopes in _table(document.get("transports", {}), f"{path}: transports").items():
        where = f"{path}: transports.{transport}"
        transports[transport] = {
            scope: _requirements_of(value, f'{where}."{scope}"')
            for scope, value in _table(scopes, where).items()
        }
    return Policy(_requirements_of(document["default"], f"{path}: default"), transports)


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidArgument(f"{where} is not an object")
    return value


def _only(value: Any, known: Sequence[str], where: str) -> None:
    for key in _table(value, where):
        if key not in known:
            raise InvalidArgument(f"{where}: {key!r} is not known")


def _requirements_of(value: Any, where: str) -> tuple[Requirement, ...]:
    if not isinstance(value, list) or not value:
        raise InvalidArgument(f"{where} is not a list of requirements")
    return tuple(_requirement(item, f"{where}[{number}]") for number, item in enumerate(value))


def _requirement(item: Any, where: str) -> Requirement:
    kind = _table(item, where).get("type")
    if kind in (ACCEPT, REJECT):
        _only(item, ("type",), where)
        return Requirement(kind)
    if kind == SIGNED_BY:
        _only(item, ("type", "keyType", "signedIdentity", *_SIMPLE_KEYS), where)
        if item.get("keyType") != "GPGKeys":
            raise InvalidArgument(f"{where}: keyType must be GPGKeys")
        return Requirement(kind, _keys(item, _SIMPLE_KEYS, where), _identity(item, where))
    if kind == SIGSTORE:
        _only(item, ("type", "signedIdentity", *_SIGSTORE_KEYS, *_SIGSTORE_FOREIGN), where)
        foreign = [key for key in _SIGSTORE_FOREIGN if key in item]
        if foreign:
            # Never ignored: it is a condition that is not kept, so no image meets it.
            return Requirement(kind, unsupported=foreign[0])
        found = _keys(item, _SIGSTORE_KEYS, where)
        return Requirement(kind, found, _identity(item, where))
    raise InvalidArgument(f"{where}: {str(kind)[:60]!r} is not a type of requirement")


def _keys(item: dict[str, Any], names: Sequence[str], where: str) -> tuple[bytes, ...]:
    """The contents of the keys, which exactly one of *names* gives."""
    given = [name for name in names if name in item]
    if len(given) != 1:
        raise InvalidArgument(f"{where}: give one of {', '.join(names)}")
    name = given[0]
    values = item[name] if name.endswith("s") else [item[name]]
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InvalidArgument(f"{where}: {name} is malformed")
    if not values:
        raise InvalidArgument(f"{where}: {name} is empty")
    if "Path" in name:
        return tuple(files.read(value, _MAX_BYTES) for value in values)
    try:
        return tuple(base64.b64decode(value, validate=True) for value in values)
    except binascii.Error:
        raise InvalidArgument(f"{where}: {name} is not valid base64") from None


def _identity(item: dict[str, Any], where: str) -> identity.Match:
    if "signedIdentity" not in item:
        return identity.DEFAULT
    return identity.parse(_table(item["signedIdentity"], f"{where}.signedIdentity"), where)


def _check(wanted: Requirement, image: Image, signatures: Sequence[Signature]) -> None:
    if wanted.type == ACCEPT:
        return
    if wanted.type == REJECT:
        raise PermissionDenied(f"{image.name}: the policy allows no such images")
    if wanted.unsupported:
        raise Unimplemented(
            f"{image.name}: the policy asks for {wanted.unsupported} of sigstore, "
            "which cannot be checked here",
            hint="signatures by keys can: keyPath",
        )
    sigstores = wanted.type == SIGSTORE
    fitting = [item for item in signatures if item.is_sigstore is sigstores]
    kind = "sigstore" if sigstores else "GPG"
    reasons = []
    for signature in fitting:
        try:
            _accept(wanted, image, signature)
        except NotFound:
            raise  # GnuPG is missing: that is no judgement of the signature
        except Error as error:
            reasons.append(error.message)
        else:
            return
    if not fitting:
        raise PermissionDenied(
            f"{image.name}: the policy wants a {kind} signature, and it has none"
        )
    raise PermissionDenied(
        f"{image.name}: none of its {kind} signatures is accepted: {'; '.join(reasons[:5])}"
    )


def _accept(wanted: Requirement, image: Image, signature: Signature) -> None:
    claim = _claim(wanted, signature)
    if claim.digest != image.digest:
        raise InvalidArgument(f"signature is for {claim.digest}")
    if not wanted.identity.accepts(image.reference, claim.reference):
        raise InvalidArgument(f"signature is for the name {claim.reference}")


def _claim(wanted: Requirement, signature: Signature) -> Claim:
    if wanted.type == SIGNED_BY:
        return simple.verify(signature, wanted.keys)[0]
    points = [keys.load_public(data, "a key of the policy") for data in wanted.keys]
    return sigstore.verify(signature, points)
