"""`python -m tools.release [DIRECTORY]`: all files of a release, made from the last commit.

Wheel, sdist, container file, bill of materials and their SHA-256. Only what is committed goes in,
and every time inside is that of the commit: two releases of one commit have the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from retrofit import __version__
from tools import bill

CHECKOUT = Path(__file__).resolve().parents[1]
NAME = "octavia_retrofit"


def release(directory: Path) -> list[Path]:
    """Write the files of a release into a directory that has none yet; returns them."""
    directory.mkdir(parents=True, exist_ok=True)
    at = int(_git("log", "-1", "--format=%ct"))
    with tempfile.TemporaryDirectory(prefix="release-") as temporary:
        tree, made = Path(temporary) / "tree", Path(temporary) / "made"
        tree.mkdir()
        subprocess.run(["tar", "-x", "-C", tree], input=_git("archive", "HEAD"), check=True)
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-d", made],
            cwd=tree,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(at)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        shutil.copyfile(tree / "Containerfile", made / f"{NAME}-{__version__}.Containerfile")
        document = bill.document(tree, at=at)
        (made / f"{NAME}-{__version__}.cdx.json").write_text(document)
        files = sorted(made.iterdir())
        sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in files]
        (made / "SHA256SUMS").write_text("\n".join(sums) + "\n")
        return [Path(shutil.copy(file, directory)) for file in sorted(made.iterdir())]


def _git(*words: str) -> bytes:
    done = subprocess.run(
        ["git", *words], cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True
    )
    return done.stdout


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else CHECKOUT / "dist"
    release(target)
    sys.stdout.write((target / "SHA256SUMS").read_text())
