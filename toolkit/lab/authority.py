"""The lab's certificate authority: what makes TLS to the lab registry real.

A CA and one server certificate, kept as PEM files in one directory. They are made on first use and
made anew when they are about to expire or when the names asked for have changed, so that a lab that
was left alone for a year just works. Certificates carry the extensions of RFC 5280 that Go, OpenSSL
and Python (``VERIFY_X509_STRICT``) insist on.
"""

from __future__ import annotations

import datetime
import fcntl
import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = datetime.timedelta(days=1)
_CA_LIFE = 3650 * _DAY
_LEAF_LIFE = 397 * _DAY
"""The longest that Apple's and the CA/Browser Forum's rules accept for a server certificate."""
_RENEW_BEFORE = 30 * _DAY
_CLOCK_SKEW = 2 * _DAY
"""How far a board's clock may be behind before it calls a new certificate not yet valid."""

_USAGE = {
    "digital_signature": False, "content_commitment": False, "key_encipherment": False,
    "data_encipherment": False, "key_agreement": False, "key_cert_sign": False,
    "crl_sign": False, "encipher_only": False, "decipher_only": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """Paths of a PEM certificate chain and its private key (mode 0600)."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority whose files are in ``directory``."""

    def __init__(self, directory: Path, *, name: str = "Pinnace lab CA") -> None:
        self._directory = directory
        self._name = name

    def ca_certificate(self) -> Path:
        """The CA's certificate (PEM) that a client has to trust; made when there is none."""
        with self._locked():
            self._authority()
        return self._directory / "ca.pem"

    def server(self, names: tuple[str, ...]) -> ServerCertificate:
        """A server certificate for ``names`` (DNS names and IP addresses), valid for 30 more days."""
        with self._locked():
            ca, ca_key = self._authority()
            files = ServerCertificate(
                self._directory / "server.pem", self._directory / "server.key"
            )
            if not _usable_leaf(files, names, ca):
                key = ec.generate_private_key(ec.SECP256R1())
                _write(files.certificate, _pem(_leaf(names, key, ca, ca_key)))
                _write(files.key, _pem_key(key))
        return files

    def _authority(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        certificate_file, key_file = self._directory / "ca.pem", self._directory / "ca.key"
        certificate, key = _load(certificate_file), _load_key(key_file)
        if certificate is None or key is None or certificate.public_key() != key.public_key():
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = _self_signed(self._name, key)
            _write(key_file, _pem_key(key))
            _write(certificate_file, _pem(certificate))
        return certificate, key

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time makes certificates: parallel test runs share this directory."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with open(self._directory / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _self_signed(name: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    public = key.public_key()
    return (
        _builder(subject, subject, public, _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    names: tuple[str, ...],
    key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    public = key.public_key()
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        _builder(subject, ca.subject, public, _LEAF_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_general_names(names)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(issuer, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    life: datetime.timedelta,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now - _CLOCK_SKEW + life)
    )


def _usage(*granted: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{**_USAGE, **dict.fromkeys(granted, True)})


def _general_names(names: tuple[str, ...]) -> list[x509.GeneralName]:
    general: list[x509.GeneralName] = []
    for name in names:
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            general.append(x509.DNSName(name))
    return general


def _usable_leaf(files: ServerCertificate, names: tuple[str, ...], ca: x509.Certificate) -> bool:
    leaf, key = _load(files.certificate), _load_key(files.key)
    if leaf is None or key is None or leaf.public_key() != key.public_key():
        return False
    try:
        leaf.verify_directly_issued_by(ca)
    except Exception:  # wrong issuer, wrong signature, another kind of key: all mean "make it anew"
        return False
    wanted = x509.SubjectAlternativeName(_general_names(names))
    return leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value == wanted


def _load(path: Path) -> x509.Certificate | None:
    """The certificate in a file, or ``None`` when there is none that stays valid for long enough."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None
    limit = datetime.datetime.now(datetime.UTC) + _RENEW_BEFORE
    return certificate if certificate.not_valid_after_utc > limit else None


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, data: bytes) -> None:
    """Replace a file at once; keys are readable by their owner alone from the first moment."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    mode = 0o600 if path.suffix == ".key" else 0o644
    with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
    scratch.replace(path)
