"""A change of an image's attributes and properties: one patch, judged by its own answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from glanceclient import exc as glance_exc

PATCH = "application/openstack-images-v2.1-json-patch"
"""Its `add` sets what is there as well as what is not; `remove` refuses what is not there."""


def change(client: Any, image_id: str, changes: Mapping[str, Any]) -> None:
    """Set attributes or properties of an image; a value of None removes one.

    It is safe to repeat. Not by the client's own update, which reads the image before and after it:
    reads may lag some seconds behind, and the answer to the patch never does. Raises ValueError for
    an answer that is not the changed image, and what the client raises.
    """
    kept = {key: value for key, value in changes.items() if value is not None}
    removed = [key for key, value in changes.items() if value is None]
    known = client.images.get(image_id) if removed else {}
    after: Mapping[str, Any] = {}
    leaving = [key for key in removed if key in known]
    # Each round takes one away that a read showed by mistake, or adds what a read did not show.
    for _ in range(2 * len(removed) + 1):
        operations = [{"op": "add", "path": f"/{key}", "value": kept[key]} for key in kept]
        operations += [{"op": "remove", "path": f"/{key}"} for key in leaving]
        if not operations:
            return  # nothing to set, and nothing there to remove
        try:
            after = _patched(client, image_id, operations)
        except glance_exc.HTTPConflict as conflict:
            named = re.search(r"Property (\S+) does not exist", str(conflict))
            if named is None or named[1] not in leaving:
                raise
            leaving.remove(named[1])
            continue
        leaving = [key for key in removed if key in after]
        if not leaving:
            break
    lost = [key for key in kept if after.get(key) != kept[key]] + leaving
    if lost:
        raise ValueError(f"{', '.join(lost)} did not change")


def _patched(client: Any, image_id: str, operations: list[dict[str, Any]]) -> Mapping[str, Any]:
    _, body = client.http_client.patch(
        f"/v2/images/{image_id}", headers={"Content-Type": PATCH}, data=json.dumps(operations)
    )
    if not isinstance(body, Mapping) or body.get("id") != image_id:
        raise ValueError("the answer to a change is not the changed image")
    return body
