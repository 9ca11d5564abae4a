"""Which cloud is used: what a setting names, whatever the environment says; and its session."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session

from retrofit.cloud.auth import UnpacedSession, _warn_of_ignored, cloud_region
from retrofit.config import CloudSettings
from retrofit.errors import ConfigError


def test_requests_are_not_paced_by_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(Session, "request", lambda *_, **options: sent.append(options))
    Adapter(UnpacedSession(), endpoint_override="http://cloud.example").get("/v2/images")
    assert [options.get("rate_semaphore") for options in sent] == [None]


def test_a_configured_cloud_has_such_a_session(tmp_path: Path) -> None:
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text(
        "clouds: {ours: {auth: {auth_url: 'http://cloud.example/v3', username: retrofit,"
        " password: secret, project_name: octavia}}}"
    )
    region = cloud_region(CloudSettings(name="ours", clouds_yaml=clouds))
    assert isinstance(region.get_session(), UnpacedSession)


class Home:
    """A clouds.yaml of one's own, others that the environment may name, and their entries."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self._patch = monkeypatch
        for variable in [name for name in os.environ if name.startswith("OS_")]:
            monkeypatch.delenv(variable)
        _warn_of_ignored.cache_clear()

    def clouds(self, name: str, **entries: dict[str, Any]) -> Path:
        """Write a clouds.yaml whose entries are complete but for what is given."""
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        usual = {"username": "retrofit", "password": "secret", "project_name": "octavia"}
        clouds = {
            key: {**entry, "auth": {**usual, **entry.get("auth", {})}}
            for key, entry in entries.items()
        }
        path.write_text(yaml.safe_dump({"clouds": clouds}))
        path.chmod(0o600)
        return path

    def environment(self, **variables: object) -> None:
        for name, value in variables.items():
            self._patch.setenv(name, str(value))


def at(host: str, **entry: Any) -> dict[str, Any]:
    return {"auth": {"auth_url": f"http://{host}.example/v3"}, **entry}


def where(region: Any) -> str:
    return str(region.get_auth_args()["auth_url"]).removeprefix("http://").partition(".")[0]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    return Home(tmp_path, monkeypatch)


def read(settings: CloudSettings) -> tuple[Any, list[str]]:
    """Return the region, and the variables that are reported as ignored."""
    with structlog.testing.capture_logs() as logged:
        region = cloud_region(settings)
    return region, [each["variable"] for each in logged if "ignored" in each["event"]]


