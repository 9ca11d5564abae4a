"""Certificates made by `openssl` in the ways of the field, judged without their keys."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from retrofit.control_plane.certificates import Judgement
from retrofit.system.certificate_file import read_certificates
from retrofit.verify.boot.client import client_of, judge

HOW_TO = Path(__file__).parents[3] / "docs/how-to/octavia.md"
SUBJECT = "/C=US/ST=Somestate/O=Org/CN=www.example.com"
REFUSED = Judgement(lenient=None, strict="CA cert does not include key usage extension")
ACCEPTED = Judgement(lenient=None, strict=None)
SYSTEM_CONF = Path("/etc/ssl/openssl.cnf")
CA_SECTION = """
[ca]
default_ca = CA_default
[CA_default]
dir = .
database = $dir/index.txt
new_certs_dir = $dir
serial = $dir/serial
default_md = sha256
policy = policy_any
unique_subject = no
[policy_any]
commonName = supplied
[req]
distinguished_name = req_name
x509_extensions = v3_ca
[req_name]
"""
# The extensions of kolla-ansible's role octavia-certificates, which are those of Octavia's own
# guide (doc/source/admin/guides/certificates.rst).
SAMPLE = f"""{CA_SECTION}
[v3_ca]
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always,issuer
basicConstraints = critical, CA:true
keyUsage = critical, digitalSignature, cRLSign, keyCertSign
[usr_cert]
basicConstraints = CA:FALSE
nsCertType = client, email
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid,issuer
keyUsage = critical, nonRepudiation, digitalSignature, keyEncipherment
extendedKeyUsage = clientAuth, emailProtection
"""


def openssl(directory: Path, *words: str) -> str:
    made = subprocess.run(
        ["openssl", *words], cwd=directory, check=True, capture_output=True, text=True
    )
    return made.stdout


def make(directory: Path, conf: Path) -> None:
    """Make ca.pem, ca.key, client.pem: the steps are the same in all guides, the file differs."""
    (directory / "demoCA/newcerts").mkdir(parents=True)
    (directory / "demoCA/index.txt").touch()
    (directory / "index.txt").touch()
    openssl(directory, "genrsa", "-out", "ca.key", "2048")
    openssl(
        directory, "req", "-x509", "-new", "-nodes", "-key", "ca.key", "-config", str(conf),
        "-subj", SUBJECT, "-days", "365", "-out", "ca.pem",
    )  # fmt: skip
    openssl(
        directory, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "client.key", "-subj",
        SUBJECT, "-out", "client.csr",
    )  # fmt: skip
    openssl(
        directory, "ca", "-config", str(conf), "-cert", "ca.pem", "-keyfile", "ca.key",
        "-extensions", "usr_cert", "-create_serial", "-batch", "-in", "client.csr", "-days", "365",
        "-out", "client.pem",
    )  # fmt: skip
    # As octavia.conf's client_cert has it: certificate, with what openssl prints, and key.
    with (directory / "client.pem").open("a") as file:
        file.write((directory / "client.key").read_text())


def judgement(directory: Path) -> Judgement:
    return judge(
        client_of(
            read_certificates(directory / "ca.pem"), read_certificates(directory / "client.pem")
        )
    )


def strictly(directory: Path) -> bool:
    """True if openssl itself accepts them: an answer of another's."""
    answered = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "ca.pem",
         "client.pem"],
        cwd=directory, check=False, capture_output=True,
    )  # fmt: skip
    return answered.returncode == 0


def test_certificates_as_the_charm_guide_makes_them_are_refused_by_a_strict_python(
    tmp_path: Path,
) -> None:
    make(tmp_path, SYSTEM_CONF)
    assert judgement(tmp_path) == REFUSED
    assert not strictly(tmp_path)


def test_certificates_of_octavias_sample_configuration_are_accepted_by_every_python(
    tmp_path: Path,
) -> None:
    conf = tmp_path / "openssl.cnf"
    conf.write_text(SAMPLE)
    make(tmp_path, conf)
    assert judgement(tmp_path) == ACCEPTED
    assert strictly(tmp_path)


@pytest.mark.parametrize("section", ["v3_ca", "usr_cert"])
def test_certificates_without_key_identifiers_are_judged_as_openssl_does(
    section: str, tmp_path: Path
) -> None:
    head, _, rest = SAMPLE.partition(f"[{section}]\n")
    body, rest = re.split(r"(?=\n\[|\Z)", rest, maxsplit=1)
    body = re.sub("^(.*KeyIdentifier) = .*", r"\1 = none", body, flags=re.MULTILINE)
    conf = tmp_path / "openssl.cnf"
    conf.write_text(f"{head}[{section}]\n{body}{rest}")
    make(tmp_path, conf)
    found = judgement(tmp_path)
    assert found.lenient is None
    # Of an authority without identifier, nothing that it certifies can name one.
    assert found.strict == "Missing Authority Key Identifier"
    assert not strictly(tmp_path)


def test_the_documented_way_out_keeps_the_key_and_the_client_certificate(tmp_path: Path) -> None:
    make(tmp_path, SYSTEM_CONF)
    before = openssl(tmp_path, "x509", "-in", "ca.pem", "-noout", "-pubkey")
    text = HOW_TO.read_text()
    begin = text.index("    cat > ca.ext")
    block = re.sub("^    ", "", text[begin : text.index("\n\n", begin)], flags=re.MULTILINE)
    (tmp_path / "old.pem").write_text((tmp_path / "ca.pem").read_text())
    subprocess.run(["sh", "-eu", "-c", block], cwd=tmp_path, check=True, capture_output=True)
    assert openssl(tmp_path, "x509", "-in", "new_ca.pem", "-noout", "-pubkey") == before
    (tmp_path / "new_ca.pem").replace(tmp_path / "ca.pem")
    assert judgement(tmp_path) == ACCEPTED
    # An amphora that runs has the old CA, and an older Python.
    old = client_of(
        read_certificates(tmp_path / "old.pem"), read_certificates(tmp_path / "client.pem")
    )
    assert judge(old).lenient is None
