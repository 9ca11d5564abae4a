"""Odd servers before the real Keystone and Glance: what works for every OpenStack client works."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from retrofit.cloud import Glance
from retrofit.config import CloudSettings
from retrofit.errors import CloudError, ConfigError, PublishError
from retrofit.publish.upload import upload
from tests.devcloud import accounts
from tests.devcloud.certificates import loopback_certificate
from tests.devcloud.fixtures import Devcloud
from tests.devcloud.fronts import Asked, Front, Handler, internal_links
from tests.integration.harness import CloudHarness

REGION = "RegionOdd"
LARGE = 9 << 20
"""Bytes; more than the kernel's buffers of a connection take."""


def record_of(image_id: str) -> dict[str, str]:
    """What to create a record with, by its id."""
    return {"id": image_id, "name": "odd", "disk_format": "raw", "container_format": "bare"}


@pytest.fixture
def standing() -> Iterator[Callable[[Front], Front]]:
    """Have fronts serve for the length of the test."""
    with ExitStack() as undo:
        yield lambda front: undo.enter_context(front.serving())


@pytest.fixture
def catalog(devcloud: Devcloud) -> Iterator[Callable[[str], None]]:
    """Put an address of Glance into the catalog, in a region of its own."""
    registered = False

    def register(url: str) -> None:
        nonlocal registered
        accounts.register_region(devcloud.keystone_url, REGION, url)
        registered = True

    yield register
    if registered:
        accounts.unregister_region(devcloud.keystone_url, REGION)


@pytest.fixture
def entry(devcloud: Devcloud, tmp_path: Path) -> Callable[..., CloudSettings]:
    """Write a clouds.yaml like the cloud's own, but for what is given; None takes a key away."""

    def write(*, timeout: int = 20, retries: int = 0, **changed: Any) -> CloudSettings:
        document = yaml.safe_load(devcloud.clouds_yaml.read_text())
        for cloud in document["clouds"].values():
            auth = changed.get("auth", {})
            cloud.update({**changed, "auth": {**cloud["auth"], **auth}})
            for key in [key for key, value in cloud.items() if value is None]:
                del cloud[key]
        path = tmp_path / "odd.yaml"
        path.write_text(yaml.safe_dump(document))
        path.chmod(0o600)
        return CloudSettings(
            name=devcloud.cloud, clouds_yaml=path, timeout=timeout, retries=retries
        )

    return write


@pytest.fixture
def through(
    harness: CloudHarness, entry: Callable[..., CloudSettings]
) -> Callable[..., CloudHarness]:
    """The command line, pointed at a cloud that `entry` describes."""

    def point(**changed: Any) -> CloudHarness:
        harness.clouds_yaml = entry(**changed).clouds_yaml
        return harness

    return point


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.raw"
    path.write_bytes(os.urandom(LARGE))
    return path


def with_three_pages(devcloud: Devcloud) -> Any:
    """Have 203 images named `n`; returns a client of Glance's."""
    client = devcloud.glance()
    for _ in range(203):
        client.images.create(name="n", disk_format="raw", container_format="bare")
    return client


def published(glance: Glance, path: Path) -> str:
    """Upload a file as a new image, which `upload` compares with what Glance has then."""
    image = upload(glance, record_of, path, retries=0)
    assert image.size == path.stat().st_size
    return image.id


def run_and_read(harness: CloudHarness) -> str:
    """A whole run, and one that finds nothing to do, with nothing but the front between."""
    harness.source("20260911.1")
    report = harness.act("run-once")
    assert report["outcome"] == "published"
    assert harness.act("run-once")["outcome"] == "unchanged"
    return str(report["image_id"])


