"""The lab's certificates: accepted by a strict verifier, and made anew only when they have to be."""

import datetime
import ipaddress
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from toolkit.lab import authority
from toolkit.lab.authority import Authority

NAMES = ("registry.lab", "127.0.0.1", "10.9.8.1")


def _load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _verify(leaf: Path, ca: Path, subject: x509.GeneralName) -> None:
    verifier = PolicyBuilder().store(Store([_load(ca)])).build_server_verifier(subject)  # type: ignore[arg-type]
    verifier.verify(_load(leaf), [])


@pytest.mark.parametrize(
    "subject",
    [x509.DNSName("registry.lab"), x509.IPAddress(ipaddress.ip_address("10.9.8.1"))],
)
def test_a_strict_verifier_accepts_the_server(tmp_path: Path, subject: x509.GeneralName) -> None:
    lab = Authority(tmp_path)
    _verify(lab.server(NAMES).certificate, lab.ca_certificate(), subject)


def test_another_authority_is_not_trusted(tmp_path: Path) -> None:
    lab, stranger = Authority(tmp_path / "lab"), Authority(tmp_path / "stranger")
    with pytest.raises(VerificationError):
        _verify(
            stranger.server(NAMES).certificate,
            lab.ca_certificate(),
            x509.DNSName("registry.lab"),
        )


def test_a_second_call_keeps_the_certificates(tmp_path: Path) -> None:
    first = Authority(tmp_path).server(NAMES).certificate.read_bytes()
    assert Authority(tmp_path).server(NAMES).certificate.read_bytes() == first


def test_other_names_make_another_certificate_of_the_same_authority(tmp_path: Path) -> None:
    lab = Authority(tmp_path)
    ca = lab.ca_certificate().read_bytes()
    lab.server(NAMES)
    files = lab.server(("registry.lab", "10.1.1.1"))
    assert lab.ca_certificate().read_bytes() == ca
    subject = x509.IPAddress(ipaddress.ip_address("10.1.1.1"))
    _verify(files.certificate, lab.ca_certificate(), subject)


def test_a_certificate_about_to_expire_is_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Authority(tmp_path)
    with monkeypatch.context() as short:
        short.setattr(authority, "_LEAF_LIFE", datetime.timedelta(days=12))
        old = _load(lab.server(NAMES).certificate)
    new = _load(lab.server(NAMES).certificate)
    assert new.not_valid_after_utc > old.not_valid_after_utc


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    lab = Authority(tmp_path)
    lab.server(NAMES)
    (tmp_path / "ca.pem").write_text("not a certificate")
    _verify(lab.server(NAMES).certificate, lab.ca_certificate(), x509.DNSName("registry.lab"))


def test_keys_are_private(tmp_path: Path) -> None:
    lab = Authority(tmp_path)
    for key in (lab.server(NAMES).key, tmp_path / "ca.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
