"""Whose an image in Glance is: the one place that decides it, and by what proof; pure."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from retrofit.config import Target
from retrofit.model import Image
from retrofit.plan.image_state import is_whole

IMAGE_ID = "retrofit_image_id"
INSTALLATION = "retrofit_installation"
TARGET = "retrofit_target"
TAG = "retrofit_tag"
STATE_ID = "retrofit_state_id"
RUN_ID = "retrofit_run_id"
HOST = "retrofit_host"
VERIFIED_AT = "retrofit_verified_at"

CHARM_TAG = "octavia-diskimage-retrofit"
"""What the charm of that name tags all its images with, besides the tag that Octavia looks for."""
NAMESPACE = uuid.UUID("5a2e9b3c-7f1d-5c64-9d0e-2b8a4f6c1e73")
"""Of the ids of installations. It never changes: images in Glance record what was derived by it."""
LATEST_UPLOAD = timedelta(days=1)
"""How long after its verification 0.1.0 may have created a record, all its retries included."""


def installation_id(project_id: str, tag: str) -> str:
    """Return the id of the installation that serves a tag in a project.

    It is derived and not stored: all machines find the same, with whatever state they have kept,
    and two installations that Octavia tells apart by their tags have two.
    """
    return str(uuid.uuid5(NAMESPACE, f"{project_id}/{tag}"))


class Basis(StrEnum):
    """What the answer to "whose is this image" rests on."""

    PRESENT = "present"
    FORMER = "former"
    OF_0_1 = "0.1"
    UNPROVEN = "unproven"
    COPY = "copy"
    OTHER_TARGET = "other target"
    OTHER_INSTALLATION = "other installation"
    OTHER_PROJECT = "other project"
    SNAPSHOT = "snapshot"
    UNRELATED = "unrelated"


OURS = frozenset({Basis.PRESENT, Basis.FORMER, Basis.OF_0_1})


@dataclass(frozen=True, kw_only=True)
class Ownership:
    """Whose an image is; `reason` continues a sentence that begins with the image."""

    basis: Basis
    reason: str

    @property
    def ours(self) -> bool:
        """Return True if the image is provably ours: only then anything of it is changed."""
        return self.basis in OURS

    @property
    def to_carry_over(self) -> bool:
        """Return True if it is ours, and does not record our present identity yet."""
        return self.basis in {Basis.FORMER, Basis.OF_0_1}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Under which names the images of a target are recorded in a project, now and formerly."""

    project_id: str
    target: str
    tag: str
    former_targets: tuple[str, ...] = ()
    former_tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, target: Target, project_id: str) -> Identity:
        """Return the identity of a configured target in a project."""
        return cls(
            project_id=project_id,
            target=target.name,
            tag=target.publish.tag,
            former_targets=target.formerly,
            former_tags=target.publish.former_tags,
        )

    @property
    def installation(self) -> str:
        """Return the id of this installation."""
        return installation_id(self.project_id, self.tag)

    @property
    def installations(self) -> tuple[str, ...]:
        """Return the ids of this installation, the present one first."""
        return tuple(installation_id(self.project_id, tag) for tag in self.tags)

    @property
    def targets(self) -> tuple[str, ...]:
        """Return the names of the target, the present one first."""
        return (self.target, *self.former_targets)

    @property
    def tags(self) -> tuple[str, ...]:
        """Return the tags by which Octavia may look for our image, the present one first."""
        return (self.tag, *self.former_tags)

    def properties_of(self, image_id: str) -> dict[str, str]:
        """Return the properties by which the image of this id names itself and us."""
        return {
            IMAGE_ID: image_id,
            INSTALLATION: self.installation,
            TARGET: self.target,
            TAG: self.tag,
        }

    def foreign_tags(self, image: Image) -> list[str]:
        """Return the tags of an image by which others than this target may use it."""
        return sorted(image.tags - {*self.tags, CHARM_TAG})


def whose(image: Image, identity: Identity, images: Iterable[Image] = ()) -> Ownership:
    """Return whose an image is, and by what proof.

    `images` are all that were listed: images of 0.1.0 do not name their installation, and are ours
    only where no other one shows among them. Anybody can write our properties into a record of
    their own project, and every copy has them: so a record has to name itself.
    """
    named = image.property(TARGET)
    if named is None:
        return _not(Basis.UNRELATED, "was not made by retrofit")
    if image.owner != identity.project_id:
        return _not(Basis.OTHER_PROJECT, f"belongs to project {image.owner}")
    if image.is_snapshot:
        return _not(Basis.SNAPSHOT, "is Nova's snapshot of a server")
    itself, installation = image.property(IMAGE_ID), image.property(INSTALLATION)
    if itself is None and installation is None:
        return _whose_of_0_1(image, identity, tuple(images))
    if itself != image.id:
        of = "an image that does not name itself" if itself is None else f"image {itself}"
        return _not(Basis.COPY, f"is a copy of {of}")
    if installation not in identity.installations:
        return _not(
            Basis.OTHER_INSTALLATION,
            f"belongs to another installation in this project"
            f" (target {named}, tag {image.property(TAG) or 'unknown'})",
        )
    if named not in identity.targets:
        return _not(Basis.OTHER_TARGET, f"belongs to target {named}")
    if (installation, named) == (identity.installation, identity.target):
        return Ownership(basis=Basis.PRESENT, reason="names itself, this installation and target")
    return Ownership(
        basis=Basis.FORMER,
        reason=f"is of target {named} with tag {image.property(TAG) or 'unknown'},"
        " a former name of this target",
    )


