"""What a real Octavia tells of its amphorae: all of it, or that it does not tell."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from retrofit.cloud.octavia import Octavia, mismatches, usage
from retrofit.config import CloudSettings, OctaviaSettings, Target
from retrofit.errors import CloudError, ConfigError
from retrofit.model import Usage
from tests.devcloud.octavia_api import Octavia as RunningOctavia

PAGE = 7


@pytest.fixture
def target(devcloud: Any) -> Callable[..., Target]:
    """A target whose user may list amphorae, unless told otherwise."""

    def make(query: str = "auto", *, cloud: str | None = devcloud.admin_cloud) -> Target:
        return Target(
            cloud=CloudSettings(name=devcloud.cloud, clouds_yaml=devcloud.clouds_yaml, retries=0),
            octavia=OctaviaSettings.model_validate({"query": query, "cloud": cloud}),
        )

    return make


def amphorae(count: int, image: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"id": str(uuid.uuid4()), "image_id": image, **fields} for _ in range(count)]


def images_of(used: Usage) -> Counter[str | None]:
    assert used.unknown is None
    return Counter(each.image_id for each in used.amphorae)


def refused(target: Callable[..., Target], why: str, **options: Any) -> CloudError:
    """Assert that Octavia does not tell, for the given reason: said by auto, raised by require."""
    said = usage(target("auto", **options))
    assert why in (said.unknown or "")
    assert said.amphorae == ()
    with pytest.raises(CloudError, match=why) as raised:
        usage(target("require", **options))
    assert raised.value.hint
    assert raised.value.exit_code == 3
    return raised.value


def test_an_image_that_only_the_second_page_shows_is_in_use(
    running_octavia: RunningOctavia, target: Callable[..., Target]
) -> None:
    common, late = str(uuid.uuid4()), str(uuid.uuid4())
    running_octavia.add(amphorae=amphorae(1200, common, created_at="2026-01-01T00:00:00"))
    running_octavia.add(amphorae=amphorae(12, late, created_at="2026-01-02T00:00:00"))
    # The trap is there: a listing is cut without a word, and its link forgets what was asked.
    url = f"{running_octavia.url}/v2/octavia/amphorae?image_id={common}"
    cut = running_octavia.admin.get(url).json()
    assert len(cut["amphorae"]) == 1000
    (link,) = [each["href"] for each in cut["amphorae_links"] if each["rel"] == "next"]
    assert common not in link
    assert images_of(usage(target())) == {common: 1200, late: 12}


def test_reads_small_pages_to_the_end_whatever_address_their_links_have(
    running_octavia: RunningOctavia, target: Callable[..., Target]
) -> None:
    running_octavia.limit_pages(PAGE)
    image = str(uuid.uuid4())
    # A whole number of pages, all created at once: nothing but their ids tells them apart.
    running_octavia.add(amphorae=amphorae(PAGE * 9, image, created_at="2026-01-01T00:00:00"))
    page = running_octavia.admin.get(f"{running_octavia.url}/v2/octavia/amphorae").json()
    assert page["amphorae_links"][0]["href"].startswith("http://127.0.0.1:9/")  # nobody is there
    assert images_of(usage(target())) == {image: PAGE * 9}


class Meddled:
    """A proxy to Octavia, and somebody who changes its rows after the first page."""

    def __init__(self, proxy: Any, meddle: Callable[[], None]) -> None:
        self._proxy = proxy
        self._meddle = meddle
        self.pages = 0

    def get(self, *given: Any, **named: Any) -> Any:
        page = self._proxy.get(*given, **named)
        self.pages += 1
        if self.pages == 1:
            self._meddle()
        return page


def test_rows_that_come_and_go_between_two_pages_cost_no_other(
    running_octavia: RunningOctavia, target: Callable[..., Target]
) -> None:
    running_octavia.limit_pages(PAGE)
    first, stays, new = (str(uuid.uuid4()) for _ in range(3))
    going = amphorae(PAGE, first, created_at="2026-01-01T00:00:00")
    running_octavia.add(amphorae=going)
    running_octavia.add(amphorae=amphorae(PAGE * 2, stays, created_at="2026-01-02T00:00:00"))

    def meddle() -> None:
        running_octavia.mark_deleted(each["id"] for each in going)  # our marker among them
        running_octavia.add(amphorae=amphorae(3, new))

    asked = Octavia.connect(target())
    meddled = Meddled(asked._proxy, meddle)
    seen = Counter(each.image_id for each in Octavia(meddled, asked._requests).amphorae())
    assert seen == {first: PAGE, stays: PAGE * 2, new: 3}
    assert meddled.pages == 4


def test_a_page_that_fails_in_the_middle_is_no_shorter_list(
    running_octavia: RunningOctavia, target: Callable[..., Target]
) -> None:
    running_octavia.limit_pages(PAGE)
    rows = amphorae(PAGE * 2, str(uuid.uuid4()), created_at="2026-01-01T00:00:00")
    running_octavia.add(amphorae=rows)
    running_octavia.garble(max(row["id"] for row in rows))
    refused(target, "Octavia fails")


def test_tells_what_each_amphora_and_load_balancer_is(
    running_octavia: RunningOctavia, target: Callable[..., Target]
) -> None:
    image, balancer = str(uuid.uuid4()), str(uuid.uuid4())
    running_octavia.add(
        load_balancers=[{"id": balancer, "name": "web", "project_id": "someone"}],
        amphorae=[
            *amphorae(1, image, load_balancer_id=balancer, created_at="2026-01-01T10:00:00"),
            {"id": str(uuid.uuid4()), "status": "BOOTING", "role": None, "image_id": None},
            *amphorae(1, image, status="DELETED"),
        ],
    )
    octavia = Octavia.connect(target())
    serving, booting = octavia.amphorae()
    assert (serving.image_id, serving.load_balancer_id) == (image, balancer)
    assert (serving.status, serving.role) == ("ALLOCATED", "STANDALONE")
    assert serving.created_at.isoformat() == "2026-01-01T10:00:00+00:00"
    assert (booting.image_id, booting.load_balancer_id, booting.role) == (None, None, None)
    (listed,) = octavia.load_balancers()
    assert (listed.name, listed.project_id, listed.vip_address) == ("web", "someone", "192.0.2.10")
    assert (listed.provisioning_status, listed.operating_status) == ("ACTIVE", "ONLINE")


def test_tells_which_image_tags_flavors_name(
    running_octavia: RunningOctavia,
    target: Callable[..., Target],
    devcloud: Any,
    tiny_image: Callable[..., Any],
) -> None:
    devcloud.plant(tiny_image(), tags=["gold"])  # Octavia looks for it before it takes the flavor
    running_octavia.create_flavor("gold", '{"amp_image_tag": "gold"}')
    running_octavia.create_flavor("pair", '{"loadbalancer_topology": "ACTIVE_STANDBY"}')
    assert Octavia.connect(target()).flavors_and_tags()[1] == {"gold": "gold"}
    assert Octavia.connect(target(cloud=devcloud.cloud)).flavors_and_tags()[1] == {}


def test_a_member_may_not_ask(
    running_octavia: RunningOctavia, target: Callable[..., Target]
) -> None:
    error = refused(target, "Octavia refuses these credentials", cloud=None)
    assert "octavia.cloud" in str(error.hint)


def test_a_region_without_octavia(
    running_octavia: RunningOctavia, target: Callable[..., Target]
) -> None:
    running_octavia.unregister()
    try:
        refused(target, "this region has no load balancing service")
    finally:
        running_octavia.register()


def test_never_means_never(running_octavia: RunningOctavia, target: Callable[..., Target]) -> None:
    assert usage(target("never")) == Usage(unknown="octavia.query is never")


def test_a_cloud_that_clouds_yaml_does_not_have(
    running_octavia: RunningOctavia, target: Callable[..., Target]
) -> None:
    with pytest.raises(ConfigError):
        usage(target(cloud="nowhere"))


def test_compares_with_the_configuration_of_the_real_octavia(
    running_octavia: RunningOctavia, target: Callable[..., Target], devcloud: Any
) -> None:
    ours = target()
    ours = ours.model_copy(
        update={"octavia": OctaviaSettings(config_file=running_octavia.conf_file)}
    )
    (said,) = mismatches(ours, project_id=devcloud.project_id(), promoted=None, usage=Usage())
    assert f"set amp_image_owner_id = {devcloud.project_id()}" in said


def test_an_octavia_that_is_down(
    running_octavia: RunningOctavia, target: Callable[..., Target]
) -> None:
    running_octavia.stop()
    refused(target, "Octavia cannot be reached")


@pytest.mark.parametrize("ending", ["", "/", "/v2", "/v2/", "/v2.0"])
@pytest.mark.parametrize("where", ["catalog", "override"])
def test_every_form_of_an_endpoint(
    running_octavia: RunningOctavia,
    target: Callable[..., Target],
    devcloud: Any,
    tmp_path: Path,
    where: str,
    ending: str,
) -> None:
    image = str(uuid.uuid4())
    running_octavia.add(amphorae=amphorae(3, image))
    asked = target("require")
    address = f"{running_octavia.url}{ending}"
    if where == "catalog":
        running_octavia.unregister()
        running_octavia.register(address)
    else:
        document = yaml.safe_load(devcloud.clouds_yaml.read_text())
        for entry in document["clouds"].values():
            entry["load_balancer_endpoint_override"] = address
        clouds = tmp_path / "clouds.yaml"
        clouds.write_text(yaml.safe_dump(document))
        clouds.chmod(0o600)
        cloud = asked.cloud.model_copy(update={"clouds_yaml": clouds})
        asked = asked.model_copy(update={"cloud": cloud})
    try:
        assert images_of(usage(asked)) == {image: 3}
    finally:
        if where == "catalog":
            running_octavia.unregister()
            running_octavia.register()


def test_a_service_that_is_not_found_is_not_octavia(
    running_octavia: RunningOctavia, target: Callable[..., Target]
) -> None:
    running_octavia.unregister()
    running_octavia.register(f"{running_octavia.url}/nothing-there")
    try:
        refused(target, "the endpoint is not an Octavia API")
    finally:
        running_octavia.unregister()
        running_octavia.register()
