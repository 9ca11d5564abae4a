"""Rows of Octavia's listings as the domain's types; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from retrofit.model import Amphora, LoadBalancer
from retrofit.times import read_time

UNDATED = datetime(1970, 1, 1, tzinfo=UTC)
"""Time of a record without `created_at`: long ago."""


def as_amphora(row: Mapping[str, Any]) -> Amphora:
    """Return an amphora as the API lists it. Raises KeyError, ValueError for another form."""
    return Amphora(
        id=row["id"],
        status=row["status"],
        created_at=_moment(row.get("created_at")),
        image_id=row.get("image_id") or None,
        load_balancer_id=row.get("loadbalancer_id") or None,
        role=row.get("role") or None,
        compute_id=row.get("compute_id") or None,
        management_address=row.get("lb_network_ip") or None,
    )


def as_load_balancer(row: Mapping[str, Any]) -> LoadBalancer:
    """Return a load balancer as the API lists it. Raises as `as_amphora` does."""
    return LoadBalancer(
        id=row["id"],
        name=row.get("name") or "",
        project_id=row.get("project_id") or "",
        vip_address=row.get("vip_address"),
        provisioning_status=row["provisioning_status"],
        operating_status=row["operating_status"],
        provider=row.get("provider") or None,
        flavor_id=row.get("flavor_id") or None,
        tags=frozenset(map(str, row.get("tags") or ())),
        created_at=_moment(row.get("created_at")),
        updated_at=_moment(row.get("updated_at") or row.get("created_at")),
        has_listeners=bool(row.get("listeners")),
        vip_subnet_id=row.get("vip_subnet_id") or None,
        vip_network_id=row.get("vip_network_id") or None,
    )


def _moment(stamp: str | None) -> datetime:
    """Parse a time of Octavia's, which is UTC without a mark of it."""
    if not stamp:
        return UNDATED
    moment = read_time(stamp)
    if moment is None:
        raise ValueError(f"{stamp!r} is not a time")
    return moment


def image_tag(profile: Mapping[str, Any]) -> str | None:
    """Return the image tag of a flavor profile, whose data is JSON in a string."""
    try:
        data = json.loads(profile.get("flavor_data") or "{}")
    except (ValueError, RecursionError):
        return None
    tag = data.get("amp_image_tag") if isinstance(data, dict) else None
    return tag if isinstance(tag, str) and tag else None