class TestUploads:
    """The size is known, so it is sent: not all servers take a body in chunks."""

    @pytest.mark.sampled(1)
    @pytest.mark.parametrize("chunks", ["refused", "empty"])
    def test_a_front_that_takes_no_chunks(
        self,
        devcloud: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        through: Callable[..., CloudHarness],
        chunks: str,
    ) -> None:
        front = standing(Front(behind=devcloud.glance_url, chunks=chunks))
        catalog(front.url)
        image = run_and_read(through(region_name=REGION))
        (sent,) = front.uploads
        assert sent.headers["content-length"] == sent.headers["x-openstack-image-size"]
        assert devcloud.glance().images.get(image)["size"] == int(sent.headers["content-length"])

    def test_each_attempt_sends_the_whole_file(
        self,
        clean_glance: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        entry: Callable[..., CloudSettings],
        large: Path,
    ) -> None:
        failed: list[Asked] = []

        def fail_once(handler: Handler) -> bool:
            if not handler.asked.is_upload or failed:
                return False
            failed.append(handler.asked)
            handler.read_body().close()
            handler.answer(503, b"busy")
            return True

        front = standing(Front(behind=clean_glance.glance_url, meet=fail_once))
        catalog(front.url)
        glance = Glance.connect(entry(region_name=REGION))
        assert upload(glance, record_of, large, retries=1).size == LARGE
        assert [each.headers.get("content-length") for each in front.uploads] == [str(LARGE)] * 2

    @pytest.mark.slow
    def test_a_front_that_buffers_answers_when_the_server_behind_it_has_all(
        self,
        clean_glance: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        entry: Callable[..., CloudSettings],
        large: Path,
    ) -> None:
        front = standing(Front(behind=clean_glance.glance_url, hold=5.0))
        catalog(front.url)
        published(Glance.connect(entry(region_name=REGION, timeout=2)), large)
        assert len(front.uploads) == 1

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_a_redirected_upload_is_sent_whole_to_where_it_is_wanted(
        self,
        clean_glance: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        entry: Callable[..., CloudSettings],
        large: Path,
        status: int,
    ) -> None:
        node = standing(Front(behind=clean_glance.glance_url))

        def elsewhere(handler: Handler) -> bool:
            return handler.asked.is_upload and handler.redirect(status, f"{node.url}{handler.path}")

        front = standing(Front(behind=clean_glance.glance_url, meet=elsewhere))
        catalog(front.url)
        published(Glance.connect(entry(region_name=REGION)), large)
        assert len(front.uploads) == len(node.uploads) == 1

    def test_redirects_that_go_round_end(
        self,
        clean_glance: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        entry: Callable[..., CloudSettings],
        large: Path,
    ) -> None:
        front = standing(
            Front(
                behind=clean_glance.glance_url,
                meet=lambda handler: (
                    handler.asked.is_upload and handler.redirect(307, handler.path)
                ),
            )
        )
        catalog(front.url)
        with pytest.raises((PublishError, CloudError), match="redirect"):
            published(Glance.connect(entry(region_name=REGION)), large)
        assert clean_glance.images() == []

    def test_an_answer_before_the_end_of_the_body_is_read(
        self,
        clean_glance: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        entry: Callable[..., CloudSettings],
        large: Path,
    ) -> None:
        def too_large(handler: Handler) -> bool:
            if handler.asked.is_upload:
                handler.refuse(413)
            return handler.asked.is_upload

        front = standing(Front(behind=clean_glance.glance_url, meet=too_large))
        catalog(front.url)
        glance = Glance.connect(entry(region_name=REGION))
        with pytest.raises(PublishError, match="413"):
            upload(glance, record_of, large, retries=3)
        assert len(front.uploads) == 1  # what is too large stays too large
        assert clean_glance.images() == []


