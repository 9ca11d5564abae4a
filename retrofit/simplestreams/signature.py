"""The signed part of a clear-signed file, and nothing around it."""

from __future__ import annotations

import os
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from retrofit.errors import SourceError
from retrofit.system.process import CommandError, run

HEADER = b"-----BEGIN PGP SIGNED MESSAGE-----"
GPGV_SECONDS = 60.0
WEAK_HASHES = frozenset({"1", "2", "3"})
"""MD5, SHA-1 and RIPEMD-160 by their numbers in RFC 9580: two texts may have one signature."""


def is_signed(message: bytes) -> bool:
    """Return True if a file has a clear-signed part."""
    return HEADER in message


def signed_content(message: bytes, keyring: Path, *, name: str) -> tuple[bytes, str]:
    """Return the signed content, and the fingerprint of the key in `keyring` that signed it.

    The content is gpgv's own output: a second parser of such a file may read other lines than
    those that were checked (simplestreams does). Further signatures by unknown keys are accepted,
    bad ones are not. Raises SourceError.
    """
    with tempfile.TemporaryDirectory(prefix="retrofit-gpgv.") as scratch:
        content = Path(scratch) / "content"
        argv: list[str | Path] = [
            "gpgv",
            "--status-fd",
            "2",
            "--keyring",
            keyring.resolve(),
            "--output",
            content,
        ]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": scratch}
        try:
            verdict = run(argv, timeout=GPGV_SECONDS, env=environment, stdin=message).stderr
        except CommandError as error:
            if error.returncode is None:
                raise SourceError(
                    f"cannot check the signature of {name}: {error.message}",
                    hint="install gpgv",
                ) from error
            verdict = error.stderr
        key = _signer(verdict, keyring, name)
        return content.read_bytes(), key


def _signer(status: str, keyring: Path, name: str) -> str:
    """Return the signing key from gpgv's status lines (GnuPG, doc/DETAILS). Raises SourceError."""
    prefix = "[GNUPG:] "
    lines = [line.removeprefix(prefix).split() for line in status.splitlines() if prefix in line]
    verdicts: dict[str, list[str]] = {}
    for word, *details in filter(None, lines):
        verdicts.setdefault(word, details)
    broken = {"BADSIG", "ERROR", "NODATA", "UNEXPECTED"} & set(verdicts)
    if broken:
        raise SourceError(
            f"the signature of {name} does not match its content",
            hint="the mirror is damaged or was tampered with: compare it with its origin",
        )
    if "VALIDSIG" not in verdicts or "GOODSIG" not in verdicts:
        by = _unfit(verdicts)
        by = by or f"key {_unknown(verdicts)}, which is not in {keyring}"
        raise SourceError(
            f"{name} is signed by {by}",
            hint="set mirror.keyring to the public key of the mirror's operator"
            " (binary: gpg --export, not --armor)",
        )
    details = verdicts["VALIDSIG"]
    if details[7] in WEAK_HASHES:
        raise SourceError(
            f"the signature of {name} uses a digest that is broken (number {details[7]})",
            hint="have the mirror signed with SHA-256 or better",
        )
    return details[0]


def _unfit(verdicts: dict[str, list[str]]) -> str | None:
    """Name the key of a signature that is right, and that has expired or was revoked."""
    for word, how in (("EXPKEYSIG", "an expired key"), ("REVKEYSIG", "a revoked key")):
        if word in verdicts:
            key, *owner = verdicts[word] or ["unknown"]
            since = _date(verdicts.get("KEYEXPIRED")) if word == "EXPKEYSIG" else ""
            return f"{how}{since}, {' '.join((key, *owner))}"
    return None


def _date(details: list[str] | None) -> str:
    """Return since when, from gpgv's seconds or its time of ISO 8601; empty for neither."""
    stamp = details[0] if details else ""
    if re.fullmatch(r"\d{1,11}", stamp):
        return f" ({datetime.fromtimestamp(int(stamp), UTC):%Y-%m-%d})"
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)T\d{6}", stamp)
    return f" ({'-'.join(found.groups())})" if found else ""


def _unknown(verdicts: dict[str, list[str]]) -> str:
    key = verdicts.get("ERRSIG") or verdicts.get("NO_PUBKEY") or ["unknown"]
    return key[-1] if len(key) > 1 and len(key[-1]) >= 40 else key[0]
