"""Nothing but certificates leaves the reader of certificate files."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from retrofit.system.certificate_file import LARGEST, NoCertificateError, read_certificates
from retrofit.verify.boot.certificates import Identity, authority, issued

CA = authority("CA")
CLIENT = issued(CA, "controller")


def written(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path


def secret_lines(identity: Identity) -> list[str]:
    return [line for line in identity.key_pem.decode().splitlines() if "-----" not in line]


@pytest.mark.parametrize("key_first", [True, False])
def test_of_a_file_with_certificate_and_key_the_certificate_alone_is_returned(
    tmp_path: Path, key_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    parts = [CLIENT.key_pem, b"subject: controller\n", CLIENT.certificate_pem]
    file = written(tmp_path / "client.pem", *(parts if key_first else reversed(parts)))
    with caplog.at_level(logging.DEBUG):
        (found,) = read_certificates(file)
    assert found == CLIENT.certificate_pem.decode()
    assert not any(line in found or line in caplog.text for line in secret_lines(CLIENT))


def test_a_key_inside_of_a_certificate_block_is_refused_and_not_repeated(tmp_path: Path) -> None:
    body = b"\n".join(CLIENT.key_pem.splitlines()[1:-1])
    block = b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----\n"
    with pytest.raises(NoCertificateError) as raised:
        read_certificates(written(tmp_path / "odd.pem", block))
    shown = f"{raised.value!r} {raised.value.__cause__!r}"
    assert not any(line in shown for line in secret_lines(CLIENT))


def test_what_openssl_prints_before_a_certificate_and_several_of_them_are_read(
    tmp_path: Path,
) -> None:
    file = written(
        tmp_path / "ca.pem",
        b"Certificate:\n    Data:\n        Version: 3 (0x2)\r\n",
        CA.certificate_pem.replace(b"\n", b"\r\n"),
        b"\xff\xfe not ASCII\n",
        CLIENT.certificate_pem,
    )
    assert read_certificates(file) == (
        CA.certificate_pem.decode(),
        CLIENT.certificate_pem.decode(),
    )


def test_what_is_no_readable_file_of_certificates_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    written(tmp_path / "key.pem", CLIENT.key_pem)
    written(tmp_path / "large.pem", CA.certificate_pem, b" " * LARGEST)
    for name, why in {
        "fifo": "not a file",
        ".": "director|not a file",
        "absent": "No such file",
        "key.pem": "no CERTIFICATE block",
        "large.pem": "1 MiB",
    }.items():
        with pytest.raises(NoCertificateError, match=why):
            read_certificates(tmp_path / name)
