"""The faults of old that took an identity from a name, each put back where it was mended."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from typing import Any

import pytest

from retrofit.model import Image
from retrofit.plan import companions, identity
from retrofit.plan.identity import HOST, IMAGE_ID, TARGET, Basis, Identity, Machine, Ownership

Put = pytest.MonkeyPatch
OURS = Ownership(basis=Basis.PRESENT, reason="has the name of the target")


def replace_everywhere(put: Put, original: Any, substitute: Any) -> None:
    """Put `substitute` wherever a module has `original`."""
    for key, module in list(sys.modules.items()):
        if key.startswith("retrofit."):
            for name, value in list(vars(module).items()):
                if value is original:
                    put.setattr(module, name, substitute)


def an_installation_is_the_name_of_its_target(put: Put) -> None:
    """Row 1: another tag in the project is no other installation."""
    whose = identity.whose

    def by_name(image: Image, ours: Identity, images: Any = ()) -> Ownership:
        itself = image.property(IMAGE_ID) == image.id
        return OURS if itself and _has_our_name(image, ours) else whose(image, ours, images)

    replace_everywhere(put, whose, by_name)


def an_image_is_what_its_properties_say(put: Put) -> None:
    """Row 2: a copy has the properties of its original, so it is ours as well."""
    whose = identity.whose

    def by_properties(image: Image, ours: Identity, images: Any = ()) -> Ownership:
        if not _has_our_name(image, ours) or image.property(IMAGE_ID) is None:
            return whose(image, ours, images)
        named = {**image.properties, IMAGE_ID: image.id}
        return whose(replace(image, properties=named), ours, images)

    replace_everywhere(put, whose, by_properties)


def other_tags_count_for_nothing(put: Put) -> None:
    """Row 1, the flavor's tag: what else an image is found by is not looked at."""
    put.setattr(Identity, "foreign_tags", lambda _self, _image: [])


def a_renamed_target_is_another_one(put: Put) -> None:
    """Row 10: what was made under the former name of a target is forgotten."""
    _without(put, "former_targets")


def a_changed_tag_is_another_installation(put: Put) -> None:
    """Row 1, a change of `publish.tag`: what was made under the former tag is forgotten."""
    _without(put, "former_tags")


def evidence_keeps_a_former_name(put: Put) -> None:
    """Row 10: the evidence of an image stays with the target's former name and tag."""
    replace_everywhere(put, companions.to_move, lambda _image, _records, _target: [])


def a_host_is_a_machine(put: Put) -> None:
    """Row 13: what a host of our name left unfinished is of a dead run of ours."""

    def is_leftover(self: Machine, image: Image) -> bool:
        return self.lock_shared or image.property(HOST) == socket.gethostname()

    put.setattr(Machine, "is_leftover", is_leftover)


def no_other_installation_of_0_1_0_is_looked_for(put: Put) -> None:
    """What 0.1.0 left is taken over, whichever installation of it made it."""
    replace_everywhere(put, identity.other_installation, lambda _ours, _images: None)


def _has_our_name(image: Image, ours: Identity) -> bool:
    return (
        image.property(TARGET) in ours.targets
        and image.owner == ours.project_id
        and not image.is_snapshot
    )


def _without(put: Put, names: Any) -> None:
    of = Identity.of

    def forgetful(target: Any, project_id: str) -> Identity:
        found: Any = of(target, project_id)
        return replace(found, **{names: ()})  # type: ignore[no-any-return]

    put.setattr(Identity, "of", forgetful)
