"""Amphorae, load balancers and flavors, read from the Octavia API."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Self
from urllib.parse import urlsplit

from keystoneauth1.adapter import Adapter
from openstack import exceptions as sdk_exc

from retrofit.cloud.auth import cloud_region
from retrofit.cloud.endpoint import registered, versioned
from retrofit.cloud.octavia_conf import mismatches
from retrofit.cloud.octavia_errors import (
    DeniedError,
    OctaviaError,
    reading,
    translated_octavia,
)
from retrofit.cloud.octavia_rows import as_amphora, as_load_balancer, image_tag
from retrofit.cloud.requests import Requests, impatient, session_of
from retrofit.config import CloudSettings, Target
from retrofit.control_plane.releases import ControlPlane, from_api
from retrofit.control_plane.uses import kinds_in_use
from retrofit.errors import ConfigError
from retrofit.model import Amphora, Fleet, LoadBalancer, Usage
from retrofit.system.deadline import deadline

__all__ = [
    "Octavia",
    "control_plane",
    "fleet",
    "kinds_of_load_balancers",
    "mismatches",
    "octavia_cloud",
    "usage",
]

VERSION = "v2.0"
"""Octavia's API, for an address without a version."""
MOST_SECONDS = 90.0
"""Seconds for all answers together; a listing of ten thousand amphorae takes less."""
AGAIN = 5
"""Restarts of a listing when the last row of a page is purged before the next one is read."""


class _MarkerGoneError(Exception):
    """The row after which a page begins does not exist any more."""

    def __init__(self, refusal: Exception) -> None:
        super().__init__()
        self.refusal = refusal


