"""The container image has the Debian packages that bindep.txt lists for runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.devcloud.places import CHECKOUT


def test_image_has_the_debian_packages_that_runs_need() -> None:
    (program,) = re.findall(
        r"\$\(awk '([^']+)' /tmp/bindep.txt\)", (CHECKOUT / "Containerfile").read_text()
    )
    taken = subprocess.run(
        ["awk", program, CHECKOUT / "bindep.txt"], capture_output=True, text=True, check=True
    ).stdout.split()
    bindep = [Path(sys.executable).with_name("bindep"), "--list_all", "newline"]
    wanted = subprocess.run(
        bindep, cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "qemu-utils" in taken
    assert sorted(taken) == sorted(wanted)
