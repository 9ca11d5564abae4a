"""What a person ordered while a run was at work: it stands; pure."""

from __future__ import annotations

from retrofit.config import Target
from retrofit.plan.authorship import PROMOTED_BY, REJECTED_BY, Authorship, authorship
from retrofit.plan.image_state import PROMOTED_AT, rejected_at
from retrofit.plan.inventory import Inventory


def ordered_since(before: Inventory, now: Inventory, target: Target) -> Authorship | None:
    """Return the promotion or rollback by a person that came after an inventory; None without.

    By what the images record, never by clocks: two inventories of one second are told apart.
    """
    known = {image.id: image for image in before.images}
    orders = []
    for image in now.ours(target):
        was = known.get(image.id)
        for name, when in (
            (PROMOTED_BY, image.time(PROMOTED_AT)),
            (REJECTED_BY, rejected_at(image)),
        ):
            order = authorship(image, name, when)
            if order is None or not order.is_personal:
                continue
            if was is None or was.property(name) != image.property(name):
                orders.append(order)
    return max(orders, key=lambda order: order.at, default=None)
