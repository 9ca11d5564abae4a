"""What the charm decides without Juju and without a machine."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from retrofit.config import BuildSettings, Settings
from retrofit.settings_file import load

CHARM = Path(__file__).resolve().parents[2] / "charm"
sys.path.append(str(CHARM / "src"))

import keystone  # noqa: E402  (as a packed charm's dispatch finds them)
import options  # noqa: E402
from standing import LONGEST, standing  # noqa: E402

MANIFEST: dict[str, Any] = yaml.safe_load((CHARM / "charmcraft.yaml").read_text())
README = (CHARM / "README.md").read_text()
DEFAULTS = {name: option["default"] for name, option in MANIFEST["config"]["options"].items()}
UNIT = {
    "auth_host": "10.0.0.5",
    "auth_port": "35357",
    "auth_protocol": "http",
    "credentials_username": "retrofit",
    "credentials_password": "secret",
    "credentials_project": "services",
}
IMAGE = {
    "id": "7f3c",
    "age_days": 3.4,
    "source_product_name": "com.ubuntu.cloud:server:24.04:amd64",
    "source_version_name": "20260911",
}
GOOD: dict[str, Any] = {
    "target": "default",
    "state": "good",
    "summary": "All is well.",
    "promoted": IMAGE,
    "octavia_takes": "7f3c",
    "paused": None,
    "failing": None,
    "last_run": None,
    "running": None,
    "cloud_error": None,
    "warnings": [],
}
STANDS = "amphora image 3 days old (noble 20260911)"


def settings_of(**changed: Any) -> dict[str, Any]:
    given = {**DEFAULTS, **{name.replace("_", "-"): value for name, value in changed.items()}}
    return options.settings(
        given, clouds_yaml="/etc/retrofit/clouds.yaml", scheduled=True, environment={}
    )


def test_charm_imports_nothing_but_ops_and_what_comes_with_it() -> None:
    own = {path.stem for path in (CHARM / "src").glob("*.py")}
    for path in (CHARM / "src").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            for name in names:
                top = name.partition(".")[0]
                assert top in own | {"ops", "yaml"} | sys.stdlib_module_names, (path, name)


@pytest.mark.parametrize("kind", ["options", "actions"])
def test_readme_of_the_charm_tells_of_everything(kind: str) -> None:
    known = DEFAULTS if kind == "options" else MANIFEST["actions"]
    assert {name for name in known if f"`{name}`" not in README} == set()
    for name, option in MANIFEST["config"]["options"].items():
        shown = option["default"]
        text = {"": "", True: "`true`", False: "`false`"}.get(shown, f"`{shown}`")
        assert re.search(rf"^\| `{re.escape(name)}` \| {re.escape(text)} \|", README, re.M), name


def test_every_option_and_action_is_described() -> None:
    for each in (*MANIFEST["config"]["options"].values(), *MANIFEST["actions"].values()):
        assert len(each["description"]) > 10
    for action in MANIFEST["actions"].values():
        assert action["additionalProperties"] is False
        assert all(each["description"] for each in action["params"].values())


def test_tag_is_what_the_octavia_charm_looks_for() -> None:
    # charm-octavia, src/config.yaml: amp-image-tag defaults to octavia-amphora.
    assert DEFAULTS["amp-image-tag"] == "octavia-amphora"


def test_default_options_are_a_configuration_of_retrofit(tmp_path: Path) -> None:
    read = loaded(tmp_path, settings_of())
    (target,) = read.targets
    assert (target.cloud.name, target.publish.tag) == (keystone.CLOUD, "octavia-amphora")
    assert target.build == BuildSettings()
    assert read.web.healthy_within == options.HEALTHY_WITHIN["daily"]


def test_every_option_reaches_a_setting_that_retrofit_has(tmp_path: Path) -> None:
    read = loaded(
        tmp_path,
        settings_of(
            retrofit_series="jammy",
            retrofit_uca_pocket="caracal",
            ubuntu_mirror="http://mirror/ubuntu",
            uca_mirror="deb http://mirror/uca noble-updates/caracal main|0123ABCD",
            image_format="raw",
            keep_images=4,
            adopt_images=True,
            debug=True,
            settings='[verify]\ntimeout = 1800\n[target.a]\n[target.b.publish]\ntag = "b"\n',
        ),
    )
    first, second = read.targets
    build = first.build
    assert first.source.series == ("jammy",)
    assert (build.cloud_archive, build.cloud_archive_mirror) == ("caracal", "http://mirror/uca")
    assert build.archive_mirror == build.security_mirror == "http://mirror/ubuntu"
    assert (build.format, build.environment) == ("raw", {"DIB_DEBUG_TRACE": "1"})
    assert (first.publish.keep, first.publish.adopt, first.verify.timeout) == (4, True, 1800)
    assert (second.name, second.publish.tag) == ("b", "b")


def loaded(tmp_path: Path, document: dict[str, Any]) -> Settings:
    clouds = tmp_path / "clouds.yaml"
    clouds.touch()
    document["cloud"]["clouds_yaml"] = str(clouds)
    file = tmp_path / "retrofit.toml"
    file.write_text(options.toml(document))
    return load(file)


@pytest.mark.parametrize(
    ("mirror", "expected"),
    [
        ("", {}),
        ("http://mirror/uca", {"cloud_archive_mirror": "http://mirror/uca"}),
        ("deb [arch=amd64] http://m/uca x main", {"cloud_archive_mirror": "http://m/uca"}),
        ("cloud:noble-caracal", {"cloud_archive": "caracal"}),
        ("cloud:jammy-zed/proposed", {"cloud_archive": "zed-proposed"}),
        ("ppa:somecustom/ppa", {"ppas": ["ppa:somecustom/ppa"]}),
    ],
)
def test_forms_of_the_cloud_archive_option(mirror: str, expected: dict[str, Any]) -> None:
    build = settings_of(uca_mirror=mirror)["build"]
    named = {"cloud_archive", "cloud_archive_mirror", "ppas"}
    assert {key: value for key, value in build.items() if key in named} == expected


@pytest.mark.parametrize("mirror", ["mirror", "deb main", "cloud:noble", "cloud:noble-"])
def test_cloud_archive_option_of_no_known_form_is_refused(mirror: str) -> None:
    with pytest.raises(options.OptionError, match="uca-mirror"):
        settings_of(uca_mirror=mirror)


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | words | st.dates(date(1, 1, 1)),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(words, below, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(words, values, max_size=4))
def test_what_is_written_as_toml_is_read_as_it_was(document: dict[str, Any]) -> None:
    assert tomllib.loads(options.toml(document)) == document


@pytest.mark.parametrize("missing", sorted(UNIT))
def test_credentials_are_whole_or_none(missing: str) -> None:
    assert keystone.credentials([{**UNIT, missing: ""}]) is None
    assert keystone.credentials([{**UNIT, missing: "None"}]) is None
    assert keystone.credentials([{}, UNIT]) is not None


def test_credentials_of_an_address_and_without_domains() -> None:
    found = keystone.credentials([{**UNIT, "auth_host": "fd00::5", "domain": "service_domain"}])
    assert found is not None
    assert found.auth_url == "http://[fd00::5]:35357/v3"
    assert found.user_domain == found.project_domain == "service_domain"
    document = found.clouds_yaml(ca_file="/ca", region=None, interface="public")
    assert "region_name" not in document["clouds"][keystone.CLOUD]


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({}, "active", STANDS),
        ({"promoted": {**IMAGE, "age_days": 0.04}}, "active", "amphora image 1 hour old (noble"),
        ({"promoted": {**IMAGE, "source_product_name": "x"}}, "active", "(custom 20260911)"),
        ({"warnings": ["mind this", "and that"]}, "active", f"{STANDS}; mind this"),
        ({"octavia_takes": "other"}, "blocked", "Octavia takes another image: other; ours: "),
        ({"octavia_takes": None}, "blocked", "Octavia takes another image: none; ours: "),
        (
            {"state": "paused", "paused": {"reason": "moving racks"}},
            "maintenance",
            f"paused: moving racks; {STANDS}",
        ),
        (
            {"state": "running", "running": {"doing": "build"}},
            "maintenance",
            f"run going on (build); {STANDS}",
        ),
        (
            {"state": "unreachable", "promoted": None, "cloud_error": {"message": "no route"}},
            "waiting",
            "cloud does not answer: no route",
        ),
        (
            {"state": "failed", "last_run": {"error": {"message": "no room"}}},
            "blocked",
            f"last run failed: no room; {STANDS}",
        ),
        (
            {"state": "waiting", "failing": {"message": "no room"}},
            "blocked",
            f"builds fail: no room; {STANDS}",
        ),
        ({"state": "stale"}, "blocked", f"stale: All is well. {STANDS}"),
        ({"state": "missing", "promoted": None}, "blocked", "no amphora image is promoted"),
        ({"state": "never_run", "promoted": None}, "waiting", "waiting for the first run"),
    ],
)
def test_unit_status_tells_what_there_is(changed: Any, kind: str, said: str) -> None:
    found, text = standing({**GOOD, **changed}, leader=True, auto=True)
    assert found == kind
    assert said in text


def test_unit_status_of_several_targets_tells_the_worst() -> None:
    bad = {**GOOD, "target": "jammy", "state": "missing", "promoted": None}
    kind, text = standing({"targets": [GOOD, bad]}, leader=True, auto=True)
    assert (kind, text[:25]) == ("blocked", "jammy: no amphora image i")


def test_unit_status_says_who_runs() -> None:
    assert standing(GOOD, leader=True, auto=False) == ("active", f"{STANDS}; auto-retrofit is off")
    assert standing(GOOD, leader=False, auto=True)[1].endswith("; standby, the leader unit runs")
    none = {**GOOD, "state": "never_run", "promoted": None}
    kind, text = standing(none, leader=True, auto=False)
    assert (kind, text.partition(";")[0]) == (
        "blocked",
        "no amphora image yet: run the action retrofit-image",
    )


def test_unit_status_stays_short() -> None:
    error = {"error": {"message": "x" * 1000}}
    _, text = standing({**GOOD, "state": "failed", "last_run": error}, leader=True, auto=True)
    assert len(text) == LONGEST
