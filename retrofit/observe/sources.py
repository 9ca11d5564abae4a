"""Where sources come from at present: Glance, the mirror, and how the two compare."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.errors import SourceError
from retrofit.model import Image, Source
from retrofit.simplestreams import Mirror
from retrofit.source.choose import SourceChoice, choose_item, choose_source
from retrofit.source.sync_age import sync_warnings
from retrofit.source.trust import MirrorState
from retrofit.source.vouched import vouched


@dataclass(frozen=True, kw_only=True)
class SourceObservation:
    """The source that would be used now, what the mirror offers, and what is wrong with both."""

    choice: SourceChoice
    mirror: MirrorState
    warnings: tuple[str, ...]


def observe_sources(
    target: Target, settings: Settings, glance: Glance, now: datetime
) -> SourceObservation:
    """Read where the target's sources come from, and the mirror where one is configured.

    A mirror that cannot be read is no error here: whether one is needed is decided later.
    """
    rules = target.source
    mirror = _mirror_state(target, settings)
    newest = None if mirror.listing is None else choose_item(mirror.listing, rules)
    odd: tuple[str, ...] = ()
    if rules.origin == "simplestreams":
        choice = newest or SourceChoice(source=None, rejected=(), wanted="", error=mirror.error)
    else:
        images = _possible_sources(target, glance)
        found = vouched(choose_source(images, rules, own_project=glance.project_id), target, mirror)
        choice, odd = found.choice, found.warnings()
    # An image that was named is used however many newer ones there are.
    compared: Source | None = newest.source if newest and rules.image is None else None
    warned = sync_warnings(choice.source, compared, mirror.listing, rules, now)
    if mirror.error is not None and rules.origin == "glance":
        warned.append(f"the mirror cannot be compared with Glance: {mirror.error.message}")
    return SourceObservation(choice=choice, mirror=mirror, warnings=(*odd, *warned))


def _mirror_state(target: Target, settings: Settings) -> MirrorState:
    if target.mirror.url is None:
        return MirrorState()
    try:
        return MirrorState(listing=Mirror(target.mirror, settings.paths.cache).listing())
    except SourceError as error:
        return MirrorState(error=error)


def _possible_sources(target: Target, glance: Glance) -> list[Image]:
    if target.source.image is not None:
        image = glance.get(target.source.image)
        return [] if image is None else [image]
    # By owner, so that a tenant's thousand look-alikes are not even listed.
    owners = dict.fromkeys((glance.project_id, *target.source.owners))
    return [
        image
        for owner in owners
        for image in glance.list({"os_distro": "ubuntu", "owner": owner}, hidden=False)
    ]
