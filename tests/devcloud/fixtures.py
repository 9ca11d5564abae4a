"""Fixtures: a running development cloud for the session, its images, mirrors for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from glanceclient import client as glance_client
from keystoneauth1 import loading, session

from tests.devcloud import accounts, octavia, servers, stock
from tests.devcloud import cloud as clouds
from tests.devcloud import sync as synchroniser
from tests.devcloud.files import make_tiny
from tests.devcloud.glance_rows import GlanceRows
from tests.devcloud.mirror import Mirror
from tests.devcloud.octavia_api import Octavia
from tests.devcloud.server_config import Limits


@dataclass(frozen=True, kw_only=True)
class Devcloud:
    """A running development cloud, as tests use it."""

    running: servers.Cloud
    cloud: str = "demo"
    """Entry of clouds.yaml: the user that retrofit runs as, `member` of project services."""
    admin_cloud: str = "demo-admin"
    tenant_cloud: str = "demo-tenant"
    sync_cloud: str = "demo-sync"
    """Admin in project services: publishes public images."""
    region: str = accounts.REGION
    """The region whose Glance this is."""
    _sessions: dict[str, session.Session] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        """The state directory, with log/ in it."""
        return self.running.state

    @property
    def clouds_yaml(self) -> Path:
        """Path of the clouds.yaml that has the entries named here."""
        return self.running.clouds_yaml

    @property
    def keystone_url(self) -> str:
        """URL without the version."""
        return self.running.keystone_url

    @property
    def glance_url(self) -> str:
        """URL without the version."""
        return self.running.glance_url

    def session(self, cloud: str | None = None) -> session.Session:
        """A keystoneauth session for an entry of clouds.yaml."""
        name = cloud or self.cloud
        if name not in self._sessions:
            account = next(
                each for each in (*accounts.ACCOUNTS, accounts.ADMIN) if each.cloud == name
            )
            loader: Any = loading.get_plugin_loader("password")
            auth = loader.load_from_options(**accounts.auth_of(account, self.keystone_url))
            self._sessions[name] = session.Session(auth=auth)
        return self._sessions[name]

    def glance(self, cloud: str | None = None) -> Any:
        """A glanceclient (version 2) for an entry of clouds.yaml."""
        return glance_client.Client(
            "2",
            session=self.session(cloud),
            region_name=self.region,
            interface="public",
            connect_retries=2,
        )

    def project_id(self, name: str = "services") -> str:
        """The id of a project."""
        url = f"{self.keystone_url}/v3/projects?name={name}"
        (project,) = self.session(self.admin_cloud).get(url).json()["projects"]
        return str(project["id"])

    def stop_glance(self) -> None:
        """End Glance; `start_glance` brings it back on the same port."""
        servers.stop_service(self.running, "glance")

    def start_glance(self) -> None:
        """Start Glance again and wait until it answers."""
        clouds.start_service(self.running, "glance", tied=True)

    def stop_keystone(self) -> None:
        """End Keystone; `start_keystone` brings it back on the same port."""
        servers.stop_service(self.running, "keystone")

    def start_keystone(self) -> None:
        """Start Keystone again and wait until it answers."""
        clouds.start_service(self.running, "keystone", tied=True)

    @contextmanager
    def without_glance(self) -> Iterator[None]:
        """Have no Glance for the length of the block."""
        self.stop_glance()
        try:
            yield
        finally:
            self.start_glance()

    @contextmanager
    def without_keystone(self) -> Iterator[None]:
        """Have no Keystone for the length of the block."""
        self.stop_keystone()
        try:
            yield
        finally:
            self.start_keystone()

    def sync(self, mirror: Mirror, **options: Any) -> None:
        """Run the real synchroniser on a mirror; options are those of `tests.devcloud.sync`."""
        given = {"keyring": mirror.keyring, "filters": synchroniser.filters_for(), **options}
        synchroniser.sync(self.running, source=synchroniser.source_of(mirror.root), **given)

    def octavia_answer(self, *, tag: str = "octavia-amphora", owner: str | None = None) -> str:
        """The id of the image that Octavia would take; raises NoAmphoraImageError without one."""
        return octavia.answer(self.running, tag=tag, owner=owner)

    def plant(self, image: Path, *, cloud: str | None = None, **attributes: Any) -> str:
        """Upload an image file with the given attributes and properties, and return its id."""
        glance = self.glance(cloud)
        given = {"disk_format": "qcow2", "container_format": "bare", "name": image.name}
        made = glance.images.create(**given | attributes)
        with image.open("rb") as data:
            glance.images.upload(made.id, data, image_size=image.stat().st_size)
        return str(made.id)

    def records(self, cloud: str | None = None) -> list[dict[str, Any]]:
        """Every record that an account sees, hidden ones too."""
        glance = self.glance(cloud or self.admin_cloud)
        shown = glance.images.list(filters={})
        hidden = glance.images.list(filters={"os_hidden": True})
        return [dict(image) for listed in (shown, hidden) for image in listed]

    def images(self, cloud: str | None = None) -> list[dict[str, Any]]:
        """Every record that holds an image, and not the evidence of one."""
        return [each for each in self.records(cloud) if "retrofit_evidence_of" not in each]

    def delete_all_images(self) -> None:
        """Leave Glance without a single record, whoever owns it.

        Not by requests: a test may have left hundreds, protected ones too.
        """
        GlanceRows(state=self.state).remove_all()


@pytest.fixture(scope="session")
def devcloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devcloud]:
    """A running cloud for the whole session; tests that need it empty ask for `clean_glance`."""
    with _cloud(tmp_path_factory.mktemp("devcloud"), Limits()) as running:
        yield running


@pytest.fixture
def devcloud_with(tmp_path: Path) -> Iterator[Callable[[Limits], Devcloud]]:
    """Make further clouds with limits of their own, for one test."""
    states: list[Path] = []

    def make(limits: Limits) -> Devcloud:
        states.append(tmp_path / f"devcloud-{len(states)}")
        return Devcloud(running=clouds.up(states[-1], limits=limits, tied=True))

    try:
        yield make
    finally:
        for state in states:
            clouds.down(state, wipe=True)


@contextmanager
def _cloud(state: Path, limits: Limits) -> Iterator[Devcloud]:
    try:
        yield Devcloud(running=clouds.up(state, limits=limits, tied=True))
    finally:
        clouds.down(state, wipe=True)


@pytest.fixture(scope="session")
def second_region(
    devcloud: Devcloud, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Devcloud]:
    """A Glance in a region of its own beside the session's Keystone, which takes small images."""
    state = tmp_path_factory.mktemp("region") / "two"
    limits = Limits(image_size_cap=2 << 20)
    running = clouds.up_glance(state, devcloud.running, limits=limits, tied=True)
    try:
        accounts.register_region(devcloud.keystone_url, "RegionTwo", running.glance_url)
        yield Devcloud(running=running, region="RegionTwo")
        accounts.unregister_region(devcloud.keystone_url, "RegionTwo")
    finally:
        clouds.down(state, wipe=True)


