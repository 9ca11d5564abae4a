"""HAProxy and keepalived of several Debian releases, unpacked and asked in a chroot."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from retrofit.control_plane.configurations import INTERFACE
from retrofit.verify.control_plane.language import SECURITY

SUITES = ("bookworm", "trixie", "forky")


def unpacked(suite: str, cache: Path) -> Path:
    """Return a root with both programs of a Debian release, never configured."""
    place = cache / suite
    if place.is_dir():
        return place
    cache.mkdir(parents=True, exist_ok=True)
    part = cache / f"{suite}.part"
    subprocess.run(["rm", "-rf", part], check=True)
    subprocess.run(
        ["mmdebstrap", "--quiet", "--mode=root", "--variant=extract", "--components=main",
         "--include=haproxy,keepalived", "--aptopt=Acquire::Check-Valid-Until \"false\"",
         suite, part],
        check=True,
    )  # fmt: skip
    for name in ("bin", "lib", "lib64", "sbin"):
        if not (part / name).exists():
            (part / name).symlink_to(f"usr/{name}")
    (part / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    (part / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (part / "dev").mkdir(exist_ok=True)
    (part / "dev/null").touch()
    for script in ("usr/bin/true", "var/lib/octavia/vrrp/check_script.sh"):
        # Only looked for: keepalived complains of a script that is not there.
        (part / script).parent.mkdir(parents=True, exist_ok=True)
        (part / script).write_text("#!/bin/sh\n")
        (part / script).chmod(0o755)
    part.rename(place)
    return place


def haproxy_version(root: Path) -> str:
    out = subprocess.run(["chroot", root, "haproxy", "-v"], check=True, capture_output=True)
    found = re.search(r"version (\d+\.\d+\.\d+)", out.stdout.decode())
    assert found is not None, out.stdout
    return found[1]


def refusal(root: Path, text: str, *, pem: bytes, peer: str) -> str | None:
    """Return the words with which the program refuses a configuration; None where it takes it.

    The files that it names are made. Links of its own are in a network namespace of its own.
    """
    for path in set(re.findall(r"/var/lib/octavia/certs/\S+", text)):
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        listed = f"crt-list {path}" in text
        # The file of a list, or a certificate, its key and its CA at once.
        file.write_bytes(b"/var/lib/octavia/all.pem\n" if listed else pem)
    # A CRL of nobody is not needed to read the rest.
    text = re.sub(r" crl-file \S+", "", text)
    for path in ("var/lib/octavia/all.pem", "run/retrofit-language/server.pem"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(pem)
    (root / "asked.cfg").write_text(text)
    haproxy = re.search(r"^frontend ", text, re.MULTILINE) is not None
    program = f"haproxy -L {peer} -c -f /asked.cfg" if haproxy else "keepalived -t -f /asked.cfg"
    asked = subprocess.run(
        ["unshare", "--net", "sh", "-c",
         f"ip link add {INTERFACE} type veth peer name other && ip link add eth1 type veth peer"
         f" name another && exec chroot {root} {program}"],
        check=False,
        capture_output=True,
        text=True,
    )  # fmt: skip
    # keepalived runs scripts as root, though it calls that a violation.
    if asked.returncode in ((0,) if haproxy else (0, SECURITY)):
        return None
    output = asked.stdout + asked.stderr
    said = re.findall(r"ALERT\].*?parsing \[[^]]*\] : (.*)", output)
    return said[0] if said else output[-400:]
