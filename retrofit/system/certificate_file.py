"""Certificates of a file that may hold a private key too: nothing else is read out of it."""

from __future__ import annotations

import os
import stat
from io import FileIO, TextIOWrapper
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

LARGEST = 1024 * 1024
"""Bytes of such a file; a bundle of all public CAs has a quarter of it."""
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


class NoCertificateError(Exception):
    """A file holds no certificate that can be read; the text names the reason, never content."""


def read_certificates(path: Path) -> tuple[str, ...]:
    """Return the certificates of a PEM file, each written anew from what it was parsed to.

    Lines outside of CERTIFICATE blocks, a private key among them, are dropped as they are read.
    Raises NoCertificateError.
    """
    blocks, lines = [], None
    try:
        # O_NONBLOCK: opening a fifo would wait for a writer.
        with FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)) as raw:
            status = os.fstat(raw.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
                raise NoCertificateError("it is not a file of at most 1 MiB")
            for line in TextIOWrapper(raw, encoding="ascii", errors="replace"):
                if line.strip() == BEGIN:
                    lines = [BEGIN]
                elif lines is not None:
                    lines.append(line.strip())
                    if line.strip() == END:
                        blocks.append("\n".join(lines) + "\n")
                        lines = None
    except OSError as error:
        raise NoCertificateError(error.strerror or type(error).__name__) from error
    if not blocks:
        raise NoCertificateError("it has no CERTIFICATE block")
    return tuple(_anew(block) for block in blocks)


def _anew(block: str) -> str:
    try:
        parsed = x509.load_pem_x509_certificate(block.encode("ascii", errors="replace"))
        return parsed.public_bytes(Encoding.PEM).decode()
    except (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm):
        # Not its words: they may repeat what the block holds. `from None`: nor in a traceback.
        raise NoCertificateError("a CERTIFICATE block in it is no certificate") from None
