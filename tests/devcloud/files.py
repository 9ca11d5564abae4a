"""Image files: placed without copying their content, altered without harm, made small."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from tests.devcloud.places import DevcloudError

MARK_OFFSET = 512 * 1024
"""Bytes into the disk: between the partition table's end (34 sectors) and the first partition
(1 MiB), where neither a firmware nor a boot loader of these images looks."""


def place(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`: a hard link, else a reflink, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        copy(source, target)


def copy(source: Path, target: Path) -> None:
    """Make `target` a file of its own with the content of `source`, sharing blocks if possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _run("cp", "--reflink=auto", "--sparse=always", str(source), str(target))


def touch(image: Path, mark: str) -> None:
    """Change a qcow2 image's digest, and nothing of what it boots.

    `mark`, at most 512 bytes, is written to a place on the disk that nothing uses.
    """
    sector = mark.encode().ljust(512, b"\0")
    # Beside the image: who is killed here leaves it where what is left of the image lies too.
    with tempfile.NamedTemporaryFile(dir=image.parent) as content:
        content.write(sector)
        content.flush()
        _run(
            "qemu-io", "-f", "qcow2", "-c", f"write -s {content.name} {MARK_OFFSET} 512", str(image)
        )


def make_tiny(image: Path, *, mark: str = "", mebibytes: int = 8) -> Path:
    """Make a real qcow2 image that holds nothing but `mark`: enough for Glance to accept it."""
    image.parent.mkdir(parents=True, exist_ok=True)
    _run("qemu-img", "create", "-q", "-f", "qcow2", str(image), f"{mebibytes}M")
    touch(image, mark or image.name)
    return image


def _run(*argv: str) -> None:
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False
    )
    # qemu-io reports a failed command on stdout and may still exit 0.
    if done.returncode != 0 or "failed" in done.stdout:
        raise DevcloudError(f"{' '.join(argv)} failed: {done.stdout}{done.stderr}")
