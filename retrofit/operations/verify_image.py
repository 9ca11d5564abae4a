"""Verify one amphora image by itself: a file, or an image that is in Glance already."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from retrofit import disk
from retrofit.config import Settings, Target
from retrofit.dib.work_directory import sweep, work_directory
from retrofit.errors import ConfigError, VerifyError
from retrofit.model import Verdict
from retrofit.outside_files import take_in
from retrofit.places import make_places
from retrofit.progress import Progress
from retrofit.verify import verify

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def verify_image(
    subject: str, target: Target, settings: Settings, *, progress: Progress
) -> tuple[Verdict, Path]:
    """Verify a file or Glance image as a run would, and say where the evidence is.

    The image is judged by the target's settings (agent, ssh, disk). Raises ConfigError when there
    is no such file or image, SourceError when it cannot be read, VerifyError when verification
    itself cannot be done; an image that fails is a Verdict.
    """
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    log_dir = settings.paths.logs / f"verify-{name}"
    make_places(settings.paths.work, settings.paths.logs)
    root = settings.paths.work / "files"
    sweep(root)
    try:
        log_dir.mkdir(parents=True)
    except OSError as error:
        raise VerifyError(
            f"cannot make {log_dir}: {error.strerror}", hint="run as root, or set paths.logs"
        ) from error
    with work_directory(root, f"verify-{name}") as work_dir:
        path = _local_file(subject, target, work_dir, progress)
        verdict = verify(
            path,
            disk_format=disk.source_format(path),
            settings=target.verify,
            build=target.build,
            architecture=target.source.architecture,
            work_dir=work_dir / "verify",
            log_dir=log_dir,
            progress=progress,
        )
    return verdict, log_dir


def _local_file(subject: str, target: Target, work_dir: Path, progress: Progress) -> Path:
    path = Path(subject)
    if path.is_file():
        # What is looked at is asked once more, when nobody can change it: this saves a copy of it.
        disk.source_format(path)
        copy = work_dir / "given" / path.name
        copy.parent.mkdir()
        take_in(path, copy)
        return copy
    if not UUID.fullmatch(subject):
        raise ConfigError(
            f"{subject} is neither a file nor the id of an image",
            hint="`retrofit list` shows the ids of amphora images",
        )
    from retrofit.cloud import Glance  # noqa: PLC0415  (a file needs no cloud)

    glance = Glance.connect(target.cloud)
    image = glance.get(subject)
    if image is None:
        raise ConfigError(
            f"there is no image {subject} in {glance.where}",
            hint="`retrofit list` shows the ids of amphora images",
        )
    downloaded = work_dir / "image"
    glance.download(image, downloaded, progress)
    return downloaded
