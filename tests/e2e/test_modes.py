"""The modes in an image come from its recipe, not from the umask of a run or an installation."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from retrofit.verify.mounting import mounted_image
from tests.component.disks import run
from tests.configuration import toml
from tests.devcloud.places import CACHE, CHECKOUT
from tests.e2e.package_access import ca_bundle

BUILD_SECONDS = 3600
INSTALL_SECONDS = 900
CHANGING = ("/var/cache/", "/var/log/", "/var/lib/apt/lists/", "/tmp/")
"""Where two builds of the same recipe may leave files of different names."""

pytestmark = [pytest.mark.slow, pytest.mark.root]


def installed_under_077(place: Path) -> Path:
    """Install the checkout as root of a hardened host does, and return its retrofit."""
    uv = Path(sys.executable).with_name("uv")
    wheels = ("-m", "hatchling", "build", "-t", "wheel", "-d", place / "wheel")
    run("env", "-C", CHECKOUT, sys.executable, *wheels)
    (wheel,) = (place / "wheel").glob("*.whl")
    run(uv, "venv", "--quiet", "--python", sys.executable, place / "venv")
    options = ("--quiet", "--link-mode", "copy", "--python", place / "venv/bin/python")
    run(uv, "pip", "install", *options, "-r", CHECKOUT / "requirements/run.txt")
    run(uv, "pip", "install", *options, "--no-deps", wheel)
    # As pip writes files under that umask; uv keeps the modes of its cache.
    run("chmod", "-R", "go=", place / "venv")
    packages = place / "venv/lib"
    (script,) = packages.glob("*/site-packages/retrofit/elements/*/static/**/ping-wrapper.sh")
    assert stat.S_IMODE(script.stat().st_mode) == 0o700
    return place / "venv/bin/retrofit"


def build(retrofit: Path, umask: int, source: Path, place: Path) -> Path:
    """Build an image with the defaults, and return it."""
    bundle = ca_bundle()
    place.mkdir()
    paths = {key: place / key for key in ("state", "work", "logs")}
    sections = {
        "build": {"format": "raw", **({"ca_bundle": bundle} if bundle else {})},
        "paths": {**paths, "cache": CACHE / "builds"},
    }
    config = place / "retrofit.toml"
    config.write_text(toml(sections))
    output = place / "amphora.raw"
    done = subprocess.run(
        [retrofit, "--config", config, "build", "--source", source, "--output", output],
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        stdin=subprocess.DEVNULL,
        check=False,
        umask=umask,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return output


def modes(image: Path, place: Path) -> dict[str, str]:
    """Return type, mode and owner of every file of an image, by its path there."""
    place.mkdir()
    found = {}
    with mounted_image(image, "raw", place) as mounted:
        for directory, names, files in os.walk(mounted.root):
            for path in (Path(directory), *(Path(directory, name) for name in (*names, *files))):
                facts = path.lstat()
                inside = f"/{path.relative_to(mounted.root)}"
                found[inside] = f"{stat.filemode(facts.st_mode)} {facts.st_uid}:{facts.st_gid}"
    return found


def test_an_image_has_the_same_modes_under_any_umask(
    stock_image: Callable[[str], Path], tmp_path: Path
) -> None:
    source = stock_image("noble")
    usual = Path(sys.executable).with_name("retrofit")
    hardened = installed_under_077(tmp_path)
    found = {}
    for name, retrofit, umask in (("usual", usual, 0o022), ("hardened", hardened, 0o077)):
        image = build(retrofit, umask, source, tmp_path / name)
        found[name] = modes(image, tmp_path / f"{name}-mounted")
        image.unlink()
    differing = {
        path: (found["usual"].get(path), found["hardened"].get(path))
        for path in found["usual"].keys() | found["hardened"].keys()
        if found["usual"].get(path) != found["hardened"].get(path)
        and not (path.startswith(CHANGING) and not all(path in each for each in found.values()))
    }
    assert differing == {}
    assert found["hardened"]["/var/lib/octavia/ping-wrapper.sh"] == "-rwxr-xr-x 0:0"
    assert found["hardened"]["/var/lib/octavia"].startswith("drwxr-xr-x ")