class TestFiles:
    """cloud.clouds_yaml is obeyed, whatever the environment names."""

    def test_the_setting_wins_over_the_environments_file(self, home: Home) -> None:
        ours = home.clouds("ours.yaml", demo=at("ours"))
        home.environment(OS_CLIENT_CONFIG_FILE=home.clouds("theirs.yaml", demo=at("theirs")))
        region, ignored = read(CloudSettings(name="demo", clouds_yaml=ours))
        assert where(region) == "ours"
        assert ignored == ["OS_CLIENT_CONFIG_FILE"]

    def test_the_same_file_twice_is_no_contradiction(self, home: Home) -> None:
        ours = home.clouds("ours.yaml", demo=at("ours"))
        home.environment(OS_CLIENT_CONFIG_FILE=ours)
        assert read(CloudSettings(name="demo", clouds_yaml=ours))[1] == []

    def test_an_ignored_file_need_not_be_trusted_or_there(self, home: Home) -> None:
        ours = home.clouds("ours.yaml", demo=at("ours"))
        theirs = home.clouds("theirs.yaml", demo=at("theirs"))
        theirs.chmod(0o666)
        home.environment(OS_CLIENT_CONFIG_FILE=theirs)
        assert where(read(CloudSettings(name="demo", clouds_yaml=ours))[0]) == "ours"

    def test_without_the_setting_the_environments_file_is_read(self, home: Home) -> None:
        home.environment(OS_CLIENT_CONFIG_FILE=home.clouds("theirs.yaml", demo=at("theirs")))
        region, ignored = read(CloudSettings(name="demo"))
        assert where(region) == "theirs"
        assert ignored == []

    def test_what_is_no_yaml_is_named(self, home: Home) -> None:
        broken = home.directory / "clouds.yaml"
        broken.write_text("clouds: [")
        with pytest.raises(ConfigError, match="cannot be read as YAML"):
            cloud_region(CloudSettings(name="demo", clouds_yaml=broken))

    def test_secrets_beside_the_named_file_win_over_the_environments(self, home: Home) -> None:
        ours = home.clouds("ours.yaml", demo=at("ours"))
        home.clouds("secure.yaml", demo={"auth": {"password": "beside"}})
        theirs = home.clouds("other.yaml", demo={"auth": {"password": "theirs"}})
        home.environment(OS_CLIENT_SECURE_FILE=theirs)
        region, ignored = read(CloudSettings(name="demo", clouds_yaml=ours))
        assert region.get_auth_args()["password"] == "beside"
        assert ignored == ["OS_CLIENT_SECURE_FILE"]

    def test_secrets_that_only_the_environment_names_are_read(self, home: Home) -> None:
        ours = home.clouds("ours.yaml", demo=at("ours"))
        theirs = home.clouds("other.yaml", demo={"auth": {"password": "theirs"}})
        home.environment(OS_CLIENT_SECURE_FILE=theirs)
        region, ignored = read(CloudSettings(name="demo", clouds_yaml=ours))
        assert region.get_auth_args()["password"] == "theirs"
        assert ignored == []

    def test_openstacksdk_knows_no_variable_for_vendor_files(self, home: Home) -> None:
        ours = home.clouds("ours.yaml", demo=at("ours"))
        home.environment(OS_CLIENT_VENDOR_FILE=home.clouds("vendor.yaml", demo=at("theirs")))
        assert where(read(CloudSettings(name="demo", clouds_yaml=ours))[0]) == "ours"


class TestWhichCloud:
    """A cloud that a setting names is used as its entry says."""

    def test_the_name_wins_over_os_cloud(self, home: Home) -> None:
        ours = home.clouds("ours.yaml", demo=at("ours"), other=at("theirs"))
        home.environment(OS_CLOUD="other")
        region, ignored = read(CloudSettings(name="demo", clouds_yaml=ours))
        assert where(region) == "ours"
        assert ignored == ["OS_CLOUD"]

    def test_os_cloud_chooses_in_the_named_file(self, home: Home) -> None:
        ours = home.clouds("ours.yaml", demo=at("ours"), other=at("theirs"))
        home.environment(OS_CLOUD="other")
        region, ignored = read(CloudSettings(clouds_yaml=ours))
        assert where(region) == "theirs"
        assert ignored == []

    def test_credentials_of_the_environment_are_no_part_of_a_named_cloud(self, home: Home) -> None:
        ours = home.clouds("ours.yaml", demo=at("ours"))
        home.environment(
            OS_AUTH_URL="http://theirs.example/v3", OS_USERNAME="admin", OS_PASSWORD="x"
        )
        region, ignored = read(CloudSettings(name="demo", clouds_yaml=ours))
        assert where(region) == "ours"
        assert region.get_auth_args()["username"] == "retrofit"
        assert ignored == ["OS_AUTH_URL", "OS_USERNAME"]

    def test_a_named_file_is_not_left_for_the_environment(self, home: Home) -> None:
        ours = home.clouds("ours.yaml", demo=at("ours"))
        home.environment(
            OS_AUTH_URL="http://theirs.example/v3",
            OS_USERNAME="admin",
            OS_PASSWORD="x",
            OS_PROJECT_NAME="admin",
        )
        region, ignored = read(CloudSettings(clouds_yaml=ours))
        assert where(region) == "ours"
        assert "OS_AUTH_URL" in ignored

    def test_the_environment_is_a_cloud_where_nothing_else_is_named(self, home: Home) -> None:
        home.environment(
            OS_AUTH_URL="http://theirs.example/v3",
            OS_USERNAME="admin",
            OS_PASSWORD="x",
            OS_PROJECT_NAME="admin",
        )
        region, ignored = read(CloudSettings())
        assert where(region) == "theirs"
        assert ignored == []

    def test_a_variable_that_makes_the_environment_the_cloud_is_named(self, home: Home) -> None:
        home.environment(OS_CACERT="/nowhere", OS_AUTH_TYPE="none")
        with pytest.raises(ConfigError, match="it has OS_AUTH_TYPE, OS_CACERT"):
            cloud_region(CloudSettings())

    def test_an_unknown_kind_of_credentials_is_refused(self, home: Home) -> None:
        ours = home.clouds("ours.yaml", demo=at("ours", auth_type="magic"))
        with pytest.raises(ConfigError, match="magic"):
            cloud_region(CloudSettings(name="demo", clouds_yaml=ours))


