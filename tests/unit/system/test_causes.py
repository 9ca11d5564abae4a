"""The cause is in the message, whichever program failed and however its version puts it.

The files in `logs` are what the programs printed when they were made to fail, with other addresses.
"""
# ruff: noqa: E501 -- the sentences stand as they are shown

from __future__ import annotations

import re
from pathlib import Path

import pytest

from retrofit.build.build_log import failure_lines
from retrofit.system.causes import causes

LOGS = Path(__file__).parent / "logs"
STAMP = re.compile(r"(?m)^\d{4}-\d\d-\d\d [\d:.]+ \| ")

EXPECTED: dict[str, list[str]] = {
    "apt-503": ["http://mirror.example/ubuntu/dists/noble/InRelease: 503 Service Unavailable"],
    "apt-bad-signature": [
        "http://mirror.example/ubuntu noble: the signature of key E597A40E9423420D (tests@example.org) does not match the content: the mirror is being updated, damaged, or changed on the way"
    ],
    "apt-certificate": [
        "https://mirror.example/ubuntu/dists/noble/InRelease: Certificate verification failed: The certificate is NOT trusted. The certificate issuer is unknown. Could not handshake: Error in the certificate verification."
    ],
    "apt-expired-key": [
        "http://mirror.example/ubuntu noble: key 85179893DC89E9A2 (Example archive <key@example.org>) has expired"
    ],
    "apt-hash": [
        "http://mirror.example/ubuntu/dists/noble/main/binary-amd64/Packages.xz: File has unexpected size (505 != 504). Mirror sync in progress?"
    ],
    "apt-held": [
        "example-modules : Depends: linux-image-6.8.0-60-generic but it is not installable"
    ],
    "apt-interrupted": [
        "dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem."
    ],
    "apt-lock": [
        "Could not get lock /build/lockd/var/lib/dpkg/lock-frontend. It is held by process 2662 (python)"
    ],
    "apt-no-host": [
        "http://archive.invalid/ubuntu/dists/noble/InRelease: Could not resolve 'archive.invalid'"
    ],
    "apt-no-release": ["http://mirror.example/ubuntu nowhere Release: 404 File not found"],
    "apt-no-such-package": ["Unable to locate package haproxyy"],
    "apt-package-gone": [
        "http://mirror.example/ubuntu/pool/haproxy_2.8.5_amd64.deb: 404 File not found"
    ],
    "apt-package-hash": [
        "http://mirror.example/ubuntu/pool/haproxy_2.8.5_amd64.deb: Hash Sum mismatch"
    ],
    "apt-portal": [
        "http://mirror.example/ubuntu/dists/noble/InRelease: the answer is a page and no index: something on the way asks for a log-in"
    ],
    "apt-proxy": [
        "http://archive.invalid/ubuntu/dists/noble/InRelease: Could not connect to 127.0.0.1:1 (127.0.0.1). - connect (111: Connection refused)"
    ],
    "apt-refused": [
        "http://127.0.0.1:1/ubuntu/dists/noble/InRelease: Could not connect to 127.0.0.1:1 (127.0.0.1). - connect (111: Connection refused)"
    ],
    "apt-unknown-key": [
        "http://mirror.example/ubuntu noble: it is signed by key 85179893DC89E9A2, which is not among the trusted ones"
    ],
    "apt-unmet": [
        "octavia-agent : Depends: python3-octavia (= 1:14.0.0) but it is not installable"
    ],
    "dib-element": ["Element 'no-such-element' not found"],
    "dpkg-corrupt": [
        "archive broken_1.0_amd64.deb: dpkg-deb --control subprocess returned error exit status 2 (dpkg-deb: error: tar subprocess returned error exit status 2)"
    ],
    "dpkg-dependency": [
        "package example-dependent: example-dependent depends on example-missing (>= 2); however: Package example-missing is not installed."
    ],
    "dpkg-overwrite": [
        "archive example-two_1.0_amd64.deb: trying to overwrite '/usr/bin/tool', which is also in package example-one 1.0"
    ],
    "dpkg-postinst": [
        "package example-boot: installed example-boot package post-installation script subprocess returned error exit status 32 (update-initramfs: failed for /boot/initrd.img with 1.)"
    ],
    "dpkg-preinst": [
        "archive example-service_1.0_amd64.deb: new example-service package pre-installation script subprocess returned error exit status 1 (useradd: cannot lock /etc/passwd; try again later.)"
    ],
    "gpgv-bad": [
        'BAD signature from "Example archive <key@example.org>" (key B17791D78FD22BCFBB3CCE7685179893DC89E9A2)'
    ],
    "gpgv-none": ["no valid OpenPGP data found"],
    "gpgv-unknown": [
        "Can't check signature: No public key (key B17791D78FD22BCFBB3CCE7685179893DC89E9A2)"
    ],
    "pip-503": [
        "Could not find a version that satisfies the requirement octavia (from versions: none)"
    ],
    "pip-certificate": [
        "https://index.example/simple/: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate"
    ],
    "pip-hash": [
        "the hash differs: octavia==16.0.1 from http://index.example/simple/octavia/octavia-16.0.1-py3-none-any.whl (from -r /build/req.txt (line 1)): Expected sha256 0000000000000000000000000000000000000000000000000000000000000000 Got 12e6c61ca6f83b71b2a1265a1aa7f783537db291a4ec4eab993c3a1e43078cb8"
    ],
    "pip-no-dependency": [
        "Could not find a version that satisfies the requirement oslo-missing>=3 (from octavia) (from versions: none)"
    ],
    "pip-no-version": [
        "Could not find a version that satisfies the requirement octavia==99.0.0 (from versions: 16.0.1)"
    ],
    "pip-refused": ["http://127.0.0.1:1/simple/: [Errno 111] Connection refused"],
    "qemu-backing": [
        "qemu-img: Could not open '/build/q/over.qcow2': Could not open backing file: Could not open '/build/q/base.qcow2': No such file or directory"
    ],
    "qemu-format": ["qemu-img: Could not open '/build/q/junk': Image is not in qcow2 format"],
    "qemu-missing": [
        "qemu-img: Could not open '/build/q/nothing': Could not open '/build/q/nothing': No such file or directory"
    ],
    "qemu-space": ["qemu-img: error while writing at byte 0: No space left on device"],
    "uv-401": [
        "Because octavia was not found in the package registry and you require octavia, we can conclude that your requirements are unsatisfiable.",
        "An index URL (http://index.example/simple/) could not be queried due to a lack of valid authentication credentials (401 Unauthorized)",
    ],
    "uv-503": [
        "Failed to fetch: http://index.example/simple/octavia/: HTTP status server error (503 Service Unavailable) for url (http://index.example/simple/octavia/)"
    ],
    "uv-certificate": [
        "Failed to fetch: https://index.example/simple/octavia/: invalid peer certificate: UnknownIssuer"
    ],
    "uv-hash": [
        "Failed to download `octavia==16.0.1`: Hash mismatch for `octavia==16.0.1` Expected: sha256:0000000000000000000000000000000000000000000000000000000000000000 Computed: sha256:12e6c61ca6f83b71b2a1265a1aa7f783537db291a4ec4eab993c3a1e43078cb8"
    ],
    "uv-no-dependency": [
        "Because oslo-missing was not found in the package registry and all versions of octavia depend on oslo-missing>=3, we can conclude that all versions of octavia cannot be used. And because you require octavia, we can conclude that your requirements are unsatisfiable."
    ],
    "uv-no-host": [
        "Failed to fetch: http://index.invalid/simple/octavia/: failed to lookup address information: Name or service not known"
    ],
    "uv-no-version": [
        "Because there is no version of octavia==99.0.0 and you require octavia==99.0.0, we can conclude that your requirements are unsatisfiable."
    ],
    "uv-proxy": [
        "Failed to fetch: http://index.invalid/simple/octavia/: Connection refused (os error 111)"
    ],
    "uv-refused": [
        "Failed to fetch: http://127.0.0.1:1/simple/octavia/: Connection refused (os error 111)"
    ],
}


