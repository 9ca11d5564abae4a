"""A control plane's client certificate, shown to an agent by one who does not have its key."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from retrofit.control_plane.certificates import Client, Judgement
from retrofit.verify.boot.certificates import (
    authority,
    copied_authority,
    issued,
    issued_by_guide,
)

NAME = "amphora"
STRANGE = (
    ValueError,
    TypeError,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)
"""Errors of a library that meets a certificate which it parsed, and does not understand."""


class UnsuitableCertificateError(Exception):
    """A certificate that cannot be shown; the text is the reason."""


def client_of(ca: Sequence[str], certificates: Sequence[str]) -> Client:
    """Return the client that a control plane is, by its CA and its certificates (PEM).

    Of a CA alone, it is one that a copy of the CA certifies. Raises UnsuitableCertificateError.
    """
    try:
        if certificates:
            leaf = x509.load_pem_x509_certificate(certificates[0].encode())
            shown = "".join(certificates).encode() + key_without_secret(leaf)
            return Client(ca="".join(ca).encode(), shown=shown, keyless=True)
        copy = copied_authority(x509.load_pem_x509_certificate(ca[0].encode()))
        shown = issued_by_guide(copy, "controller").pem
        return Client(ca=copy.certificate_pem, shown=shown, keyless=False)
    except STRANGE as error:
        what = "certificate" if certificates else "CA"
        raise UnsuitableCertificateError(f"the {what} cannot be used: {error}") from error


def judge(client: Client) -> Judgement:
    """Judge a client by TLS of this machine's Python, leniently and strictly.

    Raises UnsuitableCertificateError.
    """
    return Judgement(lenient=_refusal(client, strict=False), strict=_refusal(client, strict=True))


def key_without_secret(certificate: x509.Certificate) -> bytes:
    """Return a private key (PEM) whose public half is the certificate's, and whose other is not.

    Raises UnsuitableCertificateError for other keys than RSA and EC.
    """
    public = certificate.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        # RFC 8017, A.1.2: version, n, e, d, p, q, d mod (p-1), d mod (q-1), the inverse of q.
        values = (0, numbers.n, numbers.e, 3, numbers.n, 1, 3, 3, 1)
        body = _der(0x30, b"".join(map(_der_integer, values)))
        return _pem("RSA PRIVATE KEY", body)
    if isinstance(public, ec.EllipticCurvePublicKey):
        other = ec.generate_private_key(public.curve)
        body = other.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        # RFC 5915: the public point stands in it as it is, of the same length on the same curve.
        return _pem("EC PRIVATE KEY", body.replace(_point(other.public_key()), _point(public)))
    raise UnsuitableCertificateError("its key is neither RSA nor EC")


def client_context(shown: bytes, server_ca: bytes) -> ssl.SSLContext:
    """Return a context that shows a client certificate. Raises UnsuitableCertificateError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=server_ca.decode())
    # Whether a certificate is too weak is for the agent to judge.
    context.set_ciphers("ALL:@SECLEVEL=0")
    try:
        _load(context, shown)
    except ssl.SSLError as error:
        raise UnsuitableCertificateError(f"TLS cannot load it: {error.reason or error}") from error
    return context


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Load a certificate and its key from memory: OpenSSL's function wants a file's name."""
    with os.fdopen(os.memfd_create("certificate"), "wb") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")


def _refusal(client: Client, *, strict: bool) -> str | None:
    """Shake hands in memory with a server that demands the client's certificate."""
    server_ca = authority("server CA")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if strict:
        server.verify_flags |= ssl.VERIFY_X509_STRICT
    _load(server, issued(server_ca, NAME, dns_name=NAME).pem)
    try:
        server.load_verify_locations(cadata=client.ca.decode())
    except ssl.SSLError as error:
        return f"the CA cannot be loaded: {error.reason or error}"
    context = client_context(client.shown, server_ca.certificate_pem)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    ours = context.wrap_bio(to_client, to_server, server_hostname=NAME)
    for _ in range(10):
        for end in (ours, theirs):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            except ssl.SSLError:
                return None  # the signature, which comes after the certificate
    return None


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )


def _der(tag: int, body: bytes) -> bytes:
    length = len(body)
    if length < 128:
        return bytes([tag, length]) + body
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + body


def _der_integer(number: int) -> bytes:
    return _der(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _pem(label: str, body: bytes) -> bytes:
    text = base64.encodebytes(body).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n".encode()
