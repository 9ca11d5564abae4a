"""Certificates as an Octavia deployment has them, made afresh for one machine's short life."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=2)
GUIDE_NAME = "www.example.com"
"""Of CA and client alike, as in the charm's README."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """Return the certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def certificate_der(self) -> bytes:
        """Return the certificate as DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        """Return the unencrypted key as PEM."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @property
    def pem(self) -> bytes:
        """Return certificate and key in one PEM, as Octavia and HAProxy want it."""
        return self.certificate_pem + self.key_pem

    def write(self, path: Path) -> Path:
        """Store certificate and key, readable by the owner alone."""
        path.touch(mode=0o600)
        path.write_bytes(self.pem)
        return path


def authority(name: str) -> Identity:
    """Make a certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _named(name)
    certificate = (
        _builder(subject, subject, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Identity(certificate=certificate, key=key)


def issued(by: Identity, name: str, *, dns_name: str | None = None) -> Identity:
    """Issue a certificate for a server (with `dns_name`, which clients compare) or a client."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = ExtendedKeyUsageOID.CLIENT_AUTH if dns_name is None else ExtendedKeyUsageOID.SERVER_AUTH
    builder = (
        _builder(_named(name), by.certificate.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), critical=False
        )
    )
    if dns_name is not None:
        names = x509.SubjectAlternativeName([x509.DNSName(dns_name)])
        builder = builder.add_extension(names, critical=False)
    return Identity(certificate=builder.sign(by.key, hashes.SHA256()), key=key)


def guide_authority() -> Identity:
    """Make a CA as charm-octavia's README and the charm guide make theirs: without key usage.

    `openssl req -x509 -config /etc/ssl/openssl.cnf`: section v3_ca of Debian's and Ubuntu's file.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    by = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    certificate = (
        _builder(_named(GUIDE_NAME), _named(GUIDE_NAME), key)
        .add_extension(identifier, critical=False)
        .add_extension(by, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Identity(certificate=certificate, key=key)


def issued_by_guide(by: Identity, name: str) -> Identity:
    """Issue a client certificate as the guide does: `openssl ca`, section usr_cert."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_named(name), by.certificate.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), critical=False
        )
    )
    return Identity(certificate=builder.sign(by.key, hashes.SHA256()), key=key)


def copied_authority(certificate: x509.Certificate) -> Identity:
    """Make a CA with the names and extensions of another, and a key of ours.

    Key identifiers are those of our key, where there are any. Raises ValueError or TypeError for a
    certificate that cannot be made like it, one of version 1 among them.
    """
    if certificate.version is not x509.Version.v3:
        raise ValueError(f"it is of version {certificate.version.name}")
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
    )
    for each in certificate.extensions:
        value = each.value
        if isinstance(value, x509.SubjectKeyIdentifier):
            value = identifier
        elif isinstance(value, x509.AuthorityKeyIdentifier):
            value = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        builder = builder.add_extension(value, critical=each.critical)
    return Identity(certificate=builder.sign(key, hashes.SHA256()), key=key)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Return the key usage: Python 3.13 (in trixie's agent) refuses a CA without one."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Yesterday: the guest's clock need not agree with ours to the second.
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LIFETIME)
    )


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Certificates of one boot: the amphora's, the controller's, their CAs, and a stranger's.

    `guide` is a controller whose CA the agent trusts as well, made as the charm guide shows.
    """

    server_ca: Identity
    server: Identity
    client_ca: Identity
    client: Identity
    stranger: Identity
    guide_ca: Identity
    guide: Identity

    @property
    def trusted(self) -> bytes:
        """Return the CAs of controllers that the agent gets, in one PEM."""
        return self.client_ca.certificate_pem + self.guide_ca.certificate_pem

    @classmethod
    def make(cls, amphora_id: str) -> Credentials:
        """Make a set in which Octavia's rule holds: the server's SAN dNSName is the amphora id."""
        server_ca, client_ca = authority("amphora server CA"), authority("controller client CA")
        guide_ca = guide_authority()
        return cls(
            server_ca=server_ca,
            server=issued(server_ca, amphora_id, dns_name=amphora_id),
            client_ca=client_ca,
            client=issued(client_ca, "controller"),
            stranger=issued(authority("unrelated CA"), "controller"),
            guide_ca=guide_ca,
            guide=issued_by_guide(guide_ca, GUIDE_NAME),
        )
