"""What keeps Octavia from selecting our image, or makes it select another one."""

from __future__ import annotations

from retrofit.config import Target
from retrofit.model import Image
from retrofit.plan.image_state import is_eligible, own_tags
from retrofit.plan.inventory import Inventory, newest_first, promoted_image
from retrofit.plan.neighbours import identity_warnings


def warnings(inventory: Inventory, target: Target) -> list[str]:
    """Name every image that carries one of our tags and should not, or carries it in vain.

    After those come the images that look like ours and are not, and what other machines left.
    """
    found = [warning for tag in own_tags(target) for warning in _of_tag(tag, inventory, target)]
    return [*found, *identity_warnings(inventory, target)]


def _of_tag(tag: str, inventory: Inventory, target: Target) -> list[str]:
    tagged = newest_first(image for image in inventory.images if tag in image.tags)
    eligible = [image for image in tagged if is_eligible(image, tag)]
    ours = {image.id for image in inventory.ours(target)}
    charm = {image.id for image in inventory.of_the_charm(target)}
    found = []
    if eligible and eligible[0].id not in ours:
        found.append(
            _taken_instead(eligible[0], tag, inventory, target, of_charm=eligible[0].id in charm)
        )
    if len(eligible) > 1:
        listed = ", ".join(image.id for image in eligible)
        found.append(f"{len(eligible)} active images carry the tag {tag}: {listed}")
    for image in tagged:
        if image.status == "deactivated":
            found.append(
                f"image {image.id} carries the tag {tag} and is deactivated: Octavia cannot use it"
            )
        elif image.hidden and image.status == "active":
            found.append(
                f"image {image.id} carries the tag {tag} and is hidden: Octavia cannot see it"
            )
    return found


def _taken_instead(
    winner: Image, tag: str, inventory: Inventory, target: Target, *, of_charm: bool
) -> str:
    start = (
        f"Octavia selects image {winner.id} ({winner.name}, owner {winner.owner}), which is not"
        f" of target {target.name}: "
    )
    if of_charm:
        return start + (
            "the octavia-diskimage-retrofit charm made it;"
            " publish.replace_charm_images = true lets us demote it"
        )
    if winner.owner != inventory.own_project:
        return start + f"set amp_image_owner_id = {inventory.own_project}, or remove its tag {tag}"
    if promoted_image(inventory, target) is None:
        # Octavia has no other image: without its tag no load balancer starts.
        return start + (
            f"leave its tag until a run of target {target.name} has promoted an image of its own;"
            " if that target was renamed, list its old name in target.NAME.formerly"
        )
    return start + f"remove its tag {tag}"
