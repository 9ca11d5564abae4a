"""Where sources come from at present: Glance, the mirror, and how the two compare."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.errors import SourceError
from retrofit.freshness import freshness
from retrofit.model import Image, Source
from retrofit.source import SourceChoice, choose_item, choose_source
from retrofit.streams import Mirror
from retrofit.trust import Offer


@dataclass(frozen=True, kw_only=True)
class Supply:
    """The source that would be used now, what the mirror offers, and what is amiss with both."""

    choice: SourceChoice
    offer: Offer
    warnings: tuple[str, ...]


def supply(target: Target, settings: Settings, glance: Glance, now: datetime) -> Supply:
    """Read where the target's sources come from, and the mirror where one is configured.

    A mirror that cannot be read is no error here: whether one is needed is decided later.
    """
    rules = target.source
    offer = _offer(target, settings)
    newest = None if offer.listing is None else choose_item(offer.listing, rules)
    if rules.origin == "simplestreams":
        choice = newest or SourceChoice(source=None, rejected=(), wanted="", trouble=offer.trouble)
    else:
        images = _possible_sources(target, glance)
        choice = choose_source(images, rules, own_project=glance.project_id)
    # An image that was named is used however many newer ones there are.
    compared: Source | None = newest.source if newest and rules.image is None else None
    said = freshness(choice.source, compared, offer.listing, rules, now)
    if offer.trouble is not None and rules.origin == "glance":
        said.append(f"the mirror cannot be compared with Glance: {offer.trouble.message}")
    return Supply(choice=choice, offer=offer, warnings=tuple(said))


def _offer(target: Target, settings: Settings) -> Offer:
    if target.mirror.url is None:
        return Offer()
    try:
        return Offer(listing=Mirror(target.mirror, settings.paths.cache).listing())
    except SourceError as error:
        return Offer(trouble=error)


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
