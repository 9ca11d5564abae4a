"""Configurations of load balancers, rendered by Octavia's own packages of several releases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.devcloud.places import server_program

SCRIPT = Path(__file__).with_name("in_octavia.py")
WANTED = ("octavia/",)
"""Of a wheel of 1 MB nothing is worth leaving out: samples import half of it."""


def unpacked(version: str, cache: Path) -> Path:
    """Return a directory with what rendering imports of one version of Octavia.

    Its wheel is downloaded once, and only unpacked, never installed.
    """
    place = cache / version
    if place.is_dir():
        return place
    wheels = cache / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    name = f"octavia-{version}-py3-none-any.whl"
    if not (wheels / name).is_file():
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary",
             ":all:", "--dest", wheels, f"octavia=={version}"],
            check=True,
        )  # fmt: skip
    part = cache / f"{version}.part"
    with zipfile.ZipFile(wheels / name) as wheel:
        wheel.extractall(part, [each for each in wheel.namelist() if each.startswith(WANTED)])
    part.rename(place)
    return place


def rendered(output: Path, *, haproxy: str, code: Path | None = None) -> dict[str, str]:
    """Return the configurations that Octavia writes, by kind.

    `code` is a directory with its modules; without one, that of the development cloud writes.
    """
    environment = {"PATH": os.environ["PATH"]}
    if code is not None:
        environment["PYTHONPATH"] = str(code)
    made = subprocess.run(
        [server_program("python"), "-P", SCRIPT, output, haproxy],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    answer = json.loads(made.stdout)
    assert code is None or Path(answer["octavia"]).is_relative_to(code), answer["octavia"]
    return {kind: (output / f"{kind}.cfg").read_text() for kind in answer["kinds"]}
