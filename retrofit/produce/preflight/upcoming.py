"""What a run that is about to build will need, and the tries of all of it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from retrofit.archive.evidence import Evidence
from retrofit.cloud import Glance
from retrofit.config import PathSettings, Target
from retrofit.errors import CloudError, PublishError, VerifyError
from retrofit.model import DEBIAN_ARCHITECTURES, RELEASE_SERIES, Source
from retrofit.observe.freshness import ROOTS, TRIES
from retrofit.produce.preflight import archive, control_plane, glance, machine, python_index
from retrofit.produce.preflight.room import Room, reserved_room
from retrofit.produce.preflight.tries import Try
from retrofit.produce.preflight.verification import require_verifiable, try_kvm

CLOUD_LIMIT = 300.0
"""Seconds for a few requests to Glance, each of which has limits of its own."""


@dataclass(kw_only=True)
class Upcoming:
    """A run before its build: its target, its source, and under which names it works.

    `evidence` is that of the promoted image. `held` keeps what a try reserves until the run ends;
    `room` is that, once it was made.
    """

    target: Target
    paths: PathSettings
    source: Source
    recipe: str
    run_id: str
    host: str
    state_id: str
    evidence: Evidence | None
    held: ExitStack
    room: Room | None = None

    @property
    def series(self) -> str | None:
        """Return the source's series; None for one that is not known."""
        return RELEASE_SERIES.get(self.source.os_version)


def tries_of_cloud(upcoming: Upcoming, cloud: Glance) -> list[Try]:
    """Return the tries of Glance, which share a connection."""
    target = upcoming.target

    def attributes(image_id: str) -> dict[str, Any]:
        return glance.trial_attributes(
            target,
            upcoming.source,
            image_id=image_id,
            project_id=cloud.project_id,
            recipe=upcoming.recipe,
            run_id=upcoming.run_id,
            host=upcoming.host,
            state_id=upcoming.state_id,
        )

    expected = glance.expected_size(upcoming.source)
    slow = "see why Glance answers slowly"
    return [
        Try(
            name="record",
            attempt=partial(glance.try_record, cloud, target, attributes),
            limit=CLOUD_LIMIT,
            failure=PublishError,
            hint=slow,
        ),
        Try(
            name="quota",
            attempt=partial(glance.try_quota, cloud, expected=expected),
            limit=CLOUD_LIMIT,
            failure=PublishError,
            hint=slow,
        ),
    ]


def try_of_clock(cloud: Glance) -> Try:
    """Return the try of this machine's clock, by Glance's."""
    return Try(name="clock", attempt=partial(glance.try_clock, cloud))


def try_of_octavia(upcoming: Upcoming) -> Try:
    """Return the try of Octavia, which has a connection of its own."""
    return Try(
        name="octavia",
        attempt=partial(control_plane.try_octavia, upcoming.target, upcoming.series),
        failure=CloudError,
        hint='see why Octavia does not answer, or set octavia.query = "never"',
    )


def try_of_room(upcoming: Upcoming) -> Try:
    """Return the try that reserves disk and memory for the run."""

    def reserve() -> str:
        upcoming.room = upcoming.held.enter_context(
            reserved_room(
                upcoming.run_id,
                source=upcoming.source.size or 0,
                build=upcoming.target.build,
                verify=upcoming.target.verify,
                paths=upcoming.paths,
                work=upcoming.paths.work / upcoming.target.name,
            )
        )
        return f"{upcoming.room.total / (1 << 30):.1f} GiB of disk and memory"

    return Try(name="room", attempt=reserve)


def tries_of_machine(upcoming: Upcoming) -> list[Try]:
    """Return the tries of this machine, and of what the build and the verification use of it."""
    target, architecture = upcoming.target, upcoming.source.architecture
    build, verify = target.build, target.verify
    return [
        Try(name="tools", attempt=_silent(machine.check_tools, "all there")),
        Try(
            name="architecture",
            attempt=_silent(partial(machine.require_runnable, architecture), architecture),
        ),
        Try(name="mounts", attempt=_silent(machine.check_privilege, "may mount")),
        Try(name="sudo", attempt=_silent(machine.check_sudo, "hands settings on")),
        Try(name="loop-devices", attempt=_silent(machine.check_loop_devices, "free")),
        Try(
            name="verification",
            attempt=_silent(
                partial(require_verifiable, verify, architecture), f"level {verify.level}"
            ),
            failure=VerifyError,
        ),
        Try(name="kvm", attempt=partial(try_kvm, verify, architecture), failure=VerifyError),
        Try(name="ca-bundle", attempt=partial(archive.try_ca_bundle, build)),
        Try(
            name="archive",
            attempt=partial(
                archive.try_packages,
                _root_of(upcoming),
                evidence=upcoming.evidence,
                series=upcoming.series,
                architecture=DEBIAN_ARCHITECTURES[architecture],
                build=build,
            ),
            limit=120.0,
            hint="see that this machine reaches the package archive",
        ),
        Try(
            name="python-index",
            attempt=partial(python_index.try_python_index, build, upcoming.series),
            limit=90.0,
            hint="see that this machine reaches build.python_index",
        ),
    ]


def _root_of(upcoming: Upcoming) -> Path:
    return upcoming.paths.cache / ROOTS / TRIES / upcoming.target.name


def _silent(check: Any, found: str) -> Any:
    """Return a check that returns nothing as a try that returns what it found."""

    def attempt() -> str:
        check()
        return found

    return attempt
