"""Verify one amphora image by itself: a file, or an image that is in Glance already."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from retrofit import disk
from retrofit.build.work_directory import remove_leftovers, work_directory
from retrofit.config import Settings, Target
from retrofit.errors import ConfigError, VerifyError
from retrofit.model import Verdict
from retrofit.observe.control_plane import expectation
from retrofit.runs.own_paths import claim_paths
from retrofit.system.progress import Progress
from retrofit.system.resource_errors import way_out
from retrofit.system.umask import private_files
from retrofit.system.untrusted_files import copy_in
from retrofit.verify.request import VerifyRequest
from retrofit.verify.verify import verify

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
BEGINNING = re.compile(r"[0-9a-f-]{4,36}")
"""Of an id: as long as the beginning of one that a person would type."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The verdict on an image, and the directory of its evidence."""

    verdict: Verdict
    log_dir: Path


def verify_image(
    subject: str,
    target: Target,
    settings: Settings,
    *,
    progress: Progress,
    only: tuple[str, ...] = (),
) -> Verification:
    """Verify a file or Glance image as a run would.

    The image is judged by the target's settings (agent, ssh, disk). `only` names checks that are
    made with what they need, instead of all. Raises ConfigError when there
    is no such file or image, SourceError when it cannot be read, VerifyError when verification
    itself cannot be done; an image that fails is a Verdict.
    """
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    log_dir = settings.paths.logs / f"verify-{name}"
    claim_paths(settings.paths, "work", "logs")
    root = settings.paths.work / "files"
    remove_leftovers(root)
    try:
        log_dir.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise VerifyError(
            f"cannot make {log_dir}: {error.strerror}", hint=way_out(error, "paths.logs")
        ) from error
    with private_files(), work_directory(root, f"verify-{name}") as work_dir:
        path = _local_file(subject, target, work_dir, progress)
        verdict = verify(
            VerifyRequest(
                image=path,
                disk_format=disk.source_format(path),
                settings=target.verify,
                build=target.build,
                architecture=target.source.architecture,
                work_dir=work_dir / "verify",
                log_dir=log_dir,
                progress=progress,
                only=only,
                control_plane=expectation(target),
            )
        )
    return Verification(verdict=verdict, log_dir=log_dir)


def _local_file(subject: str, target: Target, work_dir: Path, progress: Progress) -> Path:
    path = Path(subject)
    if path.is_file():
        # Checked again on our own copy, which cannot change: this saves making one in vain.
        disk.source_format(path)
        copy = work_dir / "given" / path.name
        copy.parent.mkdir()
        copy_in(path, copy)
        return copy
    if path.is_dir():
        raise ConfigError(f"{subject} is a directory", hint="name the image file in it")
    if not BEGINNING.fullmatch(subject):
        raise ConfigError(
            f"{subject} is neither a file nor the id of an image",
            hint="`retrofit list` shows the ids of amphora images",
        )
    from retrofit.cloud import Glance  # noqa: PLC0415  (a file needs no cloud)
    from retrofit.operations.images import image_ids, the_one_that_begins  # noqa: PLC0415

    glance = Glance.connect(target.cloud)
    image = glance.get(
        subject
        if UUID.fullmatch(subject)
        else the_one_that_begins(subject, image_ids([target])) or subject
    )
    if image is None:
        raise ConfigError(
            f"there is no image {subject} in {glance.where}",
            hint="`retrofit list` shows the ids of amphora images",
        )
    downloaded = work_dir / "image"
    glance.download(image, downloaded, progress)
    return downloaded