class TestCatalog:
    """The image endpoint as clouds register it."""

    @pytest.mark.sampled(5)
    @pytest.mark.parametrize("prefix", ["", "/image"])
    @pytest.mark.parametrize("ending", ["", "/", "/v2", "/v2/", "/v2.15"])
    def test_every_form_of_an_endpoint(
        self,
        devcloud: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        through: Callable[..., CloudHarness],
        prefix: str,
        ending: str,
    ) -> None:
        front = standing(Front(behind=devcloud.glance_url, prefix=prefix))
        catalog(f"{front.url}{ending}")
        harness = through(region_name=REGION)
        harness.source("20260911.1")
        assert harness.retrofit("plan", exit_code=None).exit_code == 0
        assert "20260911.1" in harness.retrofit("plan").stdout
        asked = [each.path for each in front.asked if "images" in each.path]
        assert asked
        assert all(path.startswith(f"{prefix}/v2/images") for path in asked)

    @pytest.mark.slow
    def test_a_prefix_that_the_server_behind_does_not_know_of(
        self,
        devcloud: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        through: Callable[..., CloudHarness],
    ) -> None:
        # Glance's version document then has links below the front's name and not its prefix.
        front = standing(Front(behind=devcloud.glance_url, prefix="/image", own_host=True))
        catalog(f"{front.url}/v2")
        run_and_read(through(region_name=REGION))

    def test_an_address_that_redirects_to_https(
        self,
        devcloud: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        through: Callable[..., CloudHarness],
        tmp_path: Path,
    ) -> None:
        certificate = loopback_certificate(tmp_path)
        safe = standing(Front(behind=devcloud.glance_url, certificate=certificate))
        plain = standing(
            Front(
                behind=devcloud.glance_url,
                meet=lambda handler: handler.redirect(301, f"{safe.url}{handler.path}"),
            )
        )
        catalog(plain.url)
        run_and_read(through(region_name=REGION, cacert=str(certificate.authority)))
        # Found out once, and with no token; all that is asked is asked of the other address.
        assert {each.path for each in plain.asked} == {"/"}
        assert not any("x-auth-token" in each.headers for each in plain.asked)
        assert len(safe.uploads) == 1

    @pytest.mark.slow
    def test_an_address_that_redirects_for_want_of_a_slash(
        self,
        devcloud: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        through: Callable[..., CloudHarness],
    ) -> None:
        def with_slash(handler: Handler) -> bool:
            return handler.path == "/image" and handler.redirect(301, "/image/")

        front = standing(Front(behind=devcloud.glance_url, prefix="/image", meet=with_slash))
        catalog(front.url)
        run_and_read(through(region_name=REGION))

    def test_an_address_without_a_version_document(
        self,
        devcloud: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        through: Callable[..., CloudHarness],
    ) -> None:
        def hidden(handler: Handler) -> bool:
            if handler.path.startswith("/v2/"):
                return False
            handler.answer(403, b"no")
            return True

        front = standing(Front(behind=devcloud.glance_url, meet=hidden))
        catalog(f"{front.url}/v2")
        run_and_read(through(region_name=REGION))

    @pytest.mark.slow
    def test_pages_are_read_by_what_their_links_are_not(
        self,
        clean_glance: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        entry: Callable[..., CloudSettings],
    ) -> None:
        with_three_pages(clean_glance)
        front = standing(Front(behind=clean_glance.glance_url, rewrite=internal_links))
        catalog(front.url)
        assert len(Glance.connect(entry(region_name=REGION)).list({"name": "n"})) == 203

    @pytest.mark.slow
    def test_pages_behind_a_prefix_that_their_links_have(
        self,
        clean_glance: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        entry: Callable[..., CloudSettings],
    ) -> None:
        with_three_pages(clean_glance)
        front = standing(
            Front(
                behind=clean_glance.glance_url,
                prefix="/image",
                rewrite=lambda body: body.replace(b'"/v2/', b'"/image/v2/'),
            )
        )
        catalog(front.url)
        assert len(Glance.connect(entry(region_name=REGION)).list({"name": "n"})) == 203

    @pytest.mark.slow
    def test_a_page_whose_marker_was_deleted_begins_the_listing_again(
        self,
        clean_glance: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        entry: Callable[..., CloudSettings],
    ) -> None:
        client = with_three_pages(clean_glance)
        deleted: list[str] = []

        def delete_marker(handler: Handler) -> bool:
            marker = parse_qs(urlsplit(handler.path).query).get("marker")
            if marker and not deleted:
                deleted.extend(marker)
                client.images.delete(marker[0])
            return False

        front = standing(Front(behind=clean_glance.glance_url, meet=delete_marker))
        catalog(front.url)
        found = Glance.connect(entry(region_name=REGION)).list({"name": "n"}, hidden=False)
        assert deleted
        assert len({image.id for image in found} - set(deleted)) == 202


class TestOverrides:
    """Keys of clouds.yaml that say where Glance is, and how to talk to it."""

    NOWHERE = "http://127.0.0.1:9"

    @pytest.mark.parametrize("version", [None, "2"])
    @pytest.mark.parametrize("ending", ["", "/v2", "/v2/"])
    def test_an_address_wins_over_the_catalogs(
        self,
        clean_glance: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        entry: Callable[..., CloudSettings],
        ending: str,
        version: str | None,
    ) -> None:
        front = standing(Front(behind=clean_glance.glance_url, prefix="/image"))
        catalog(self.NOWHERE)
        settings = entry(
            region_name=REGION,
            image_endpoint_override=f"{front.url}{ending}",
            image_api_version=version,
        )
        assert Glance.connect(settings).list({"name": "n"}) == []
        assert all(each.path.startswith("/image/") for each in front.asked)

    def test_a_region_for_glance_alone(
        self,
        clean_glance: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        entry: Callable[..., CloudSettings],
    ) -> None:
        front = standing(Front(behind=clean_glance.glance_url))
        catalog(front.url)
        glance = Glance.connect(entry(image_region_name=REGION))
        assert glance.list({"name": "n"}) == []
        assert REGION in glance.where
        assert front.asked

    def test_a_version_that_glance_has_no_more(self, entry: Callable[..., CloudSettings]) -> None:
        with pytest.raises(ConfigError, match="image_api_version of cloud demo is 1"):
            Glance.connect(entry(image_api_version="1"))

    def test_certificates_of_both_sides(
        self,
        clean_glance: Devcloud,
        standing: Callable[[Front], Front],
        entry: Callable[..., CloudSettings],
        tmp_path: Path,
    ) -> None:
        own = loopback_certificate(tmp_path)
        front = standing(
            Front(behind=clean_glance.glance_url, certificate=own, demands_certificate=True)
        )
        trusting = {"image_endpoint_override": front.url, "cacert": str(own.authority)}
        for known in (
            {**trusting, "cert": str(own.server)},
            {**trusting, "cert": str(own.server), "key": str(own.server)},
            {"image_endpoint_override": front.url, "verify": False, "cert": str(own.server)},
        ):
            assert Glance.connect(entry(**known)).list({"name": "n"}) == []
        count = len(front.asked)
        for unknown in (trusting, {"image_endpoint_override": front.url}):
            with pytest.raises(CloudError):
                Glance.connect(entry(**unknown)).list({"name": "n"})
        assert len(front.asked) == count


