"""Certificates shown without their keys: what a lenient and a strict TLS make of them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from retrofit.control_plane.certificates import Judgement
from retrofit.verify.boot.certificates import (
    GUIDE_NAME,
    Identity,
    authority,
    guide_authority,
    issued,
    issued_by_guide,
)
from retrofit.verify.boot.client import (
    UnsuitableCertificateError,
    client_of,
    judge,
    key_without_secret,
)

NO_KEY_USAGE = "CA cert does not include key usage extension"
GUIDE_CA, GOOD_CA = guide_authority(), authority("CA")
GUIDE, GOOD = issued_by_guide(GUIDE_CA, GUIDE_NAME), issued(GOOD_CA, "controller")
EC = ec.SECP384R1()


def pem(*identities: Identity) -> list[str]:
    return [each.certificate_pem.decode() for each in identities]


def self_signed(key: Any, algorithm: hashes.SHA256 | None, *, days: int) -> x509.Certificate:
    """A certificate that is its own CA: enough to show."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "controller")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, algorithm)
    )


def self_made(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, *, days: int = 1) -> list[str]:
    made = self_signed(key, hashes.SHA256(), days=days)
    return [made.public_bytes(serialization.Encoding.PEM).decode()]


@pytest.mark.parametrize(
    ("ca", "shown", "lenient", "strict"),
    [
        (GUIDE_CA, [GUIDE], None, NO_KEY_USAGE),
        (GUIDE_CA, [], None, NO_KEY_USAGE),
        (GOOD_CA, [GOOD], None, None),
        (GOOD_CA, [], None, None),
        (GUIDE_CA, [GOOD], "unable to get local issuer", "unable to get local issuer"),
    ],
    ids=["guide", "guide-ca", "good", "good-ca", "other"],
)
def test_a_client_is_judged_without_its_key(
    ca: Identity, shown: list[Identity], lenient: str | None, strict: str | None
) -> None:
    client = client_of(pem(ca), pem(*shown))
    assert client.keyless == bool(shown)
    found = judge(client)
    for words, expected in ((found.lenient, lenient), (found.strict, strict)):
        assert (words is None) == (expected is None)
        assert (expected or "") in (words or "")
    for secret in (ca, *shown):
        assert secret.key_pem not in client.shown + client.ca


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(EC)],
    ids=["rsa", "p384"],
)
def test_keys_of_both_kinds_can_be_done_without(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
) -> None:
    certificate = self_made(key)
    assert judge(client_of(certificate, certificate)).lenient is None
    expired = self_made(key, days=-1)
    assert judge(client_of(expired, expired)) == Judgement(
        lenient="certificate has expired", strict="certificate has expired"
    )


def test_a_made_up_key_has_the_public_half_alone() -> None:
    key = ec.generate_private_key(EC)
    (certificate,) = self_made(key)
    made = key_without_secret(x509.load_pem_x509_certificate(certificate.encode())).decode()
    assert f"{key.private_numbers().private_value:x}" not in made
    point = key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    body = "".join(made.splitlines()[1:-1])
    assert point in base64.b64decode(body)


def test_a_key_of_another_kind_is_named() -> None:
    certificate = self_signed(ed25519.Ed25519PrivateKey.generate(), None, days=1)
    with pytest.raises(UnsuitableCertificateError, match="neither RSA nor EC"):
        key_without_secret(certificate)