def _not(basis: Basis, reason: str) -> Ownership:
    return Ownership(basis=basis, reason=reason)


def is_of_0_1(image: Image) -> bool:
    """Return True if a record has the form of those that 0.1.0 made: it does not name itself."""
    return (
        image.property(TARGET) is not None
        and image.property(IMAGE_ID) is None
        and image.property(INSTALLATION) is None
    )


def _whose_of_0_1(image: Image, identity: Identity, images: Collection[Image]) -> Ownership:
    named = image.property(TARGET)
    if named not in identity.targets:
        return _not(Basis.OTHER_TARGET, f"belongs to target {named}")
    doubt = _doubt_of_0_1(image, identity, images)
    if doubt is not None:
        return _not(Basis.UNPROVEN, f"does not name its installation, and {doubt}")
    return Ownership(
        basis=Basis.OF_0_1,
        reason=f"was made by retrofit 0.1.0 for target {named} (run {image.property(RUN_ID)}),"
        " holds the verified bytes, and no other installation shows in this project",
    )


def _doubt_of_0_1(image: Image, identity: Identity, images: Collection[Image]) -> str | None:
    """Return what an image of 0.1.0's form lacks to be provably ours; None if nothing."""
    run_id = image.property(RUN_ID)
    if not run_id:
        return "no run"
    verified_at = image.time(VERIFIED_AT)
    if not is_whole(image) and not image.is_unfinished:
        return "does not hold the bytes that were verified"
    if verified_at is None or image.created_at - verified_at > LATEST_UPLOAD:
        return "was created long after its verification, as a copy is"
    originals = [
        other.created_at
        for other in images
        if other.id != image.id
        and other.owner == image.owner
        and other.property(RUN_ID) == run_id
        and is_whole(other)
    ]
    if any(created_at <= image.created_at for created_at in originals):
        return "another image is of the same run and older or as old"
    return other_installation(identity, images)


def other_installation(identity: Identity, images: Iterable[Image]) -> str | None:
    """Return the sign that another installation has images of this target's name; None without.

    Two installations of 0.1.0 in one project share all images of one name, whatever their tags.
    """
    for image in sorted(images, key=lambda each: each.id):
        if (
            image.property(TARGET) not in identity.targets
            or image.owner != identity.project_id
            or image.is_snapshot
        ):
            continue
        foreign = identity.foreign_tags(image)
        if is_of_0_1(image) and foreign:
            return f"image {image.id} of the same target carries the tag {foreign[0]}"
        if (
            image.property(IMAGE_ID) == image.id
            and image.property(INSTALLATION) not in identity.installations
        ):
            return (
                f"image {image.id} of the same target belongs to another installation"
                f" (tag {image.property(TAG) or 'unknown'})"
            )
    return None


def made_by(image: Image) -> str:
    """Name the machine that made an image, for people."""
    return f"host {image.property(HOST) or 'unknown'}"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a run knows of the other machines that may serve its target.

    `state_id` is the id of our directory `paths.state`, None where it is not known;
    `lock_shared` is True where the lock excludes runs on all machines, not only on those that
    share this directory. `runs` are the ids of the runs whose logs are on this machine.
    """

    state_id: str | None = None
    lock_shared: bool = True
    runs: frozenset[str] = frozenset()

    def is_of_another(self, image: Image) -> bool:
        """Return True if a machine made an image that no lock of ours excludes."""
        if self.lock_shared:
            return False
        made_by = image.property(STATE_ID)
        return made_by is not None and self.state_id is not None and made_by != self.state_id

    def is_leftover(self, image: Image) -> bool:
        """Return True if the run that left a record unfinished is dead, given the target's lock.

        0.1.0 did not record its state directory: its runs are known by their logs.
        """
        if self.lock_shared:
            return True
        made_by = image.property(STATE_ID)
        if made_by is None:
            return image.property(RUN_ID) in self.runs
        return made_by == self.state_id
