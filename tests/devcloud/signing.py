"""The key of a mirror: made once, kept beside the served tree, used without a GnuPG home left."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.devcloud.places import DevcloudError

USER = "Look-alike image mirror <mirror@example.test>"


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Clear-signs with one mirror's key."""

    secret: Path
    """The armoured secret key, never inside what is served."""
    keyring: Path
    """The public key as gpgv takes it."""

    def ensure_key(self) -> None:
        """Make the key unless it is there."""
        if self.secret.exists() and self.keyring.exists():
            return
        self.keyring.parent.mkdir(parents=True, exist_ok=True)
        with _home() as home:
            _gpg(home, "--quick-generate-key", USER, "rsa2048", "sign", "never")
            self.keyring.write_bytes(_gpg(home, "--export"))
            secret = _gpg(home, "--armor", "--export-secret-keys")
            self.secret.touch(mode=0o600)
            self.secret.write_bytes(secret)

    def clear_sign(self, texts: list[bytes]) -> list[bytes]:
        """The texts, each inside an OpenPGP clear-signed message."""
        with _home() as home:
            _gpg(home, "--import", given=self.secret.read_bytes())
            return [_gpg(home, "--clear-sign", given=text) for text in texts]


@contextmanager
def _home() -> Iterator[Path]:
    # A short path: the agent's socket lies in it, and a socket's name has 108 bytes at most.
    with tempfile.TemporaryDirectory(prefix="gpg.") as home:
        try:
            yield Path(home)
        finally:
            subprocess.run(
                ["gpgconf", "--homedir", home, "--kill", "all"],
                stdin=subprocess.DEVNULL,
                check=False,
                timeout=30,
            )


def _gpg(home: Path, *arguments: str, given: bytes = b"") -> bytes:
    done = subprocess.run(
        [
            "gpg", "--homedir", str(home), "--batch", "--quiet", "--no-tty",
            "--pinentry-mode", "loopback", "--passphrase", "", *arguments,
        ],
        input=given,
        capture_output=True,
        timeout=120,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    if done.returncode != 0:
        raise DevcloudError(f"gpg {arguments[0]} failed: {done.stderr.decode(errors='replace')}")
    return done.stdout
