"""What keeps Octavia from taking our image, or makes it take another one."""

from __future__ import annotations

from retrofit.config import Target
from retrofit.model import Image
from retrofit.plan.inventory import Inventory, is_eligible, newest_first


def warnings(inventory: Inventory, target: Target) -> list[str]:
    """Name every image that carries the tag and should not, or carries it in vain."""
    tag = target.publish.tag
    tagged = newest_first(image for image in inventory.images if tag in image.tags)
    eligible = [image for image in tagged if is_eligible(image, tag)]
    ours = {image.id for image in inventory.ours(target.name)}
    charm = {image.id for image in inventory.of_the_charm(target)}
    said = []
    if eligible and eligible[0].id not in ours:
        said.append(
            _taken_instead(eligible[0], inventory, target, of_charm=eligible[0].id in charm)
        )
    if len(eligible) > 1:
        listed = ", ".join(image.id for image in eligible)
        said.append(f"{len(eligible)} active images carry the tag {tag}: {listed}")
    for image in tagged:
        if image.status == "deactivated":
            said.append(
                f"image {image.id} carries the tag {tag} and is deactivated: Octavia cannot take it"
            )
        elif image.hidden and image.status == "active":
            said.append(
                f"image {image.id} carries the tag {tag} and is hidden: Octavia cannot see it"
            )
    return said


def _taken_instead(winner: Image, inventory: Inventory, target: Target, *, of_charm: bool) -> str:
    tag = target.publish.tag
    start = (
        f"Octavia takes image {winner.id} ({winner.name}, owner {winner.owner}), which is not"
        f" of target {target.name}: "
    )
    if of_charm:
        return start + (
            "the octavia-diskimage-retrofit charm made it; publish.adopt = true lets us demote it"
        )
    if winner.owner != inventory.own_project:
        return start + f"set amp_image_owner_id = {inventory.own_project}, or remove its tag {tag}"
    return start + f"remove its tag {tag}"