def lines(name: str) -> list[str]:
    return STAMP.sub("", (LOGS / f"{name}.log").read_text()).splitlines()


def test_every_log_has_its_sentence() -> None:
    assert {file.stem for file in LOGS.iterdir()} == EXPECTED.keys()


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_real_log_gives_the_cause(name: str) -> None:
    assert causes(lines(name)) == EXPECTED[name]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_build_that_failed_so_names_it_in_spite_of_the_clean_up(
    tmp_path: Path, name: str
) -> None:
    log = tmp_path / "build.log"
    stamp = "2026-11-22 19:11:01.485 | "
    before = "dib-run-parts Running /tmp/in_target.d/install.d/60-amphora-agent-pypi"
    after = ["Unmount /w/build/tmp/dib_build.3caNlgY7/mnt/sys", "+ exit 1"]
    log.write_text("".join(f"{stamp}{line}\n" for line in (before, *lines(name), *after)))
    assert failure_lines(log) == EXPECTED[name]


@pytest.mark.parametrize(
    ("printed", "cause"),
    [
        # dpkg up to 1.19
        ("dpkg: error processing package grub-pc (--configure):\n"
         " subprocess installed post-installation script returned error exit status 1\n"
         "E: Sub-process /usr/bin/dpkg returned an error code (1)",
         "package grub-pc: subprocess installed post-installation script returned error exit"
         " status 1"),
        # Of two packages, the one that fails by itself.
        ("dpkg: error processing package linux-image-generic (--configure):\n"
         " dependency problems - leaving unconfigured\n"
         "dpkg: error processing package linux-image-6.8.0-60-generic (--configure):\n"
         " installed linux-image-6.8.0-60-generic package post-installation script subprocess"
         " returned error exit status 127",
         "package linux-image-6.8.0-60-generic: installed linux-image-6.8.0-60-generic package"
         " post-installation script subprocess returned error exit status 127"),
        # apt 1.x, with gpgv 2.1
        ("W: An error occurred during the signature verification. The repository is not updated"
         " and the previous index files will be used. GPG error: http://mirror.example/ubuntu"
         " bionic InRelease: The following signatures were invalid: KEYEXPIRED 1507497109\n"
         "W: Failed to fetch http://mirror.example/ubuntu/dists/bionic/InRelease  The following"
         " signatures were invalid: KEYEXPIRED 1507497109",
         "http://mirror.example/ubuntu bionic: its key expired on 2017-10-08"),
        ("W: GPG error: http://mirror.example/ubuntu jammy InRelease: The following signatures were"
         " invalid: REVKEYSIG 0123456789ABCDEF Example <key@example.org>\n"
         "E: The repository 'http://mirror.example/ubuntu jammy InRelease' is not signed.",
         "http://mirror.example/ubuntu jammy: key 0123456789ABCDEF (Example <key@example.org>) was"
         " revoked"),
        # apt 3, with sqv
        ("Err:1 http://mirror.example/ubuntu resolute InRelease\n"
         "  Sub-process /usr/bin/sqv returned an error code (1), error message is: x\n"
         "W: OpenPGP signature verification failed: http://mirror.example/ubuntu resolute InRelease:"
         " Sub-process /usr/bin/sqv returned an error code (1), error message is: Signing key on"
         " 0123456789ABCDEF is not bound:            No binding signature at time"
         " 2026-11-01T00:00:00Z   because: the certificate expired on 2026-10-01T00:00:00Z\n"
         "E: The repository 'http://mirror.example/ubuntu resolute InRelease' is not signed.",
         "http://mirror.example/ubuntu resolute: Signing key on 0123456789ABCDEF is not bound:      "
         "      No binding signature at time 2026-11-01T00:00:00Z   because: the certificate expired"
         " on 2026-10-01T00:00:00Z"),
        # apt 3's solver
        ("E: Unable to satisfy dependencies. Reached two conflicting assignments:\n"
         "   1. haproxy:amd64=2.8 is selected for install\n"
         "   2. haproxy:amd64 Depends libssl3 but none of the choices are installable",
         "2. haproxy:amd64 Depends libssl3 but none of the choices are installable"),
        # A portal, by an older apt
        ("Err:1 http://mirror.example/ubuntu noble InRelease\n"
         "  Clearsigned file isn't valid, got 'NODATA' (does the network require authentication?)",
         "http://mirror.example/ubuntu noble InRelease: the answer is a page and no index: something"
         " on the way asks for a log-in"),
        ("E: Release file for http://mirror.example/ubuntu/dists/noble/InRelease is not valid yet"
         " (invalid for another 1d 2h 3min 4s). Updates for this repository will not be applied.",
         "Release file for http://mirror.example/ubuntu/dists/noble/InRelease is not valid yet"
         " (invalid for another 1d 2h 3min 4s). Updates for this repository will not be applied."),
        ("E: Release file for http://mirror.example/debian/dists/sid/InRelease is expired (invalid"
         " since 3d 4h). Updates for this repository will not be applied.",
         "Release file for http://mirror.example/debian/dists/sid/InRelease is expired (invalid"
         " since 3d 4h). Updates for this repository will not be applied."),
        # uv up to 0.4
        ("error: Failed to fetch: `https://index.example/simple/octavia/`\n"
         "  Caused by: error sending request for url (https://index.example/simple/octavia/)\n"
         "  Caused by: client error (Connect)\n"
         "  Caused by: invalid peer certificate: UnknownIssuer",
         "Failed to fetch: `https://index.example/simple/octavia/`: invalid peer certificate:"
         " UnknownIssuer"),
        ("  \u00d7 No solution found when resolving dependencies:\n"
         "  ╰─▶ Because there is no version of octavia==99 and you require octavia==99, we can\n"
         "      conclude that your requirements are unsatisfiable.",
         "Because there is no version of octavia==99 and you require octavia==99, we can conclude"
         " that your requirements are unsatisfiable."),
        # pip 20
        ("Looking in indexes: https://index.example/simple\n"
         "WARNING: Retrying (Retry(total=4, connect=None, read=None, redirect=None, status=None))"
         " after connection broken by 'NewConnectionError('<pip._vendor.urllib3.connection."
         "VerifiedHTTPSConnection object at 0x7f>: Failed to establish a new connection: [Errno -2]"
         " Name or service not known',)': /simple/octavia/\n"
         "ERROR: Could not find a version that satisfies the requirement octavia",
         "https://index.example/simple: [Errno -2] Name or service not known"),
        ("> cp: error writing '/x': No space left on device\nE: dpkg was interrupted",
         "cp: error writing '/x': No space left on device"),
        ("gpgv: Signature made Mon 01 Jun 2020\ngpgv:                using RSA key"
         " 0123456789ABCDEF\ngpgv: Good signature from \"x\"\n"
         "gpgv: Note: signature key 0123456789ABCDEF expired Tue 01 Jun 2021",
         "Note: signature key 0123456789ABCDEF expired Tue 01 Jun 2021 (key 0123456789ABCDEF)"),
    ],
)  # fmt: skip
def test_other_versions_put_it_otherwise(printed: str, cause: str) -> None:
    assert causes(printed.splitlines())[-1] == cause


def test_what_a_later_program_failed_of_counts() -> None:
    warned = "W: Failed to fetch http://mirror.example/x/InRelease  503  Service Unavailable"
    later = ["error: Failed to fetch: `https://i/`", "  cause: dns error", "  cause: no such name"]
    assert causes([warned, "Setting up x", *later]) == [
        "Failed to fetch: `https://i/`: no such name"
    ]
    assert causes([*later, "then", warned]) == [
        "http://mirror.example/x/InRelease: 503 Service Unavailable"
    ]


def test_nothing_known_gives_nothing() -> None:
    assert causes([]) == []
    assert causes(["all is well", "error: something of another program"]) == []