@pytest.fixture
def clean_glance(devcloud: Devcloud) -> Iterator[Devcloud]:
    """The session's cloud without any image, before the test and after it."""
    devcloud.delete_all_images()
    yield devcloud
    devcloud.delete_all_images()


@pytest.fixture(scope="module")
def octavia_cloud(devcloud: Devcloud) -> Iterator[Octavia]:
    """A real Octavia beside the session's cloud, in its catalog as long as the module lasts."""
    octavia = Octavia(cloud=devcloud.running, admin=devcloud.session(devcloud.admin_cloud))
    try:
        octavia.start()
        octavia.register()
        yield octavia
    finally:
        octavia.stop()
        octavia.unregister()


@pytest.fixture
def running_octavia(octavia_cloud: Octavia, clean_glance: Devcloud) -> Octavia:
    """The module's Octavia without load balancers and amphorae, and a Glance without images."""
    octavia_cloud.up()
    octavia_cloud.clear()
    return octavia_cloud


@pytest.fixture
def mirror(tmp_path: Path) -> Callable[..., Mirror]:
    """Make simplestreams mirrors, empty and with keys of their own, by name."""

    def make(name: str = "mirror") -> Mirror:
        return Mirror(root=tmp_path / name)

    return make


@pytest.fixture(scope="session")
def stock_image() -> Callable[[stock.Layout], Path]:
    """Give the stock image of a layout, made at most once per checkout; never write to it."""
    return stock.make


@pytest.fixture
def tiny_image(tmp_path: Path) -> Callable[..., Path]:
    """Make small real qcow2 images for tests that only need Glance to accept them.

    Each name, and each `mark`, has a digest of its own.
    """

    def make(path: str | Path = "tiny.qcow2", **options: Any) -> Path:
        return make_tiny(tmp_path / path, **options)

    return make
