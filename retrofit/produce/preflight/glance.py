"""What a run will ask of Glance, tried with records that never get bytes, and are deleted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from retrofit.cloud import Glance, Removal
from retrofit.config import Target
from retrofit.errors import BuildError, CloudError, PublishError, RetrofitError
from retrofit.model import BuiltImage, Source, Verdict
from retrofit.produce.preflight.tries import DoubtError
from retrofit.publish import upload
from retrofit.publish.properties import LATER, image_attributes
from retrofit.source.trust import Trust
from retrofit.system.sizes import GIBIBYTE, MEBIBYTE

MOST_OFFSET = timedelta(hours=12)
"""How far this machine's clock may be from Glance's: apt refuses indexes of the future, and TLS
certificates that are not valid yet."""
NOT_LATER = frozenset({"retrofit_paused"})
"""Properties that would mean something on a record: no machine must see a pause."""
VALUE = "0" * 64
"""Value of a property that is known after the build only: as long as a digest."""
BESIDE = {"visibility": "private", "os_hidden": True, "disk_format": "raw", "min_disk": 0}
"""Attributes of the evidence beside an image. Its record is tried as one of an image in all else:
so each run that finds one knows whose it is."""
SIZE = "image_size_total"
"""Glance's name of the limit of all bytes of a project, in MiB."""

log = structlog.get_logger(__name__)


class _NotDeletedError(PublishError):
    """Glance keeps a record that was created to be deleted."""


def trial_attributes(
    target: Target,
    source: Source,
    *,
    image_id: str,
    project_id: str,
    recipe: str,
    run_id: str,
    host: str,
    state_id: str,
) -> dict[str, Any]:
    """Return the attributes of a record as the run's image will have them, and one's name."""
    attributes = image_attributes(
        target,
        source,
        BuiltImage(
            path=Path(os.devnull),
            disk_format=target.build.format,
            size=0,
            virtual_size=0,
            min_disk=1,
            sha512=VALUE * 2,
        ),
        Verdict(
            checks=(),
            how=f"{target.verify.level}-kvm",
            facts=dict.fromkeys(
                (
                    "haproxy_version",
                    "amphora_agent_version",
                    "kernel_version",
                    "retrofit_octavia_release",
                ),
                VALUE,
            ),
        ),
        source_hashes={"sha256": VALUE, "sha512": VALUE * 2},
        source_trust=Trust.DIGEST,
        recipe=recipe,
        run_id=run_id,
        host=host,
        project_id=project_id,
        image_id=image_id,
        state_id=state_id,
        image_ends=VALUE,
        evidence=VALUE,
    )
    return {**attributes, "name": f"retrofit preflight {run_id}"}


def try_record(
    glance: Glance, target: Target, attributes: Callable[[str], Mapping[str, Any]]
) -> str:
    """Create a record with all properties, tags and visibility of the image, and delete it.

    It names itself ours and stays queued: Octavia selects active images only, and the next run
    deletes it where this one is killed. Raises PublishError with what Glance refuses of it.
    """
    tags = (target.publish.tag, *target.publish.former_tags)
    records = _Records(glance)
    try:
        with records.one(attributes) as number:
            for tag in tags:
                glance.tag(number, tag)
            glance.update(number, dict.fromkeys(LATER.keys() - NOT_LATER, VALUE))
            try:
                with records.one(lambda own: {**attributes(own), **BESIDE}):
                    pass
            except _NotDeletedError:
                raise
            except PublishError as error:
                raise DoubtError(
                    f"Glance has no place for the evidence of packages beside the image:"
                    f" {error.message}",
                    hint=error.hint,
                ) from error
    except PublishError as error:
        raise _named(error, records, target, attributes) from error
    return f"a record with all properties and {', '.join(tags)} was created and deleted"


