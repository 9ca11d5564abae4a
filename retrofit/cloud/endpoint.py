"""The URL of a service: from clouds.yaml or the catalog, and by its version document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from keystoneauth1 import exceptions as ks_exc

from retrofit.errors import CloudError

VERSION = re.compile(r"(?<!:/)/v(?P<major>\d+)(?:\.\d+)?/*$")
NOT_FOUND = 404


def registered(region: Any, session: Any, service: str) -> str:
    """Return the address of a service as clouds.yaml overrides it, or as the catalog has it.

    Raises what keystoneauth raises; EndpointNotFound where there is none.
    """
    address = region.get_endpoint(service) or session.get_endpoint(
        service_type=region.get_service_type(service),
        service_name=region.get_service_name(service),
        interface=region.get_interface(service),
        region_name=region.get_region_name(service),
    )
    if not address or not region.has_service(service):
        raise ks_exc.EndpointNotFound(f"no {service} endpoint")
    return str(address)


def unversioned(address: str) -> str:
    """Return an address without a version at its end, and without a slash."""
    return VERSION.sub("", address).rstrip("/")


def versioned(address: str, version: str) -> str:
    """Return an address with a version at its end: the one that it has, or this one."""
    found = VERSION.search(address)
    return address.rstrip("/") if found else f"{address.rstrip('/')}/{version}"


def discovered(session: Any, address: str, *, major: int, probe: str) -> str:
    """Return the address below which `/v{major}` is, by the rules of keystoneauth's discovery.

    The version document is read without a token. Hosts in it are not used, nor is a redirect to
    anything but such a document; without a document, the address is returned as it is. `probe` is
    a path that the service knows, for documents with another path.
    Raises CloudError where the document has no such version.
    """
    own = unversioned(address)
    found = _document(session, f"{own}/")
    if found is None:
        return own
    final, versions = found
    majors = {str(each.get("id", "")).lstrip("v").partition(".")[0] for each in versions}
    if str(major) not in majors:
        raise CloudError(
            f"the service at {final} has the API versions {', '.join(sorted(majors))}, not {major}",
            hint="check the service's entry in `openstack catalog list`, and what clouds.yaml"
            " overrides of it",
        )
    if not (own.startswith("https:") and final.startswith("http:")):
        own = final
    for other in _linked(own, versions, major):
        if other != own and _status(session, f"{own}{probe}") == NOT_FOUND:
            return other
    return own


def _document(session: Any, url: str) -> tuple[str, list[Mapping[str, Any]]] | None:
    """Return the final URL of a version document, and its versions; None without a document."""
    try:
        answer = session.get(url, authenticated=False, headers={"Accept": "application/json"})
        versions = answer.json()["versions"]
        if isinstance(versions, dict):
            versions = versions["values"]
        if not versions or not all(isinstance(each, dict) for each in versions):
            return None
    except (ks_exc.HttpError, ks_exc.ConnectionError, ValueError, KeyError, TypeError):
        return None
    return unversioned(answer.url.partition("?")[0]), versions


def _linked(own: str, versions: list[Mapping[str, Any]], major: int) -> Iterator[str]:
    """Yield the addresses on the same host below which links of a document have a version."""
    here = urlsplit(own)
    for each in versions:
        for link in each.get("links") or ():
            there = urlsplit(str(link.get("href", "")))
            found = VERSION.search(there.path)
            if there.netloc == here.netloc and found and found["major"] == str(major):
                yield f"{here.scheme}://{here.netloc}{unversioned(there.path)}"
                return


def _status(session: Any, url: str) -> int:
    return int(session.get(url, raise_exc=False).status_code)
