"""How much memory the download of a large item takes; it says what it measured.

Run it with `pytest -s`: it needs 9 GiB of disk and a minute or two.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.devcloud.faults import serving
from tests.devcloud.mirror import Mirror

GIB = 1 << 30
MOST = 150 * 1000 * 1000
"""Bytes resident, the libraries of a whole run included."""

CHILD = """
import json, resource, sys
from pathlib import Path

import retrofit.pipeline  # all that a run has in memory beside the download
from retrofit.config import MirrorSettings
from retrofit.errors import SourceError
from retrofit.simplestreams import Mirror

url, keyring, home, stop_at = sys.argv[1:]
mirror = Mirror(MirrorSettings(url=url, keyring=keyring, cache_size=8), Path(home) / "cache")
(item,) = mirror.listing().items

def progress(phrase, fraction):
    if fraction is not None and fraction > float(stop_at):
        raise KeyboardInterrupt

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    digests = mirror.fetch(item, Path(home) / "got", progress)
    size = digests.size
except KeyboardInterrupt:
    size = None
after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "size": size, "before": before * 1024, "peak": after.ru_maxrss * 1024,
    "cpu": after.ru_utime + after.ru_stime,
}))
"""


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Mirror]:
    """A mirror whose one item has 4 GiB, most of them holes."""
    image = tmp_path / "large.img"
    with image.open("wb") as file:
        for begin in range(0, 4 * GIB, 64 << 20):
            file.seek(begin)
            file.write(begin.to_bytes(8, "big") * 512)
        file.truncate(4 * GIB)
    made = Mirror(root=tmp_path / "mirror")
    made.publish(image, series="noble", serial="20260911")
    try:
        yield made
    finally:
        shutil.rmtree(tmp_path)  # pytest would keep these gigabytes for three sessions


@pytest.mark.slow
def test_four_gibibytes_take_little_memory_and_an_interruption_costs_little(
    large: Mirror, tmp_path: Path
) -> None:
    with serving(large.root) as server:
        for stop_at in (0.6, 2.0):
            begun = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-c", CHILD, server.url, large.keyring, tmp_path, str(stop_at)],
                stdout=subprocess.PIPE,
                check=True,
                timeout=1200,
            )
            measured = json.loads(done.stdout.splitlines()[-1])
            print({**measured, "seconds": round(time.monotonic() - begun, 1)})
            assert measured["peak"] < MOST
            assert measured["size"] == (None if stop_at < 1 else 4 * GIB)
        first, second = server.ranges("*.img")
    assert first is None
    assert second is not None
    assert int(second.removeprefix("bytes=").rstrip("-")) > 2 * GIB
