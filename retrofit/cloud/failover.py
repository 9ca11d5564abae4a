"""What one failover asks of Octavia: a load balancer, its amphorae, and the failover itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from typing import Any

from openstack import exceptions as sdk_exc

from retrofit.cloud.octavia import Octavia
from retrofit.cloud.octavia_errors import DeniedError, OctaviaError, reading
from retrofit.cloud.octavia_rows import as_amphora, as_load_balancer
from retrofit.lock.fence import require_write_permit
from retrofit.model import Amphora, LoadBalancer

RULES = "os_load-balancer_api:"
"""Prefix of the names of Octavia's policy rules."""


class Asked(StrEnum):
    """Octavia's answer to the request for a failover."""

    ACCEPTED = "accepted"
    BUSY = "in another change"
    GONE = "gone"


class FailoverOctavia(Octavia):
    """The load balancing service, with what moves one load balancer."""

    def load_balancer(self, load_balancer_id: str) -> LoadBalancer | None:
        """Return a load balancer; None for one that is deleted."""
        what = f"read load balancer {load_balancer_id}"
        with _needing(f"{RULES}loadbalancer:get_one", what):
            found = self._one(f"/lbaas/loadbalancers/{load_balancer_id}", what)
            return None if found is None else as_load_balancer(found["loadbalancer"])

    def amphorae_of(self, load_balancer_id: str) -> tuple[Amphora, ...]:
        """Return the amphorae of a load balancer."""
        what = f"list the amphorae of load balancer {load_balancer_id}"
        with _needing(f"{RULES}amphora:get_all", what):
            asked = {"loadbalancer_id": load_balancer_id}
            page = self._requests.make(partial(self._page, "/octavia/amphorae", asked), what)
            # Something in front of Octavia may drop the filter.
            return tuple(
                as_amphora(row)
                for row in page["amphorae"]
                if row.get("loadbalancer_id") == load_balancer_id
            )

    def has_statistics(self, amphora_id: str) -> bool:
        """Return True once an amphora's heartbeats have brought statistics of a listener."""
        what = f"read the statistics of amphora {amphora_id}"
        with _needing(f"{RULES}amphora:get_stats", what):
            found = self._one(f"/octavia/amphorae/{amphora_id}/stats", what)
            return found is not None and bool(found["amphora_stats"])

    def fail_over(self, load_balancer_id: str) -> Asked:
        """Ask for the failover of a load balancer, once; the lock is asked right before.

        Raises DeniedError, and OctaviaError for any other answer, or none.
        """
        what = f"fail over load balancer {load_balancer_id}"
        path = f"/lbaas/loadbalancers/{load_balancer_id}/failover"

        def ask() -> Any:
            require_write_permit()
            return self._proxy.put(path)

        with _needing(f"{RULES}loadbalancer:put_failover", what):
            response = self._requests.limited(ask)
            if response.status_code == HTTPStatus.CONFLICT:
                return Asked.BUSY
            if _is_missing(response):
                return Asked.GONE
            sdk_exc.raise_from_response(response)
            if response.status_code != HTTPStatus.ACCEPTED:
                raise OctaviaError(
                    what,
                    f"status {response.status_code} in place of {int(HTTPStatus.ACCEPTED)}",
                    hint="check which service answers at the URL in `openstack catalog show"
                    " load-balancer`",
                )
        return Asked.ACCEPTED

    def _one(self, path: str, what: str) -> Any:
        """Return one object; None where Octavia itself answers that there is none."""

        def ask() -> Any:
            response = self._proxy.get(path)
            if _is_missing(response):
                return None
            sdk_exc.raise_from_response(response)
            return response.json()

        return self._requests.make(ask, what)


def _is_missing(response: Any) -> bool:
    """Return True for Octavia's own 404; a proxy without a backend answers 404 to everything."""
    if response.status_code != HTTPStatus.NOT_FOUND:
        return False
    try:
        return "faultcode" in response.json()
    except ValueError:
        return False


@contextmanager
def _needing(rule: str, action: str) -> Iterator[None]:
    """Translate errors as for listings, and name the rule where Octavia refuses."""
    try:
        with reading(action):
            yield
    except DeniedError as error:
        raise DeniedError(
            action,
            f"Octavia refuses these credentials (policy rule {rule})",
            hint="docs/how-to/rollover.md lists the rules of Octavia's policy that it needs",
        ) from error
