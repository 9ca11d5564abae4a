"""Entries of Keystone's catalog, which say where a service is."""

from __future__ import annotations

from typing import Any

from keystoneauth1 import session

from tests.devcloud import accounts


def register(admin: session.Session, keystone: str, kind: str, url: str) -> None:
    """Have the catalog name a service of this type, by all interfaces."""

    def make(collection: str, **body: Any) -> Any:
        (made,) = admin.post(f"{keystone}/v3/{collection}", json=body).json().values()
        return made

    service = make("services", service={"name": kind, "type": kind})
    for interface in ("public", "internal", "admin"):
        make(
            "endpoints",
            endpoint={
                "service_id": service["id"],
                "interface": interface,
                "region_id": accounts.REGION,
                "url": url,
            },
        )


def unregister(admin: session.Session, keystone: str, kind: str) -> None:
    """Have the catalog name a service no more; its endpoints go with the service."""
    url = f"{keystone}/v3/services"
    for service in admin.get(f"{url}?type={kind}").json()["services"]:
        admin.delete(f"{url}/{service['id']}")