def try_quota(glance: Glance, *, expected: int) -> str:
    """Compare what the project may still store with the `expected` bytes of the image.

    Raises PublishError where Glance accepts no bytes at all, DoubtError where they may be too many.
    """
    quota = glance.quotas().get(SIZE)
    if quota is None or quota.limit < 0:
        return "Glance shows no limit of bytes"
    left = quota.limit - quota.used
    shown = f"{quota.used} MiB of {quota.limit} MiB are in use"
    hint = (
        "raise the limit image_size_total of the project, delete images, or lower publish.keep"
        " and publish.retire_after"
    )
    if left <= 0:
        raise PublishError(f"the project's quota in Glance is full: {shown}", hint=hint)
    if left < expected // MEBIBYTE:
        raise DoubtError(
            f"the project's quota in Glance may be too small: {shown}, and the image may have"
            f" {expected // MEBIBYTE} MiB",
            hint=hint,
        )
    return shown


def try_clock(glance: Glance) -> str:
    """Compare this machine's clock with Glance's. Raises BuildError where they are far apart."""
    clock = glance.clock()
    offset = datetime.now(UTC) - clock.now
    if abs(offset) > MOST_OFFSET:
        raise BuildError(
            f"{clock.warning or 'the clock of this machine is wrong'}; apt and TLS refuse what is"
            " not valid yet, or no more",
            hint="set the clock of this machine by NTP (timedatectl set-ntp true), or Glance's",
        )
    if clock.warning is not None:
        raise DoubtError(clock.warning, hint="set the clocks by NTP (timedatectl set-ntp true)")
    return f"within {abs(offset).total_seconds():.0f} s of Glance's"


def expected_size(source: Source) -> int:
    """Estimate the bytes of the image from its source's."""
    return (source.size or GIBIBYTE // 2) * 3 // 2


class _Records:
    """The records of one try. Where Glance keeps one (`are_kept`), no other is to follow it."""

    def __init__(self, glance: Glance) -> None:
        self._glance = glance
        self.are_kept = False

    @contextmanager
    def one(self, attributes: Callable[[str], Mapping[str, Any]]) -> Iterator[str]:
        """Create a record for the length of the block. Raises PublishError, CloudError."""
        glance, number = self._glance, upload.new_id()
        try:
            asked = attributes(number)
            upload.require_recognised(glance.create(asked), asked, owner=glance.project_id)
            yield number
        except BaseException:
            try:
                self._delete(number)
            except RetrofitError as error:
                log.warning("record left for the next run to delete", reason=error.message)
            raise
        self._delete(number)

    def is_taken(self, attributes: Callable[[str], Mapping[str, Any]]) -> bool:
        """Return True if Glance creates a record. Raises CloudError, and where it keeps one."""
        try:
            with self.one(attributes):
                return True
        except PublishError:
            if self.are_kept:
                raise
            return False

    def _delete(self, number: str) -> None:
        self.are_kept = True
        removal = self._glance.delete(number)
        if removal not in {Removal.DELETED, Removal.GONE}:
            raise _NotDeletedError(
                f"Glance does not delete record {number}, which retrofit created: {removal}",
                hint="give the project the right to delete its images (Glance's policy"
                " delete_image)",
            )
        self.are_kept = False


def _named(
    error: PublishError,
    records: _Records,
    target: Target,
    attributes: Callable[[str], Mapping[str, Any]],
) -> RetrofitError:
    """Return the error with the settings that Glance refuses, found by records without them."""
    own = target.publish.properties

    def bare(number: str) -> dict[str, Any]:
        kept = {key: value for key, value in attributes(number).items() if key not in own}
        return {**kept, "visibility": "private"}

    settings: dict[str, dict[str, Any]] = {
        f"publish.properties.{name}": {name: value} for name, value in own.items()
    }
    if target.publish.visibility != "private":
        settings["publish.visibility"] = {"visibility": target.publish.visibility}
    refused = {}
    try:
        if not settings or records.are_kept or not records.is_taken(bare):
            return error
        for setting, added in settings.items():
            if not records.is_taken(partial(_with, bare, added)):
                refused[setting] = next(iter(added.values()))
    except (CloudError, PublishError):
        return error
    if not refused:
        return error
    shown = ", ".join(f"{setting} = {value!r}" for setting, value in refused.items())
    return PublishError(
        f"Glance refuses {shown}: {error.message}",
        hint="change it, or have the cloud's operator permit it to this project",
    )


def _with(
    attributes: Callable[[str], dict[str, Any]], added: dict[str, Any], number: str
) -> dict[str, Any]:
    return {**attributes(number), **added}