class TestWire:
    """What stands between may change how a message looks."""

    def test_a_front_that_speaks_http_2_to_others(
        self,
        devcloud: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        through: Callable[..., CloudHarness],
        tmp_path: Path,
    ) -> None:
        certificate = loopback_certificate(tmp_path)
        front = standing(
            Front(
                behind=devcloud.glance_url,
                certificate=certificate,
                small_letters=True,
                chunks="refused",  # HTTP/2 has none
            )
        )
        catalog(front.url)
        run_and_read(through(region_name=REGION, cacert=str(certificate.authority)))
        # The client offers no h2, so that the front's choice is the one that both speak.
        assert {each.protocol for each in front.asked} <= {"http/1.1", None}

    def test_a_front_that_strips_openstack_headers(
        self,
        devcloud: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        through: Callable[..., CloudHarness],
    ) -> None:
        front = standing(Front(behind=devcloud.glance_url, without="x-openstack-"))
        catalog(front.url)
        run_and_read(through(region_name=REGION))

    def test_a_front_that_ends_connections_without_a_word(
        self,
        devcloud: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
        through: Callable[..., CloudHarness],
    ) -> None:
        front = standing(Front(behind=devcloud.glance_url, closes=lambda _asked: True))
        catalog(front.url)
        run_and_read(through(region_name=REGION))


class TestNotGlance:
    """A whole service that is not found is not an image that is not there."""

    @pytest.fixture
    def lost(
        self,
        clean_glance: Devcloud,
        standing: Callable[[Front], Front],
        catalog: Callable[[str], None],
    ) -> Front:
        """A front that finds nothing behind it, as an ingress does without a backend."""
        front = standing(Front(behind=clean_glance.glance_url, prefix="/nothing-there"))
        front.url = front.address
        catalog(front.url)
        return front

    def test_a_listing(
        self, lost: Front, through: Callable[..., CloudHarness], tmp_path: Path
    ) -> None:
        said = through(region_name=REGION).retrofit("plan", exit_code=3).stderr
        assert "no such image" not in said
        assert f"{lost.url} is not a Glance API" in said
        assert "openstack catalog show image" in said

    def test_single_images(self, lost: Front, entry: Callable[..., CloudSettings]) -> None:
        glance = Glance.connect(entry(region_name=REGION))
        missing = str(uuid.uuid4())
        for act in (
            lambda: glance.get(missing),
            lambda: glance.delete(missing),
            lambda: glance.untag(missing, "t"),
        ):
            with pytest.raises(CloudError, match="is not a Glance API"):
                act()

    def test_a_missing_image_is_missing(
        self, clean_glance: Devcloud, entry: Callable[..., CloudSettings]
    ) -> None:
        glance = Glance.connect(entry())
        missing = str(uuid.uuid4())
        assert glance.get(missing) is None
        assert glance.delete(missing) == "already gone"
        glance.untag(missing, "t")


class TestKeystone:
    """Keystone's address as clouds have it."""

    @pytest.mark.parametrize("path", ["", "/", "/v3", "/v3/"])
    @pytest.mark.parametrize("prefix", ["", "/identity"])
    def test_every_form_of_auth_url(
        self,
        clean_glance: Devcloud,
        standing: Callable[[Front], Front],
        entry: Callable[..., CloudSettings],
        prefix: str,
        path: str,
    ) -> None:
        front = standing(Front(behind=clean_glance.keystone_url, prefix=prefix))
        glance = Glance.connect(entry(auth={"auth_url": f"{front.url}{path}"}))
        assert glance.list({"name": "n"}) == []
        assert any(each.method == "POST" for each in front.asked)
