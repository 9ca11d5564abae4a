"""What the Octavia API says about amphorae in use."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from keystoneauth1 import exceptions as ks_exc
from openstack import exceptions as sdk_exc
from openstack.connection import Connection

from retrofit.cloud.config import cloud_region
from retrofit.cloud.errors import BROKEN, STRANGE
from retrofit.cloud.requesting import Requests
from retrofit.config import Target
from retrofit.errors import CloudError
from retrofit.model import Amphora, Fleet, LoadBalancer, Usage
from retrofit.octavia_conf import mismatches
from retrofit.patience import first_line
from retrofit.times import read_time

__all__ = ["Octavia", "fleet", "mismatches", "usage"]

UNDATED = datetime(1970, 1, 1, tzinfo=UTC)
"""When a record without `created_at` was made: long ago."""


class DeniedError(CloudError):
    """Octavia answers, and these credentials may not ask."""


class Octavia:
    """The load balancing service of one cloud and region, as one user.

    Every listing is whole or an error, never shorter than what there is. It is read once: Octavia
    pages by key in the order of `created_at` (octavia/api/common/pagination.py), so what is deleted
    meanwhile moves nothing else and what is created meanwhile comes at the end. The one row that
    can be missed is committed late, after younger ones have been read; such an amphora is being
    started just now, from the image that is tagged now, which nobody retires.
    """

    def __init__(self, proxy: Any, requests: Requests) -> None:
        self._proxy = proxy
        self._requests = requests

    @classmethod
    def connect(cls, target: Target) -> Octavia:
        """Log in, as `octavia.cloud` where that is set, and find the load balancing endpoint.

        Raises ConfigError for a cloud that is not configured, CloudError for one that cannot be
        reached, refuses the credentials, or has no load balancing service in the region.
        """
        settings = target.cloud
        if target.octavia.cloud is not None:
            settings = settings.model_copy(update={"name": target.octavia.cloud})
        region = cloud_region(settings)
        session = region.get_session()
        session.timeout = settings.timeout
        requests = Requests(session, retries=settings.retries, timeout=settings.timeout)

        def find() -> Any:
            # Not `strict_proxies`, which takes Octavia's way to tell its versions for a failure.
            proxy = Connection(config=region).load_balancer
            if proxy.get_endpoint() is None:
                raise ks_exc.EndpointNotFound
            return proxy

        with _translated("find Octavia"):
            return cls(requests.make(find, "find Octavia"), requests)

    def amphorae(self) -> tuple[Amphora, ...]:
        """List all amphorae of the cloud; deleted ones are not among them."""
        with _reading("list amphorae"):
            return tuple(map(_amphora, self._pages("/octavia/amphorae", "amphorae")))

    def load_balancers(self) -> tuple[LoadBalancer, ...]:
        """List the load balancers that the credentials may see: with an admin role, all."""
        with _reading("list load balancers"):
            return tuple(map(_load_balancer, self._pages("/lbaas/loadbalancers", "loadbalancers")))

    def image_tags(self) -> dict[str, str]:
        """Return the image tag of each flavor that names one, empty where we may not ask."""
        try:
            with _reading("list flavors"):
                tags = {
                    profile["id"]: tag
                    for profile in self._pages("/lbaas/flavorprofiles", "flavorprofiles")
                    if (tag := _image_tag(profile))
                }
                return {
                    flavor["name"]: tags[flavor["flavor_profile_id"]]
                    for flavor in self._pages("/lbaas/flavors", "flavors")
                    if flavor["flavor_profile_id"] in tags
                }
        except DeniedError:
            return {}

    def _pages(self, path: str, key: str) -> Iterator[Mapping[str, Any]]:
        """Read a listing to its end.

        Of Octavia's `next` link only its presence counts: its address may be one that only the
        controllers reach (it is made of what stands before the proxy), and drops filters.
        """
        seen: set[str] = set()
        marker: dict[str, str] = {}
        while True:
            page = self._requests.make(partial(self._page, path, marker), f"list {key}")
            rows = page[key]
            for row in rows:
                if row["id"] in seen:
                    raise CloudError(
                        f"cannot list {key}: Octavia's pages repeat themselves ({row['id']})",
                        hint="look whether octavia.conf has allow_sorting = False",
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


def usage(target: Target) -> Usage:
    """Ask which amphorae there are, as far as `octavia.ask` wants it.

    With `auto`, whatever keeps Octavia from answering becomes `unknown`; with `require` it is a
    CloudError. A cloud that is not configured is a ConfigError with both.
    """
    if target.octavia.ask == "never":
        return Usage(unknown="octavia.ask is never")
    try:
        return Usage(amphorae=Octavia.connect(target).amphorae())
    except CloudError as error:
        if target.octavia.ask == "require":
            raise
        return Usage(unknown=_reason(error))


def _reason(error: CloudError) -> str:
    """Return why Octavia does not tell, as a clause: the message without what was attempted."""
    return error.message.partition(": ")[2] or error.message


def fleet(target: Target) -> Fleet:
    """Ask for amphorae, load balancers and the tags that flavors name, under the rules of `usage`.

    Amphorae come first: one whose load balancer was deleted before those were listed names a
    load balancer that is not there.
    """
    if target.octavia.ask == "never":
        return Fleet(usage=usage(target))
    try:
        octavia = Octavia.connect(target)
        return Fleet(
            usage=Usage(amphorae=octavia.amphorae()),
            load_balancers=octavia.load_balancers(),
            image_tags=octavia.image_tags(),
        )
    except CloudError as error:
        if target.octavia.ask == "require":
            raise
        return Fleet(usage=Usage(unknown=_reason(error)))


def _amphora(row: Mapping[str, Any]) -> Amphora:
    return Amphora(
        id=row["id"],
        status=row["status"],
        created_at=_moment(row.get("created_at")),
        image_id=row.get("image_id") or None,
        load_balancer_id=row.get("loadbalancer_id") or None,
        role=row.get("role") or None,
    )


def _load_balancer(row: Mapping[str, Any]) -> LoadBalancer:
    return LoadBalancer(
        id=row["id"],
        name=row.get("name") or "",
        project_id=row.get("project_id") or "",
        vip_address=row.get("vip_address"),
        provisioning_status=row["provisioning_status"],
        operating_status=row["operating_status"],
    )


def _moment(stamp: str | None) -> datetime:
    """Read a time of Octavia's, which is UTC and does not say so."""
    if not stamp:
        return UNDATED
    moment = read_time(stamp)
    if moment is None:
        raise ValueError(f"{stamp!r} is no time")
    return moment


