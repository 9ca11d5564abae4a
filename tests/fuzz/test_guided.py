"""A search led by coverage finds nothing that breaks a parser, and would find it.

RETROFIT_FUZZ_SECONDS says how long each search may take: 20 is for a look, 3600 for a night.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.devcloud.places import CHECKOUT
from tests.fuzz.parsers import PARSERS

SECONDS = int(os.environ.get("RETROFIT_FUZZ_SECONDS", "20"))
BROKEN = 77
"""libFuzzer's exit code when something was raised."""
PLANTED = """\
import sys
from tests.fuzz import guided

def planted(data):
    if data[:1] == b"R" and data[1:2] == b"!":
        raise ValueError("found")

guided.PARSERS["heartbeat"] = planted
guided.main(sys.argv[1:])
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.version_info >= (3, 14), reason="there is no Atheris for this Python"),
]


def search(*words: str | Path, kept: Path, seconds: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words, "--seconds", str(seconds), "--kept", kept],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds + 120,
        check=False,
    )


@pytest.mark.parametrize("name", sorted(PARSERS))
def test_a_search_finds_nothing(name: str, tmp_path: Path) -> None:
    ended = search("-m", "tests.fuzz.guided", name, kept=tmp_path, seconds=SECONDS)
    assert ended.returncode == 0, ended.stderr[-4000:]
    runs = re.search(r"Done (\d+) runs", ended.stderr)
    assert runs is not None
    assert int(runs[1]) > 10 * SECONDS


def test_a_search_finds_what_is_there_to_be_found(tmp_path: Path) -> None:
    ended = search("-c", PLANTED, "heartbeat", kept=tmp_path, seconds=60)
    assert ended.returncode == BROKEN, ended.stderr[-4000:]
    (crash,) = (tmp_path / "heartbeat").glob("crash-*")
    assert crash.read_bytes()[:2] == b"R!"
