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

from retrofit.archive.sources import parse
from retrofit.config import BuildSettings, Settings
from retrofit.config.file import load

CHARM = Path(__file__).resolve().parents[3] / "charm"
sys.path.append(str(CHARM / "src"))

import keystone  # noqa: E402  (as a packed charm's dispatch finds them)
import options  # noqa: E402
from unit_status import LONGEST, OLD_STATES, UnknownAnswerError, unit_status  # noqa: E402

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
OK: dict[str, Any] = {
    "target": "default",
    "state": "ok",
    "summary": "All is well.",
    "promoted": IMAGE,
    "octavia_image": "7f3c",
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
            uca_mirror="deb http://mirror/uca noble-updates/caracal main|EC4926EA",
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
    assert (first.publish.keep, first.publish.replace_charm_images, first.verify.timeout) == (
        4,
        True,
        1800,
    )
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
        (
            "deb http://m/uca noble-updates/caracal main",
            {"cloud_archive": "caracal", "cloud_archive_mirror": "http://m/uca"},
        ),
        (
            "deb [arch=amd64] http://m/uca jammy-proposed/zed main",
            {"cloud_archive": "zed-proposed", "cloud_archive_mirror": "http://m/uca"},
        ),
        ("cloud:noble-caracal", {"cloud_archive": "caracal"}),
        ("cloud:jammy-zed/proposed", {"cloud_archive": "zed-proposed"}),
        ("ppa:somecustom/ppa", {"ppas": ["ppa:somecustom/ppa"]}),
    ],
)
def test_forms_of_the_cloud_archive_option(mirror: str, expected: dict[str, Any]) -> None:
    build = settings_of(uca_mirror=mirror)["build"]
    named = {"cloud_archive", "cloud_archive_mirror", "ppas"}
    assert {key: value for key, value in build.items() if key in named} == expected


@pytest.mark.parametrize("mirror", [
        "mirror", "deb main", "cloud:noble", "cloud:noble-",
        # Without a pocket the agent would be the distribution's, and nothing would show it.
        "http://mirror/uca", "deb http://m/uca noble main", "deb http://m/uca x main",
        "deb http://m/uca noble-updates/caracal main|0123456789ABCDEF",
    ])  # fmt: skip
def test_cloud_archive_option_of_no_known_form_is_refused(mirror: str) -> None:
    with pytest.raises(options.OptionError, match="uca-mirror"):
        settings_of(uca_mirror=mirror)


def test_a_mirrors_url_takes_its_pocket_from_the_other_option() -> None:
    for mirror in ("http://m/uca", "deb http://m/uca noble main"):
        build = settings_of(uca_mirror=mirror, retrofit_uca_pocket="epoxy")["build"]
        assert build["cloud_archive"] == "epoxy"
        assert build["cloud_archive_mirror"] == "http://m/uca"


KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEZ\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----"


def archives_of(**changed: Any) -> Any:
    given = {**DEFAULTS, **{name.replace("_", "-"): value for name, value in changed.items()}}
    return options.archive_settings(given, "/etc/retrofit")


@pytest.mark.parametrize("newline", ["\n", "\\n", "\n# the rest\n"])
def test_lines_of_sources_become_these_sources(tmp_path: Path, newline: str) -> None:
    lines = (
        "deb http://mirror/ubuntu noble main universe",
        "deb [arch=amd64,i386] http://mirror/ubuntu noble-security main",
    )
    found = archives_of(ubuntu_mirror=newline.join(lines))
    assert found.settings == {"apt_sources": "/etc/retrofit/archive.sources"}
    entries = parse("archive.sources", found.files["archive.sources"].encode())
    assert [(each.uris, each.suites, each.components) for each in entries] == [
        (("http://mirror/ubuntu",), ("noble",), ("main", "universe")),
        (("http://mirror/ubuntu",), ("noble-security",), ("main",)),
    ]
    assert entries[1].architectures == ("amd64", "i386")
    assert settings_of(ubuntu_mirror=newline.join(lines))["build"]["apt_sources"]


def test_a_key_after_a_bar_signs_its_line() -> None:
    text = f"deb http://mirror/ubuntu noble main|{KEY}\ndeb http://mirror/ubuntu noble-updates main"
    first, second = parse(
        "a.sources", archives_of(ubuntu_mirror=text).files["archive.sources"].encode()
    )
    assert first.key == KEY
    assert (second.key, second.suites) == ("", ("noble-updates",))
    found = archives_of(uca_mirror=f"deb http://m/uca noble-updates/caracal main|{KEY}")
    assert found.files == {"cloud-archive-key.asc": f"{KEY}\n"}
    assert found.settings["cloud_archive_key"] == "/etc/retrofit/cloud-archive-key.asc"
    assert archives_of(uca_mirror="deb http://m/uca noble-updates/x main|ec4926ea").files == {}


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"ubuntu_mirror": "deb http://mirror/ubuntu noble"}, "expected `deb URL suite comp"),
        ({"ubuntu_mirror": "deb mirror noble main"}, "expected `deb URL suite components`"),
        ({"ubuntu_mirror": "deb [trusted=yes] http://m noble main"}, "trusted=yes"),
        ({"ubuntu_mirror": "deb http://m noble main|0123456789ABCDEF"}, "asks no key server"),
        ({"ubuntu_mirror": "mirror.example/ubuntu"}, "expected a URL or lines"),
        ({"ubuntu_mirror": "deb http://m noble main\nhttp://n"}, "besides its lines"),
        (
            {"ubuntu_mirror": "deb http://m noble main", "ubuntu_security_mirror": "http://s"},
            "has no use beside sources",
        ),
    ],
)
def test_options_of_archives_that_cannot_be_used_are_refused(
    changed: dict[str, Any], named: str
) -> None:
    with pytest.raises(options.OptionError, match=re.escape(named)):
        settings_of(**changed)


