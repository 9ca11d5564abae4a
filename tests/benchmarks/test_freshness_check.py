"""What a check of the archive costs where nothing has changed, and where everything has.

The archive has as many packages as Ubuntu's main, the image as many as an amphora.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from retrofit.archive.evidence import pack
from tests.archive import small_archive as archives
from tests.archive.packages import Package
from tests.archive.small_archive import SmallArchive, small_archive

ARCHIVE, IMAGE = 6000, 580
MOST_CPU = 2.0
MOST_BYTES = 10_000

CHILD = """
import json, resource, sys, time
from datetime import UTC, datetime
from pathlib import Path

from retrofit.archive.ask import ask
from retrofit.archive.evidence import unpack
from retrofit.config import BuildSettings

packed, root = map(Path, sys.argv[1:])
evidence = unpack(packed.read_bytes())

def used():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in both)

before, began = used(), time.monotonic()
offer = ask(evidence, root, architecture="amd64", build=BuildSettings(), now=datetime.now(UTC))
print(json.dumps({
    "updates": len(offer.updates), "cpu": used() - before, "seconds": time.monotonic() - began,
    "apt": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
    "ours": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
}))
"""


def measured(archive: SmallArchive, packed: Path, root: Path, what: str) -> dict[str, float]:
    archive.server.forget()
    finished = subprocess.run(
        [sys.executable, "-c", CHILD, packed, root], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(finished.stdout)
    found |= {"requests": len(archive.server.requests), "bytes": archive.server.sent}
    print(
        f"\n{what}: {found['requests']} requests, {found['bytes']} bytes, {found['cpu']:.2f} CPU-s,"
        f" {found['seconds']:.1f} s, apt {found['apt'] / 1e6:.0f} MB, retrofit"
        f" {found['ours'] / 1e6:.0f} MB, {found['updates']} updates"
    )
    return found


def test_a_check_of_nothing_costs_next_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody downloads these: thousands of files by dpkg-deb would take minutes.
    monkeypatch.setattr(archives, "file_of", lambda package: package.name.encode())
    packages = [
        Package(name=f"package-{number}", version="1.0", depends=f"package-{number // 2}")
        for number in range(ARCHIVE)
    ]
    packed = tmp_path / "evidence.tar.xz"
    with small_archive(tmp_path / "archive") as archive:
        archive.add("noble", *packages)
        packed.write_bytes(pack(archive.evidence(*packages[:IMAGE])))
        root = tmp_path / "root"
        measured(archive, packed, root, "first check")
        nothing = measured(archive, packed, root, "nothing changed")
        assert nothing["updates"] == 0
        assert nothing["requests"] == 3
        assert nothing["bytes"] < MOST_BYTES
        assert nothing["cpu"] < MOST_CPU
        archive.add("noble-security", dataclasses.replace(packages[7], version="1.1"))
        assert measured(archive, packed, root, "a fix")["updates"] == 1
        archive.server.validators = False
        measured(archive, packed, root, "nothing changed, a server without validators")
