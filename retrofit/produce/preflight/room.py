"""Disk and memory of this machine, reserved for a run: others count it as taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from retrofit.build.needs import (
    LEAST_DOWNLOADS,
    MEMORY,
    SMALL_FILES,
    Needs,
    Place,
    by_filesystem,
    check_room,
    choose_tmpfs,
    needs_for,
)
from retrofit.config import BuildSettings, PathSettings, VerifySettings
from retrofit.errors import BuildError, VerifyError
from retrofit.system import reservations
from retrofit.system.memory import memory
from retrofit.system.reservations import Held, Reservation, written
from retrofit.system.resource_errors import way_out
from retrofit.system.sizes import MEBIBYTE
from retrofit.verify.boot.boots import QEMU_ITSELF
from retrofit.verify.boot.scenario import SCENARIOS

RESERVATIONS = "reservations"
"""Directory of reservations, in `paths.state`."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """What is reserved for a run: by an estimate at first, then by the size of the disk.

    `boots` are the bytes of memory for the boots of its verification.
    """

    held: Held
    boots: int
    build: BuildSettings
    paths: PathSettings
    work: Path

    @property
    def memory(self) -> int:
        """Return the bytes of memory that are reserved."""
        return self.held.mine.memory

    @property
    def total(self) -> int:
        """Return the bytes of memory and disk that are reserved."""
        return self.memory + sum(self.held.mine.disks.values())

    def renew(self, needs: Needs) -> bool:
        """Reserve what the build needs of a source that is fetched, and whose disk was measured.

        Return True to build in memory. Raises BuildError where there is too little for any build.
        """
        tmpfs = False

        def decide(others: Sequence[Reservation]) -> Reservation:
            nonlocal tmpfs
            mine, tmpfs = _decide(
                needs,
                others,
                source=0,
                granted=self.memory,
                build=self.build,
                paths=self.paths,
                work=self.work,
            )
            here = {
                device: size + written(self.work, device) for device, size in mine.disks.items()
            }
            return replace(mine, memory=max(mine.memory, self.boots), disks=here)

        with _reserving(self.paths):
            self.held.renew(decide)
        return tmpfs


@contextmanager
def reserved_room(
    name: str,
    *,
    source: int,
    build: BuildSettings,
    verify: VerifySettings,
    paths: PathSettings,
    work: Path,
) -> Iterator[Room]:
    """Reserve what a run needs from a source file of `source` bytes, for the length of the block.

    The size of the source's disk is known after the download only; the build asks again then.
    `name` is that of the reservation, `work` the directory whose files count as written already.
    Raises BuildError, and VerifyError where a boot needs more memory than there is.
    """
    needs = needs_for(source=source, output_copy=build.format == "qcow2")
    boots = 0

    def decide(others: Sequence[Reservation]) -> Reservation:
        nonlocal boots
        mine, _ = _decide(needs, others, source=source, build=build, paths=paths, work=work)
        boots = _boots(verify, _memory_of(others)) * MEBIBYTE
        return replace(mine, memory=max(mine.memory, boots))

    # Without the others first: a directory that cannot be written to is named here.
    check_room(_places(needs, source=source, tmpfs=True, paths=paths))
    with ExitStack() as stack:
        with _reserving(paths):
            held = stack.enter_context(
                reservations.reserved(paths.state / RESERVATIONS, name, decide)
            )
        yield Room(held=held, boots=boots, build=build, paths=paths, work=work)


@contextmanager
def _reserving(paths: PathSettings) -> Iterator[None]:
    """Name the directory of reservations where it cannot be written to."""
    try:
        yield
    except OSError as error:
        raise BuildError(
            f"cannot reserve room in {paths.state}: {error.strerror or error}",
            hint=way_out(error, "paths.state"),
        ) from error


def _decide(
    needs: Needs,
    others: Sequence[Reservation],
    *,
    source: int,
    granted: int = 0,
    build: BuildSettings,
    paths: PathSettings,
    work: Path,
) -> tuple[Reservation, bool]:
    """Return what a build reserves besides others, and True to build in memory.

    `source` are the bytes of the source's file that are still to be fetched, `granted` those of
    memory that the run has reserved already.
    """
    tmpfs = choose_tmpfs(needs, wanted=build.tmpfs, reserved=_memory_of(others), granted=granted)
    sharing = by_filesystem(places := _places(needs, source=source, tmpfs=tmpfs, paths=paths))
    check_room(
        places, {device: sum(other.outstanding(device) for other in others) for device in sharing}
    )
    mine = Reservation(
        memory=MEMORY + (needs.tmpfs if tmpfs else 0),
        disks={device: sum(place.needed for place in those) for device, those in sharing.items()},
        directory=work,
    )
    return mine, tmpfs


def _memory_of(others: Sequence[Reservation]) -> int:
    return sum(other.memory for other in others)


def _places(needs: Needs, *, source: int, tmpfs: bool, paths: PathSettings) -> list[Place]:
    work = source + needs.disk + (0 if tmpfs else needs.tmpfs)
    return [
        Place(setting="paths.work", path=paths.work, needed=work),
        Place(setting="paths.cache", path=paths.cache, needed=LEAST_DOWNLOADS),
        Place(setting="paths.logs", path=paths.logs, needed=SMALL_FILES),
        Place(setting="paths.state", path=paths.state, needed=SMALL_FILES),
    ]


def _boots(settings: VerifySettings, reserved: int) -> int:
    """Return the MiB of memory for the boots of a verification: of all at a time, or of one.

    Raises VerifyError where there is not enough for one.
    """
    if settings.level == "offline":
        return 0
    one = settings.memory + QEMU_ITSELF
    available = max(0, memory().available - reserved) // MEBIBYTE
    if available < one:
        besides = f" besides the {reserved // MEBIBYTE} MiB that other runs have reserved"
        raise VerifyError(
            f"{available} MiB of memory is available{besides if reserved else ''}, and booting the"
            f" image needs {one} MiB",
            hint="stop something else, lower verify.memory, or verify on a larger machine",
        )
    most = one * (len(SCENARIOS) if settings.level == "full" else 1)
    return most if available >= most else one
