"""Adopt images that are not provably of a target: an operator's word in place of a proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.errors import ConfigError
from retrofit.model import Image
from retrofit.observe.target import take_inventory
from retrofit.plan import Inventory
from retrofit.plan.adoption import Adoption, adopt_installation, adopt_named, adopt_unproven
from retrofit.plan.identity import INSTALLATION, installation_id
from retrofit.publish.evidence import move_evidence
from retrofit.runner import run_action
from retrofit.runs.machine import this_machine
from retrofit.runs.report import RunReport
from retrofit.times import iso

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to adopt: images by their ids, or all of an installation, by its id or its tag.

    Without any of these: what retrofit 0.1.0 left promoted and no proof attributes.
    """

    image_ids: tuple[str, ...] = ()
    installation: str | None = None
    from_tag: str | None = None

    def __post_init__(self) -> None:
        """Raise ConfigError for several ways of naming at once."""
        ways = (bool(self.image_ids), self.installation is not None, self.from_tag is not None)
        if sum(ways) > 1:
            raise ConfigError(
                "images, --installation and --from-tag exclude each other", hint="name one of them"
            )


def preview_adoption(target: Target, settings: Settings, wanted: Wanted) -> tuple[Adoption, ...]:
    """Return which images would be adopted. Raises CloudError, and ConfigError as for `adopt`."""
    return _plan(target, settings, Glance.connect(target.cloud), wanted)[1]


def adopt(target: Target, settings: Settings, wanted: Wanted) -> RunReport:
    """Write the identity of a target onto images and their evidence; tags, pauses, times stay.

    The report's error is a ConfigError for an image that cannot be adopted; then none is.
    """

    def work(report: RunReport) -> None:
        glance = Glance.connect(target.cloud)
        with report.step("adopt"):
            inventory, planned = _plan(target, settings, glance, wanted)
            for each in planned:
                move_evidence(each.image, inventory, target, glance)
                glance.update(each.image.id, each.properties)
                report.adopted.append(each.image.id)
                report.reasons.append(f"image {each.image.id} adopted by hand: it {each.was}")
                log.info("image adopted", image_id=each.image.id, was=each.was)
        report.outcome = "adopted" if report.adopted else "unchanged"

    return run_action(target, settings, "adopt", work)


def only_target(targets: Sequence[Target]) -> Target:
    """Return the target to adopt for. Raises ConfigError where there are several."""
    if len(targets) == 1:
        return targets[0]
    names = ", ".join(target.name for target in targets)
    raise ConfigError(f"several targets could adopt: {names}", hint="name one by --target")


def _plan(
    target: Target, settings: Settings, glance: Glance, wanted: Wanted
) -> tuple[Inventory, tuple[Adoption, ...]]:
    inventory = take_inventory(target, glance, this_machine(settings))
    now = iso(inventory.now)  # by Glance's clock
    if wanted.image_ids:
        found = (glance.get(image_id) for image_id in wanted.image_ids)
        inventory = _with(inventory, [image for image in found if image is not None])
        return inventory, adopt_named(inventory, target, wanted.image_ids, now=now)
    installation = wanted.installation
    if wanted.from_tag is not None:
        installation = installation_id(glance.project_id, wanted.from_tag)
    if installation is None:
        return inventory, adopt_unproven(inventory, target, now=now)
    theirs = glance.list({INSTALLATION: installation, "owner": glance.project_id})
    inventory = _with(inventory, theirs)
    return inventory, adopt_installation(inventory, target, installation, now=now)


def _with(inventory: Inventory, images: Sequence[Image]) -> Inventory:
    """Return an inventory that has these images as well."""
    known = {image.id: image for image in (*inventory.images, *images)}
    return replace(inventory, images=tuple(known.values()))
