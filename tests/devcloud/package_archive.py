"""The demo's own package archive: the source image names it, and a fix is published through it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from retrofit.system import process
from tests.archive.packages import PackageFile, as_fix
from tests.archive.server import ArchiveServer
from tests.archive.small_archive import KEYRING, SmallArchive, end_agent, make_key
from tests.devcloud import processes
from tests.devcloud.disks import TIMEOUT, opened, raw_copy

SECURITY = "noble-security"
SOURCES = "etc/apt/sources.list.d/demo.sources"


def archive_in(directory: Path) -> SmallArchive:
    """Return the archive in a directory; what it published before is not listed again."""
    port = (directory / "port").read_text()
    return SmallArchive(directory, ArchiveServer(url=f"http://127.0.0.1:{port}"), directory / "gpg")


def make(directory: Path) -> SmallArchive:
    """Make an empty signed archive, and serve it in the background."""
    www = directory / "www"
    (www / "ubuntu").mkdir(parents=True)
    with processes.listen(None) as probe:
        port = probe.getsockname()[1]
    (directory / "port").write_text(str(port))
    serve(directory)
    archive = archive_in(directory)
    archive.home.mkdir(mode=0o700)
    make_key(archive.home)
    archive.export_key()
    archive.publish(SECURITY)
    end_agent(archive.home)
    return archive


def serve(directory: Path) -> None:
    """Start the web server, at the port that the source image names."""
    port = (directory / "port").read_text()
    processes.start(
        [
            *(sys.executable, "-m", "http.server", "--bind", "127.0.0.1"),
            *("--directory", directory / "www", port),
        ],
        pid_file=directory / "server.pid",
        log_file=directory / "server.log",
        env=os.environ,
    )


def plant(archive: SmallArchive, image: Path) -> None:
    """Let an image name the archive among its own sources, as qcow2 in its place."""
    raw = image.with_suffix(".raw")
    raw_copy(image, "qcow2", raw)
    with opened(raw) as root:
        (root / KEYRING).write_bytes(archive.keyring)
        (root / SOURCES).write_bytes(archive.sources((SECURITY,)))
    process.run(["qemu-img", "convert", "-O", "qcow2", raw, image], timeout=TIMEOUT)
    raw.unlink()


def publish_fix(directory: Path, package: Path) -> PackageFile:
    """Publish a newer version of a package among the security fixes."""
    with tempfile.TemporaryDirectory() as work:
        fixed = as_fix(package, Path(work))
        kept = directory / f"{fixed.name}_{fixed.version}.deb"
        shutil.move(fixed.path, kept)
    archive = archive_in(directory)
    archive.add(SECURITY, PackageFile(path=kept))
    end_agent(archive.home)
    return PackageFile(path=kept)


def stop(directory: Path) -> None:
    """Stop the web server."""
    processes.stop(directory / "server.pid")
