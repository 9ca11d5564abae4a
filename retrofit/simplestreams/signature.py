"""What a key vouches for in a clear-signed file, and nothing around it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from retrofit.errors import SourceError
from retrofit.process import CommandError, run

HEADER = b"-----BEGIN PGP SIGNED MESSAGE-----"
GPGV_SECONDS = 60.0
WEAK_HASHES = frozenset({"1", "2", "3"})
"""MD5, SHA-1 and RIPEMD-160, as RFC 9580 numbers them: two texts may have one signature."""


def is_signed(message: bytes) -> bool:
    """Say whether there is a clear-signed part in a file."""
    return HEADER in message


def signed_content(message: bytes, keyring: Path, *, name: str) -> tuple[bytes, str]:
    """Return what was signed, and the fingerprint of the key in `keyring` that signed it.

    gpgv itself gives out the signed text: whoever takes such a file apart again may read other
    lines than those that were checked (simplestreams does). Further signatures by unknown keys
    are no objection, bad ones are. Raises SourceError.
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
            said = run(argv, timeout=GPGV_SECONDS, env=environment, stdin=message).stderr
        except CommandError as error:
            if error.returncode is None:
                raise SourceError(
                    f"cannot check the signature of {name}: {error.message}",
                    hint="install gpgv",
                ) from error
            said = error.stderr
        key = _signer(said, keyring, name)
        return content.read_bytes(), key


def _signer(said: str, keyring: Path, name: str) -> str:
    """Read gpgv's machine-readable verdict (GnuPG, doc/DETAILS)."""
    prefix = "[GNUPG:] "
    lines = [line.removeprefix(prefix).split() for line in said.splitlines() if prefix in line]
    verdicts: dict[str, list[str]] = {}
    for word, *details in filter(None, lines):
        verdicts.setdefault(word, details)
    broken = {"BADSIG", "ERROR", "NODATA", "UNEXPECTED"} & set(verdicts)
    if broken:
        raise SourceError(
            f"the signature of {name} is not over its content",
            hint="the mirror is damaged or somebody altered it: compare it with its origin",
        )
    if "VALIDSIG" not in verdicts or "GOODSIG" not in verdicts:
        unfit = {"EXPKEYSIG": "an expired key", "REVKEYSIG": "a revoked key"}
        by = next((unfit[word] for word in unfit if word in verdicts), None)
        by = by or f"key {_unknown(verdicts)}, which is not in {keyring}"
        raise SourceError(
            f"{name} is signed by {by}",
            hint="set mirror.keyring to the public key of whoever runs the mirror"
            " (binary: gpg --export, not --armor)",
        )
    details = verdicts["VALIDSIG"]
    if details[7] in WEAK_HASHES:
        raise SourceError(
            f"the signature of {name} uses a digest that is broken (number {details[7]})",
            hint="have the mirror signed with SHA-256 or better",
        )
    return details[0]


def _unknown(verdicts: dict[str, list[str]]) -> str:
    key = verdicts.get("ERRSIG") or verdicts.get("NO_PUBKEY") or ["unknown"]
    return key[-1] if len(key) > 1 and len(key[-1]) >= 40 else key[0]