class TestRegionAndInterface:
    """The settings win over the entry, and the entry over the environment."""

    def test_a_named_clouds_region_is_not_the_environments(self, home: Home) -> None:
        ours = home.clouds("ours.yaml", demo=at("ours", region_name="One"))
        home.environment(OS_REGION_NAME="Two")
        region, ignored = read(CloudSettings(name="demo", clouds_yaml=ours))
        assert region.get_region_name("image") == "One"
        assert ignored == ["OS_REGION_NAME"]

    def test_the_setting_wins_over_the_environments_region(self, home: Home) -> None:
        home.environment(
            OS_AUTH_URL="http://theirs.example/v3",
            OS_USERNAME="admin",
            OS_PASSWORD="x",
            OS_PROJECT_NAME="admin",
            OS_REGION_NAME="Two",
        )
        region, _ = read(CloudSettings(region="One"))
        assert region.get_region_name("image") == "One"

    def test_the_setting_wins_over_a_services_own_region(self, home: Home) -> None:
        entry = at("ours", regions=["One", "Two"], image_region_name="Two")
        ours = home.clouds("ours.yaml", demo=entry)
        region, _ = read(CloudSettings(name="demo", clouds_yaml=ours, region="One"))
        assert region.get_region_name("image") == "One"
        region, _ = read(CloudSettings(name="demo", clouds_yaml=ours))
        assert region.get_region_name("image") == "Two"

    @pytest.mark.parametrize(
        "key", ["interface", "endpoint_type", "image_interface", "image_endpoint_type"]
    )
    def test_the_setting_wins_over_every_name_of_an_interface(self, home: Home, key: str) -> None:
        ours = home.clouds("ours.yaml", demo=at("ours", **{key: "public"}))
        settings = CloudSettings(name="demo", clouds_yaml=ours, interface="internal")
        assert read(settings)[0].get_interface("image") == "internal"
        entry = settings.model_copy(update={"interface": None})
        assert read(entry)[0].get_interface("image") == "public"


class TestCertificates:
    """Files of TLS are read before any request, and named where they cannot be."""

    @pytest.mark.parametrize("key", ["cacert", "cert"])
    def test_a_missing_file_is_named(self, home: Home, key: str) -> None:
        missing = home.directory / "missing.pem"
        ours = home.clouds("ours.yaml", demo=at("ours", **{key: str(missing)}))
        with pytest.raises(ConfigError, match=f"{key} of cloud demo .*missing.pem"):
            cloud_region(CloudSettings(name="demo", clouds_yaml=ours))

    def test_verify_that_is_no_boolean_is_named(self, home: Home) -> None:
        ours = home.clouds("ours.yaml", demo=at("ours", verify="no"))
        with pytest.raises(ConfigError, match="verify of cloud demo is 'no'"):
            cloud_region(CloudSettings(name="demo", clouds_yaml=ours))

    def test_unverified_is_obeyed(self, home: Home) -> None:
        ours = home.clouds("ours.yaml", demo=at("ours", verify=False))
        region, _ = read(CloudSettings(name="demo", clouds_yaml=ours))
        assert region.get_session().verify is False

    def test_a_ca_that_others_may_write_is_refused(self, home: Home) -> None:
        ca = home.directory / "ca.pem"
        ca.write_text("certificate")
        ca.chmod(0o666)
        ours = home.clouds("ours.yaml", demo=at("ours", cacert=str(ca)))
        with pytest.raises(ConfigError, match=r"ca\.pem is not trusted"):
            cloud_region(CloudSettings(name="demo", clouds_yaml=ours))