class Octavia:
    """The load balancing service of one cloud and region, as one user.

    Every listing is whole or an error, never shorter than what there is. It is read once: Octavia
    pages by key in the order of `created_at` (octavia/api/common/pagination.py), so what is deleted
    meanwhile moves nothing else and what is created meanwhile comes at the end. The one row that
    can be missed is committed late, after younger ones have been read; such an amphora is being
    started just now, from the image that is tagged now, which is never retired.
    """

    def __init__(self, proxy: Any, requests: Requests, place: str = "") -> None:
        self._proxy = proxy
        self._requests = requests
        self._place = place

    @classmethod
    def connect(cls, target: Target, *, until: float = math.inf) -> Self:
        """Log in, as `octavia.cloud` where that is set, and find the load balancing endpoint.

        `until` is a time of the monotonic clock: by then all that is asked ends.
        Raises ConfigError for a cloud that is not configured, CloudError for one that cannot be
        reached, refuses the credentials, or has no load balancing service in the region.
        """
        settings = octavia_cloud(target)
        region = cloud_region(settings)
        session, requests = session_of(region, settings, until=until)

        def find() -> tuple[Adapter, str]:
            # No version document: older releases have none that can be read (openstacksdk).
            address = versioned(registered(region, session, "load-balancer"), VERSION)
            found = Adapter(session, endpoint_override=address, raise_exc=False)
            return found, _place(session, address, region.get_region_name("load-balancer"))

        with translated_octavia("find Octavia"):
            proxy, place = requests.make(find, "find Octavia")
            return cls(proxy, requests, place)

    def place(self) -> str:
        """Return what names this Octavia, the same for all users and interfaces of a cloud."""
        return self._place

    def amphorae(self) -> tuple[Amphora, ...]:
        """List all amphorae of the cloud; deleted ones are not among them."""
        with reading("list amphorae"):
            return tuple(map(as_amphora, self._pages("/octavia/amphorae", "amphorae")))

    def load_balancers(self) -> tuple[LoadBalancer, ...]:
        """List the load balancers that the credentials may see; with an admin role, all."""
        with reading("list load balancers"):
            return tuple(
                map(as_load_balancer, self._pages("/lbaas/loadbalancers", "loadbalancers"))
            )

    def flavors_and_tags(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the names of flavors by their ids, and image tags by those names.

        What the credentials have no right to list is empty.
        """
        names: dict[str, str] = {}
        try:
            with reading("list flavors"):
                flavors = self._pages("/lbaas/flavors", "flavors")
                names = {each["id"]: each["name"] for each in flavors}
                tags = {
                    profile["id"]: tag
                    for profile in self._pages("/lbaas/flavorprofiles", "flavorprofiles")
                    if (tag := image_tag(profile))
                }
        except DeniedError:
            return names, {}
        return names, {
            flavor["name"]: tags[flavor["flavor_profile_id"]]
            for flavor in flavors
            if flavor.get("flavor_profile_id") in tags
        }

    def api_versions(self) -> tuple[str, ...]:
        """Return the ids of the versions that `GET /` lists, which needs no role."""
        with reading("ask Octavia for its versions"):
            address = str(self._proxy.endpoint_override).rstrip("/").removesuffix(f"/{VERSION}")

            def ask() -> Any:
                response = self._proxy.get(f"{address}/", authenticated=False)
                sdk_exc.raise_from_response(response)
                return response.json()

            rows = self._requests.make(ask, "ask Octavia for its versions")["versions"]
            return tuple(str(row["id"]) for row in rows)

    def load_balancers_and_kinds(
        self,
    ) -> tuple[tuple[LoadBalancer, ...], dict[str, frozenset[str]]]:
        """Return the load balancers as `load_balancers`, and the kinds of each, by its id."""
        with reading("list load balancers"):
            rows = list(self._pages("/lbaas/loadbalancers", "loadbalancers"))
            return tuple(map(as_load_balancer, rows)), self._kinds(rows)

    def kinds(self) -> dict[str, frozenset[str]]:
        """Return the kinds of each load balancer, by its id; with an admin role, of all."""
        with reading("list load balancers"):
            return self._kinds(list(self._pages("/lbaas/loadbalancers", "loadbalancers")))

    def _kinds(self, load_balancers: list[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
        with reading("list what load balancers do"):
            return kinds_in_use(
                listeners=list(self._pages("/lbaas/listeners", "listeners")),
                pools=list(self._pages("/lbaas/pools", "pools")),
                monitors=list(self._pages("/lbaas/healthmonitors", "healthmonitors")),
                policies=list(self._pages("/lbaas/l7policies", "l7policies")),
                load_balancers=load_balancers,
            )

    def _pages(self, path: str, key: str) -> list[Mapping[str, Any]]:
        """Read a listing to its end; again where the last row of a page was purged meanwhile."""
        for attempt in range(AGAIN + 1):
            try:
                return [*self._rows(path, key)]
            except _MarkerGoneError as error:
                if attempt == AGAIN:
                    raise error.refusal from None
        raise AssertionError  # unreachable: the last attempt returns or raises

    def _rows(self, path: str, key: str) -> Iterator[Mapping[str, Any]]:
        """Yield the rows of a listing.

        Of Octavia's `next` link only its presence counts: its address may be one that only the
        controllers reach (it is made of what stands before the proxy), and drops filters.
        """
        seen: set[str] = set()
        marker: dict[str, str] = {}
        while True:
            try:
                page = self._requests.make(partial(self._page, path, marker), f"list {key}")
            except (sdk_exc.BadRequestException, sdk_exc.NotFoundException) as error:
                if marker:
                    raise _MarkerGoneError(error) from error
                raise
            rows = page[key]
            for row in rows:
                if row["id"] in seen:
                    raise OctaviaError(
                        f"list {key}",
                        f"Octavia's pages repeat themselves ({row['id']})",
                        hint="check that octavia.conf has not allow_sorting = False",
                    )
                seen.add(row["id"])
                yield row
            links = page.get(f"{key}_links") or ()
            if not rows or not any(link.get("rel") == "next" for link in links):
                return
            marker = {"marker": rows[-1]["id"]}

    def _page(self, path: str, marker: Mapping[str, str]) -> Any:
        response = self._proxy.get(path, params=marker)
        sdk_exc.raise_from_response(response)
        return response.json()


def octavia_cloud(target: Target) -> CloudSettings:
    """Return the cloud and the user that Octavia is asked as: `octavia.cloud`, else [cloud]."""
    if target.octavia.cloud is None:
        return target.cloud
    return target.cloud.model_copy(update={"name": target.octavia.cloud})


def usage(target: Target) -> Usage:
    """Return the amphorae of the cloud, according to `octavia.query`.

    With `auto`, the reason of a failure becomes `unknown`, after MOST_SECONDS at the latest: the
    answer is needed for deletions alone, which can wait, and the target's lock is held meanwhile.
    With `require`, it is a CloudError. With both, a cloud that is not configured is a ConfigError.
    """
    match target.octavia.query:
        case "never":
            return Usage(unknown="octavia.query is never")
        case "require":
            return Usage(amphorae=Octavia.connect(target).amphorae())
    try:
        with translated_octavia("list amphorae"), deadline(MOST_SECONDS):
            # No attempt begins that the deadline would cut off.
            until = time.monotonic() + MOST_SECONDS
            octavia = Octavia.connect(impatient(target), until=until)
            return Usage(amphorae=octavia.amphorae())
    except OctaviaError as error:
        return Usage(unknown=error.reason)


def control_plane(target: Target) -> ControlPlane:
    """Return the releases of Octavia that its API leaves possible, or why it shows none.

    Asked once: nothing waits for an Octavia that is down.
    """
    if target.octavia.query == "never":
        return ControlPlane(how="octavia.query is never, octavia.release is not set")
    try:
        return from_api(Octavia.connect(impatient(target, retries=0)).api_versions())
    except OctaviaError as error:
        return ControlPlane(how=f"octavia.release is not set, and {error.reason}")
    except ConfigError as error:
        return ControlPlane(how=f"octavia.release is not set, and {error.message}")


def kinds_of_load_balancers(target: Target) -> frozenset[str] | None:
    """Return the kinds of load balancers in the cloud; None where Octavia does not show all."""
    if target.octavia.query == "never":
        return None
    try:
        octavia = Octavia.connect(impatient(target, retries=0))
        # The listing of amphorae needs the role that shows all projects' load balancers too.
        octavia.amphorae()
        return frozenset(kind for kinds in octavia.kinds().values() for kind in kinds)
    except (OctaviaError, ConfigError):
        return None


def fleet(target: Target) -> Fleet:
    """Return amphorae, load balancers and image tags of flavors, by the rules of `usage`.

    Amphorae come first: one whose load balancer was deleted before those were listed names a
    load balancer that is not there.
    """
    if target.octavia.query == "never":
        return Fleet(usage=usage(target))
    try:
        octavia = Octavia.connect(target)
        amphorae = octavia.amphorae()
        load_balancers, kinds = octavia.load_balancers_and_kinds()
        flavors, image_tags = octavia.flavors_and_tags()
        return Fleet(
            usage=Usage(amphorae=amphorae),
            load_balancers=load_balancers,
            image_tags=image_tags,
            flavors=flavors,
            kinds=kinds,
        )
    except OctaviaError as error:
        if target.octavia.query == "require":
            raise
        return Fleet(usage=Usage(unknown=error.reason))


def _place(session: Any, address: str, region: str | None) -> str:
    """Name an Octavia by its service in Keystone and its region.

    Interfaces have addresses of their own, and so may machines; the service's id is one for all.
    """
    catalog = session.auth.get_access(session).service_catalog
    ids = [
        service.get("id")
        for service in (catalog.catalog if catalog else ())
        if service.get("type") in {"load-balancer", "octavia"}
    ]
    return f"{(ids and ids[0]) or urlsplit(address).netloc} {region or ''}".strip()
