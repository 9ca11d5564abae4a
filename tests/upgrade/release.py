"""Release 0.1.0 as it was: its own code in a virtual environment of its own pins, made once."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.devcloud.places import CACHE, CHECKOUT, locked

VERSION = "0.1.0"
COMMIT = "ee4ff39645e8a216d873b26c8d65e3208327ef65"


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release that can be run: its sources, and a Python that imports them."""

    source: Path
    python: Path


def release_0_1_0() -> Release:
    """Return release 0.1.0, made at most once per checkout.

    Its sources come from the repository's history; its packages are those that it pinned, with
    their hashes checked. Raises FileNotFoundError where the history is not there, and
    CalledProcessError where pip fails.
    """
    home = CACHE / f"release-{VERSION}-{COMMIT[:12]}-py{sys.version_info[0]}.{sys.version_info[1]}"
    release = Release(source=home / "source", python=home / "venv" / "bin" / "python")
    done = home / "complete"
    with locked(CACHE / f"{home.name}.lock"):
        if not done.exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            _unpack(release.source)
            _install(release, home / "venv")
            done.touch()
    return release


def _unpack(directory: Path) -> None:
    """Write the tree of the commit; who runs the tests as root may not own the repository."""
    repository = ("git", "-c", f"safe.directory={CHECKOUT}", "-C", CHECKOUT)
    try:
        archive = _output(*repository, "archive", COMMIT)
    except subprocess.CalledProcessError as error:
        raise FileNotFoundError(
            f"release {VERSION} is commit {COMMIT}, which this clone does not have; a shallow one"
            " gets it by `git fetch --unshallow`"
        ) from error
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(directory, filter="tar")


def _install(release: Release, environment: Path) -> None:
    _output(sys.executable, "-m", "venv", environment)
    pins = release.source / "requirements" / "run.txt"
    _output(
        *(release.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--require-hashes", "-r", pins),
    )
    # As an editable install does; its elements lie beside the package then.
    where = _output(release.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    (Path(where.decode().strip()) / "retrofit.pth").write_text(f"{release.source}\n")


def _output(*argv: str | Path) -> bytes:
    """Run a command and return what it printed; what it reports of an error goes to our stderr."""
    return subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=1800, check=True
    ).stdout


if __name__ == "__main__":
    release_0_1_0()
