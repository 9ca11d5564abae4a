"""Who uses the development cloud, and with which rights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from keystoneauth1 import session
from keystoneauth1.identity import v3

REGION = "RegionOne"
ADMIN_PASSWORD = "admin"


@dataclass(frozen=True, kw_only=True)
class Account:
    """A user of one project; the password is the user's name."""

    cloud: str
    """The entry in clouds.yaml, empty for none."""
    user: str
    project: str
    roles: tuple[str, ...]


ACCOUNTS = (
    # Glance itself: validates the tokens of those who ask it.
    Account(cloud="", user="glance", project="services", roles=("service",)),
    # The user this project is made for. Reading public images, making, tagging, hiding and deleting
    # images of one's own project needs `member` and nothing above it.
    Account(cloud="demo", user="retrofit", project="services", roles=("member",)),
    # glance-simplestreams-sync publishes public images, which Glance's default policy
    # (publicize_image) leaves to `admin`.
    Account(cloud="demo-sync", user="simplestreams-sync", project="services", roles=("admin",)),
    # Octavia's [service_auth] user is `admin` in deployments, so every project's images are in its
    # list: the reason why amp_image_owner_id should be set.
    Account(cloud="demo-octavia", user="octavia", project="services", roles=("admin",)),
    # An ordinary tenant, who may name and tag images as they like.
    Account(cloud="demo-tenant", user="tenant", project="tenant", roles=("member",)),
)
ADMIN = Account(cloud="demo-admin", user="admin", project="admin", roles=("admin",))


def auth_of(account: Account, keystone_url: str) -> dict[str, str]:
    """The `auth` section of a clouds.yaml entry."""
    return {
        "auth_url": f"{keystone_url}/v3",
        "username": account.user,
        "password": ADMIN_PASSWORD if account is ADMIN else account.user,
        "project_name": account.project,
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }


def ini_of(cloud: str, keystone_url: str) -> str:
    """The credentials of an entry of clouds.yaml, as lines of a service's configuration."""
    account = next(each for each in ACCOUNTS if each.cloud == cloud)
    given = {"auth_type": "password", **auth_of(account, keystone_url)}
    return "\n".join(f"{name} = {value}" for name, value in given.items())


def write_clouds_yaml(path: Path, keystone_url: str) -> None:
    """Write a clouds.yaml with an entry per account that has one."""
    clouds = {
        account.cloud: {
            "auth_type": "password",
            "auth": auth_of(account, keystone_url),
            "region_name": REGION,
            "identity_api_version": "3",
        }
        for account in (*ACCOUNTS, ADMIN)
        if account.cloud
    }
    path.write_text(yaml.safe_dump({"clouds": clouds}, sort_keys=False))
    path.chmod(0o600)


def provision(keystone_url: str, glance_url: str) -> None:
    """Fill a bootstrapped Keystone: image service, endpoints, projects, users, roles."""
    keystone = _Keystone(keystone_url)
    service = keystone.make("services", name="glance", type="image")
    for interface in ("public", "internal", "admin"):
        keystone.make(
            "endpoints",
            service_id=service,
            interface=interface,
            region_id=REGION,
            url=glance_url,
        )
    roles = keystone.ids("roles")
    projects = keystone.ids("projects")
    for account in ACCOUNTS:
        if account.project not in projects:
            projects[account.project] = keystone.make("projects", name=account.project)
        project = projects[account.project]
        user = keystone.make("users", name=account.user, password=account.user)
        for role in account.roles:
            keystone.put(f"/projects/{project}/users/{user}/roles/{roles[role]}")


def add_user(keystone_url: str, user: str, password: str) -> None:
    """Give project services another member."""
    keystone = _Keystone(keystone_url)
    made = keystone.make("users", name=user, password=password)
    project, role = keystone.ids("projects")["services"], keystone.ids("roles")["member"]
    keystone.put(f"/projects/{project}/users/{made}/roles/{role}")


def remove_user(keystone_url: str, user: str) -> None:
    """Take a user away again."""
    keystone = _Keystone(keystone_url)
    keystone.delete(f"/users/{keystone.ids('users')[user]}")


def register_region(keystone_url: str, region: str, glance_url: str) -> None:
    """Put a second region into the catalog, with an image service of its own."""
    keystone = _Keystone(keystone_url)
    services = keystone.ids("services")
    keystone.put(f"/regions/{region}", region={"description": region})
    for interface in ("public", "internal", "admin"):
        keystone.make(
            "endpoints",
            service_id=services["glance"],
            interface=interface,
            region_id=region,
            url=glance_url,
        )


def unregister_region(keystone_url: str, region: str) -> None:
    """Take a region out of the catalog again."""
    keystone = _Keystone(keystone_url)
    for endpoint in keystone.all("endpoints", region_id=region):
        keystone.delete(f"/endpoints/{endpoint['id']}")
    keystone.delete(f"/regions/{region}")


class _Keystone:
    """As much of Keystone's v3 API as provisioning takes."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/v3"
        password: Any = auth_of(ADMIN, url)
        self._session = session.Session(auth=v3.Password(**password))

    def all(self, kind: str, **filters: str) -> list[dict[str, str]]:
        listed: list[dict[str, str]] = self._session.get(
            f"{self._url}/{kind}", params=filters
        ).json()[kind]
        return listed

    def ids(self, kind: str) -> dict[str, str]:
        return {each["name"]: each["id"] for each in self.all(kind)}

    def make(self, kind: str, **attributes: str) -> str:
        body = {kind[:-1]: attributes}
        made = self._session.post(f"{self._url}/{kind}", json=body).json()[kind[:-1]]
        return str(made["id"])

    def put(self, path: str, **body: dict[str, str]) -> None:
        self._session.put(f"{self._url}{path}", json=body or None)

    def delete(self, path: str) -> None:
        self._session.delete(f"{self._url}{path}")
