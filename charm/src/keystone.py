"""Pure: the data of the keystone charm in identity-credentials, and a clouds.yaml from it.

Machine charms speak keystone-credentials in the units' data, every value a string:
charm-keystone, hooks/keystone_utils.py, add_credentials_to_keystone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

USERNAME = "retrofit"
PROJECT = "services"
DOMAIN = "service_domain"
"""Project and domain that service users live in, and the synchroniser's images belong to."""
CLOUD = "juju"
"""Our entry of clouds.yaml."""

NEEDED = (
    "auth_host",
    "auth_port",
    "auth_protocol",
    "credentials_username",
    "credentials_password",
    "credentials_project",
)


class UnusableKeystoneError(Exception):
    """Keystone sent something unusable."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A user of the cloud, and the address of keystone."""

    auth_url: str
    username: str
    password: str
    project: str
    user_domain: str
    project_domain: str
    region: str | None

    def clouds_yaml(self, *, ca_file: str, region: str | None, interface: str) -> dict[str, Any]:
        """Return the document of a clouds.yaml with one cloud."""
        entry: dict[str, Any] = {
            "auth_type": "v3password",
            "auth": {
                "auth_url": self.auth_url,
                "username": self.username,
                "password": self.password,
                "project_name": self.project,
                "user_domain_name": self.user_domain,
                "project_domain_name": self.project_domain,
            },
            "identity_api_version": "3",
            "interface": interface,
            # Always set: Python would trust its own list of authorities, not the machine's.
            "cacert": ca_file,
        }
        if region or self.region:
            entry["region_name"] = region or self.region
        return {"clouds": {CLOUD: entry}}


def request(grants: str) -> dict[str, str]:
    """Return our unit's data: the user, project and roles that we need."""
    asked = {"username": USERNAME, "project": PROJECT, "domain": DOMAIN}
    roles = ",".join(role.strip() for role in grants.split(",") if role.strip())
    return {**asked, "requested_grants": roles} if roles else asked


def credentials(units: Iterable[Mapping[str, str]]) -> Credentials | None:
    """Read the answer from the data of keystone's units; None until one of them is complete.

    Raises UnusableKeystoneError where keystone speaks version 2.
    """
    for data in units:
        if not all(_value(data, key) for key in NEEDED):
            continue
        if _value(data, "api_version") not in {None, "3"}:
            raise UnusableKeystoneError(
                f"keystone speaks version {data['api_version']} of its API, version 3 is needed"
            )
        domain = _value(data, "domain") or DOMAIN
        regions = (_value(data, "region") or "").split()
        return Credentials(
            auth_url=_url(data),
            username=data["credentials_username"],
            password=data["credentials_password"],
            project=data["credentials_project"],
            user_domain=_value(data, "credentials_user_domain_name") or domain,
            project_domain=_value(data, "credentials_project_domain_name") or domain,
            region=regions[0] if regions else None,
        )
    return None


def _url(data: Mapping[str, str]) -> str:
    host = data["auth_host"]
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"{data['auth_protocol']}://{host}:{data['auth_port']}/v3"


def _value(data: Mapping[str, str], key: str) -> str | None:
    """Return a value; the charms write None as a word where there is nothing."""
    value = data.get(key)
    return None if value in {None, "", "None", "__null__"} else value
