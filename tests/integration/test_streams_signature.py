"""What gpgv's verdicts are taken for."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrofit.errors import SourceError
from retrofit.simplestreams.signature import is_signed, signed_content

TEXT = b'{"signed": true,\n- "dashes": 1}\n'


class Keys:
    """A GnuPG home with keys by name."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def gpg(self, *arguments: str, given: bytes = b"") -> bytes:
        return subprocess.run(
            [
                "gpg", "--homedir", self.home, "--batch", "--quiet", "--no-tty",
                "--pinentry-mode", "loopback", "--passphrase", "", *arguments,
            ],
            input=given,
            stdout=subprocess.PIPE,
            timeout=60,
            check=True,
        ).stdout  # fmt: skip

    def make(self, name: str, *, made: str = "20260101T000000", expires: str = "never") -> None:
        self.gpg(
            "--faked-system-time", made, "--quick-generate-key", f"{name} <{name}@example.test>",
            "ed25519", "sign", expires,
        )  # fmt: skip

    def keyring(self, path: Path, *names: str) -> Path:
        path.write_bytes(self.gpg("--export", *(f"{name}@example.test" for name in names)))
        return path

    def sign(self, text: bytes, *names: str, options: tuple[str, ...] = ()) -> bytes:
        by = [word for name in names for word in ("--local-user", f"{name}@example.test")]
        return self.gpg(*by, *options, "--clear-sign", given=text)


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    # A short path: the agent's socket lies in it, and a socket's name has 108 bytes at most.
    with tempfile.TemporaryDirectory(prefix="gpg.") as home:
        made = Keys(Path(home))
        made.make("known")
        made.make("other")
        yield made
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, timeout=30)


@pytest.fixture
def keyring(keys: Keys, tmp_path: Path) -> Path:
    return keys.keyring(tmp_path / "keyring.gpg", "known")


def refusal(message: bytes, keyring: Path) -> str:
    with pytest.raises(SourceError) as caught:
        signed_content(message, keyring, name="the index")
    assert caught.value.hint
    return caught.value.message


def test_gives_out_what_was_signed_and_by_whom(keys: Keys, keyring: Path) -> None:
    message = keys.sign(TEXT, "known")
    assert is_signed(message)
    content, key = signed_content(message, keyring, name="the index")
    assert content == TEXT
    listed = keys.gpg("--with-colons", "--list-keys", "known@example.test").decode()
    assert f"fpr:::::::::{key}:" in listed


@pytest.mark.parametrize("around", [(b"", b"\ngarbage\n"), (b"garbage\n", b""), (b"x\n", b"\ny")])
def test_gives_out_nothing_from_around_it(
    keys: Keys, keyring: Path, around: tuple[bytes, bytes]
) -> None:
    message = around[0] + keys.sign(TEXT, "known") + around[1]
    assert signed_content(message, keyring, name="the index")[0] == TEXT


def test_a_second_signature_by_an_unknown_key_is_no_objection(keys: Keys, keyring: Path) -> None:
    for names in (("known", "other"), ("other", "known")):
        assert signed_content(keys.sign(TEXT, *names), keyring, name="the index")[0] == TEXT


def test_refuses_a_key_that_is_not_in_the_keyring(keys: Keys, keyring: Path) -> None:
    said = refusal(keys.sign(TEXT, "other"), keyring)
    assert "the index is signed by key" in said
    assert str(keyring) in said


def test_refuses_altered_content(keys: Keys, keyring: Path) -> None:
    altered = keys.sign(TEXT, "known").replace(b"true", b"fals")
    assert "does not match its content" in refusal(altered, keyring)


def test_refuses_two_messages_in_one_file(keys: Keys, keyring: Path) -> None:
    message = keys.sign(TEXT, "known")
    assert refusal(message + keys.sign(b"more\n", "known"), keyring)
    assert refusal(message + message, keyring)


def test_refuses_a_message_without_its_end(keys: Keys, keyring: Path) -> None:
    message = keys.sign(TEXT, "known")
    for length in (
        len(message) // 4,
        len(message) // 2,
        message.index(b"-----BEGIN PGP SIGNATURE"),
    ):
        assert refusal(message[:length], keyring)


def test_refuses_an_expired_key(keys: Keys, tmp_path: Path) -> None:
    keys.make("expired", made="20200101T000000", expires="2020-02-01")
    keyring = keys.keyring(tmp_path / "expired.gpg", "expired")
    message = keys.sign(TEXT, "expired", options=("--faked-system-time", "20200102T000000"))
    assert re.search(
        r"signed by an expired key \(2020-02-01\), [0-9A-F]{16} ", refusal(message, keyring)
    )


def test_refuses_a_digest_that_is_broken(keys: Keys, tmp_path: Path) -> None:
    keys.gpg("--quick-generate-key", "rsa <rsa@example.test>", "rsa2048", "sign", "never")
    keyring = keys.keyring(tmp_path / "rsa.gpg", "rsa")
    sound = keys.sign(TEXT, "rsa")
    assert signed_content(sound, keyring, name="the index")[0] == TEXT
    weak = keys.sign(TEXT, "rsa", options=("--digest-algo", "SHA1"))
    assert refusal(weak, keyring)


def test_refuses_a_keyring_that_is_none(keys: Keys, tmp_path: Path) -> None:
    message = keys.sign(TEXT, "known")
    (tmp_path / "text.gpg").write_text("no keys here\n")
    assert refusal(message, tmp_path / "text.gpg")
    (tmp_path / "armoured.asc").write_bytes(keys.gpg("--armor", "--export", "known@example.test"))
    assert refusal(message, tmp_path / "armoured.asc")


def test_says_that_gpgv_is_missing(
    keys: Keys, keyring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = keys.sign(TEXT, "known")
    monkeypatch.setitem(os.environ, "PATH", "/nonexistent")
    assert "gpgv" in refusal(message, keyring)