def _image_tag(profile: Mapping[str, Any]) -> str | None:
    """Return the image tag of a flavor profile, whose data is JSON in a string."""
    try:
        data = json.loads(profile.get("flavor_data") or "{}")
    except (ValueError, RecursionError):
        return None
    tag = data.get("amp_image_tag") if isinstance(data, dict) else None
    return tag if isinstance(tag, str) and tag else None


@contextmanager
def _reading(action: str) -> Iterator[None]:
    """Turn answers of another form than Octavia's into CloudError, and what `_translated` does."""
    try:
        with _translated(action):
            yield
    except STRANGE as error:
        raise CloudError(
            f"cannot {action}: what answers is not Octavia ({type(error).__name__}: {error})",
            hint="check what answers at the address of `openstack catalog show load-balancer`",
        ) from error


@contextmanager
def _translated(action: str) -> Iterator[None]:
    """Turn what the clients raise into CloudError."""
    try:
        yield
    except (sdk_exc.ForbiddenException, ks_exc.Forbidden) as error:
        raise DeniedError(
            f"cannot {action}: Octavia does not answer these credentials",
            hint="octavia.cloud may name an entry of clouds.yaml whose user has the role admin or"
            ' load-balancer_admin; octavia.ask = "auto" goes on without',
        ) from error
    except ks_exc.Unauthorized as error:
        raise CloudError(
            f"cannot {action}: Keystone refuses the credentials",
            hint="check user, password, project and their domains of the cloud that octavia.cloud"
            " names, or else of [cloud]",
        ) from error
    except (
        ks_exc.EndpointNotFound,
        ks_exc.EmptyCatalog,
        sdk_exc.ServiceDisabledException,  # of the stand-in for a service that is not there
    ) as error:
        raise CloudError(
            f"cannot {action}: this region has no load balancing service",
            hint="check cloud.region and cloud.interface against"
            " `openstack catalog show load-balancer`",
        ) from error
    except (ks_exc.ConnectFailure, ks_exc.DiscoveryFailure, ks_exc.SSLError) as error:
        raise CloudError(
            f"cannot {action}: Octavia cannot be reached ({_first_line(error)})",
            hint="check that Octavia is up and that its endpoint is reachable from here",
        ) from error
    except STRANGE:
        raise  # for who knows what was read
    except (*BROKEN, sdk_exc.SDKException, ks_exc.ClientException) as error:
        raise CloudError(
            f"cannot {action}: Octavia fails ({_first_line(error)})",
            hint="look into Octavia's log for the reason, then run again",
        ) from error


def _first_line(error: Exception) -> str:
    # What follows in a message of keystoneauth's is a urllib3 object, printed.
    return first_line(error).partition(": HTTP")[0]