def test_an_exported_option_file_of_the_other_charm_is_accepted(tmp_path: Path) -> None:
    # `juju config octavia-diskimage-retrofit`, its settings alone.
    exported = {
        "amp-image-tag": "octavia-amphora",
        "auto-retrofit": True,
        "channel": "stable",
        "debug": False,
        "frequency": "daily",
        "image-format": "raw",
        "retrofit-series": "",
        "retrofit-uca-pocket": "",
        "uca-mirror": "deb http://mirror/uca noble-updates/caracal main",
        "ubuntu-mirror": "deb http://mirror/ubuntu noble main\ndeb http://m noble-updates main",
        "use-internal-endpoints": True,
    }
    assert exported.keys() <= DEFAULTS.keys()
    document = settings_of(**{name.replace("-", "_"): each for name, each in exported.items()})
    sources = tmp_path / "archive.sources"
    sources.write_text("Types: deb\n")
    document["build"]["apt_sources"] = str(sources)
    (target,) = loaded(tmp_path, document).targets
    assert target.build.cloud_archive == "caracal"
    assert target.source.variants == ("server", "minimal")


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
        ({"octavia_image": "other"}, "blocked", "Octavia selects another image: other; "),
        ({"octavia_image": None}, "blocked", "Octavia selects another image: none; "),
        (
            {"state": "paused", "paused": {"reason": "moving racks"}},
            "maintenance",
            f"paused: moving racks; {STANDS}",
        ),
        (
            {"state": "running", "running": {"doing": "build"}},
            "maintenance",
            f"run in progress (build); {STANDS}",
        ),
        (
            {
                "state": "cloud_unreachable",
                "promoted": None,
                "cloud_error": {"message": "no route"},
            },
            "waiting",
            "cloud does not answer: no route",
        ),
        (
            {"state": "failed", "last_run": {"error": {"message": "no room"}}},
            "blocked",
            f"last run failed: no room; {STANDS}",
        ),
        (
            {"state": "backoff", "failing": {"message": "no room"}},
            "blocked",
            f"builds fail: no room; {STANDS}",
        ),
        ({"state": "stale"}, "blocked", f"stale: All is well. {STANDS}"),
        ({"state": "no_image", "promoted": None}, "blocked", "no amphora image is promoted"),
        ({"state": "never_run", "promoted": None}, "waiting", "waiting for the first run"),
    ],
)
def test_unit_status_tells_what_there_is(changed: Any, kind: str, said: str) -> None:
    found, text = unit_status({**OK, **changed}, leader=True, auto=True)
    assert found == kind
    assert said in text


def test_unit_status_understands_the_words_of_0_1() -> None:
    old = {**OK, "octavia_takes": "7f3c"}
    del old["octavia_image"]
    for before, now in OLD_STATES.items():
        changed = {"paused": None, "promoted": None if now == "no_image" else IMAGE}
        assert unit_status({**old, **changed, "state": before}, leader=True, auto=True) == (
            unit_status({**OK, **changed, "state": now}, leader=True, auto=True)
        )
    other = unit_status({**old, "octavia_takes": "other"}, leader=True, auto=True)
    assert other[0] == "blocked"


@pytest.mark.parametrize(
    "changed",
    [
        *({"state": state} for state in ("splendid", "", None, 3, ["ok"])),
        {"promoted": "7f3c"},
        {"promoted": {"id": "7f3c"}},
        {"warnings": None, "state": "ok", "octavia_image": None, "promoted": {**IMAGE, "id": 1}},
        {"targets": []},
        {"targets": None},
        {"targets": ["default"]},
    ],
    ids=repr,
)
def test_what_the_charm_does_not_know_is_never_active(changed: dict[str, Any]) -> None:
    try:
        kind, _ = unit_status({**OK, **changed}, leader=True, auto=True)
    except UnknownAnswerError:
        return
    assert kind == "blocked"


@pytest.mark.parametrize("key", sorted(set(OK) - {"running", "paused", "cloud_error"}))
def test_an_answer_without_a_key_is_not_understood(key: str) -> None:
    needed = {"last_run": "failed", "failing": "backoff", "summary": "stale"}
    answer = {**OK, "state": needed.get(key, "ok")}
    del answer[key]
    with pytest.raises(UnknownAnswerError):
        unit_status(answer, leader=True, auto=True)


def test_unit_status_of_several_targets_is_the_worst() -> None:
    bad = {**OK, "target": "jammy", "state": "no_image", "promoted": None}
    kind, text = unit_status({"targets": [OK, bad]}, leader=True, auto=True)
    assert (kind, text[:25]) == ("blocked", "jammy: no amphora image i")


def test_unit_status_says_who_runs() -> None:
    assert unit_status(OK, leader=True, auto=False) == ("active", f"{STANDS}; auto-retrofit is off")
    assert unit_status(OK, leader=False, auto=True)[1].endswith("; standby, the leader unit runs")
    none = {**OK, "state": "never_run", "promoted": None}
    kind, text = unit_status(none, leader=True, auto=False)
    assert (kind, text.partition(";")[0]) == (
        "blocked",
        "no amphora image yet: run the action retrofit-image",
    )


def test_unit_status_stays_short() -> None:
    error = {"error": {"message": "x" * 1000}}
    _, text = unit_status({**OK, "state": "failed", "last_run": error}, leader=True, auto=True)
    assert len(text) == LONGEST
