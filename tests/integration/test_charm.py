"""The charm by Juju's events, on a machine whose programs are recording doubles."""

from __future__ import annotations

import base64
import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ops import testing

from tests.integration.charm_machine import Machine

CHARM = Path(__file__).resolve().parents[2] / "charm"
sys.path.append(str(CHARM / "src"))

import charm as retrofit_charm  # noqa: E402  (as a packed charm's dispatch finds it)

MANIFEST: dict[str, Any] = yaml.safe_load((CHARM / "charmcraft.yaml").read_text())
META = {key: MANIFEST[key] for key in ("name", "requires", "resources")}
KEYSTONE = {
    "auth_host": "10.0.0.5",
    "auth_port": "35357",
    "auth_protocol": "https",
    "credentials_host": "10.0.0.6",
    "credentials_port": "5000",
    "credentials_protocol": "https",
    "credentials_username": "retrofit",
    "credentials_password": "s3cret: #\"'",
    "credentials_project": "services",
    "credentials_project_id": "0123456789abcdef",
    "credentials_user_domain_name": "service_domain",
    "credentials_user_domain_id": "d1",
    "credentials_project_domain_name": "service_domain",
    "credentials_project_domain_id": "d1",
    "domain": "service_domain",
    "region": "RegionOne RegionTwo",
    "api_version": "3",
}
"""As charm-keystone writes it, see keystone.py."""
STANDING: dict[str, Any] = {
    "target": "default",
    "state": "ok",
    "summary": "All is well.",
    "promoted": {
        "id": "7f3c",
        "age_days": 3.2,
        "source_product_name": "com.ubuntu.cloud:server:24.04:amd64",
        "source_version_name": "20260911",
    },
    "octavia_image": "7f3c",
    "paused": None,
    "failing": None,
    "last_run": None,
    "running": None,
    "cloud_error": None,
    "warnings": [],
}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(directory=tmp_path / "machine")
    monkeypatch.setattr(retrofit_charm.RetrofitCharm, "root", machine.root)
    monkeypatch.setenv("PATH", f"{machine.programs}:{os.environ['PATH']}")
    monkeypatch.delenv("DEBIAN_FRONTEND", raising=False)
    machine.answer("retrofit", "--version", stdout="retrofit, version 0.1.0\n")
    machine.stands(STANDING)
    return machine


@pytest.fixture
def context(machine: Machine) -> testing.Context[retrofit_charm.RetrofitCharm]:
    return testing.Context(
        retrofit_charm.RetrofitCharm,
        meta=META,
        config=MANIFEST["config"],
        actions=MANIFEST["actions"],
        charm_root=CHARM,
    )


def keystone(data: dict[str, str] | None = None) -> testing.Relation:
    told = {0: KEYSTONE if data is None else data}
    return testing.Relation("identity-credentials", remote_units_data=told)  # type: ignore[arg-type]


@pytest.fixture
def state(machine: Machine) -> Any:
    """Make a unit's state: installed bundle, keystone's answer, leader, auto-retrofit."""

    def make(
        *relations: testing.Relation, leader: bool = True, bundle: Path | None = None, **config: Any
    ) -> testing.State:
        options = {"auto-retrofit": True, **{k.replace("_", "-"): v for k, v in config.items()}}
        if "ssl-ca" in options:
            options["ssl_ca"] = options.pop("ssl-ca")
        resource = testing.Resource(name="retrofit-bundle", path=bundle or machine.bundle())
        return testing.State(
            leader=leader,
            config=options,
            relations=set(relations),
            resources={resource},
        )

    return make


def status(out: testing.State) -> tuple[str, str]:
    return out.unit_status.name, out.unit_status.message


def toml(machine: Machine) -> dict[str, Any]:
    return tomllib.loads((machine.root / "etc/retrofit/retrofit.toml").read_text())


def clouds(machine: Machine) -> Path:
    return machine.root / "etc/retrofit/clouds.yaml"


def test_install_brings_packages_and_the_bundle(context: Any, machine: Machine, state: Any) -> None:
    out = context.run(context.on.install(), state())
    assert status(out) == ("blocked", "missing relation identity-credentials")
    apt = machine.calls("apt-get")
    assert apt[0] == "update --quiet"
    assert apt[1].startswith("install --yes --quiet --no-install-recommends ")
    assert {"python3-venv", "qemu-utils", "xorriso", "sudo"} <= set(apt[1].split())
    assert all(
        seen["DEBIAN_FRONTEND"] == "noninteractive" for seen in machine.environments("apt-get")
    )
    (venv,) = machine.calls("python3")
    place = Path(venv.removeprefix("-m venv "))
    current = machine.root / "opt/retrofit/current"
    assert current.resolve() == place
    locked, ours = machine.calls("pip")
    for call in (locked, ours):
        assert call.startswith(f"install --quiet --no-index --find-links {place}.wheels/wheels ")
    assert locked.endswith(f"--require-hashes -r {place}.wheels/requirements.txt")
    assert ours.endswith(f"--no-deps {place}.wheels/wheels/octavia_retrofit-0.1.0-py3-none-any.whl")
    assert machine.calls("retrofit-scheduler") == [f"install --timer --root {machine.root}"]
    assert sorted(path.name for path in (machine.root / "opt/retrofit").iterdir()) == sorted(
        ["current", place.name]
    )
    assert out.workload_version == "0.1.0"
    assert not machine.scheduled


def test_install_without_the_resource_says_so(context: Any, machine: Machine, state: Any) -> None:
    empty = machine.directory / "empty"
    empty.touch()
    out = context.run(context.on.install(), state(bundle=empty))
    assert status(out) == ("blocked", "missing resource retrofit-bundle: juju attach-resource")


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("requirements", "has no requirements.txt"),
        ("octavia_retrofit", "holds 0 wheels of retrofit"),
    ],
)
def test_wrong_bundle_is_refused_and_leaves_nothing(
    context: Any, machine: Machine, state: Any, without: str, said: str
) -> None:
    out = context.run(context.on.install(), state(bundle=machine.bundle(without=without)))
    assert out.unit_status.name == "blocked"
    assert said in out.unit_status.message
    assert list((machine.root / "opt/retrofit").iterdir()) == []


def test_file_that_is_no_bundle_is_refused(context: Any, machine: Machine, state: Any) -> None:
    wrong = machine.directory / "wrong"
    wrong.write_text("not an archive")
    out = context.run(context.on.install(), state(bundle=wrong))
    assert out.unit_status.message.startswith("resource retrofit-bundle cannot be unpacked: ")


def test_failed_installation_is_told_and_tried_again(
    context: Any, machine: Machine, state: Any
) -> None:
    machine.answer("pip", "install", exit_code=1, stderr="ERROR: No matching distribution\n")
    out = context.run(context.on.install(), state(keystone()))
    assert status(out) == (
        "blocked",
        "pip failed with exit code 1: ERROR: No matching distribution",
    )
    machine.answer("pip", "install", exit_code=0)
    out = context.run(context.on.update_status(), state(keystone()))
    assert out.unit_status.name == "active"


def test_failed_apt_is_told(context: Any, machine: Machine, state: Any) -> None:
    machine.answer("apt-get", "update", exit_code=100, stderr="E: no network\n")
    out = context.run(context.on.install(), state())
    said = "packages cannot be installed: apt-get failed with exit code 100: E: no network"
    assert status(out) == ("blocked", said)


def test_relation_joined_asks_keystone_for_a_user(context: Any, state: Any) -> None:
    relation = keystone({})
    out = context.run(context.on.relation_joined(relation, remote_unit=0), state(relation))
    assert status(out) == ("waiting", "waiting for keystone to make our user")
    asked = {"username": "retrofit", "project": "services", "domain": "service_domain"}
    ours = dict(out.get_relation(relation.id).local_unit_data)
    assert asked.items() <= ours.items()
    assert "requested_grants" not in ours  # keystone's default
    out = context.run(context.on.config_changed(), state(relation, grants="member, reader"))
    assert out.get_relation(relation.id).local_unit_data["requested_grants"] == "member,reader"
    again = out.get_relation(relation.id)
    out = context.run(context.on.config_changed(), state(again))
    assert "requested_grants" not in out.get_relation(relation.id).local_unit_data


def test_relation_changed_connects_and_schedules(
    context: Any, machine: Machine, state: Any
) -> None:
    relation = keystone()
    out = context.run(context.on.relation_changed(relation, remote_unit=0), state(relation))
    assert status(out) == ("active", "amphora image 3 days old (noble 20260911)")
    assert clouds(machine).stat().st_mode & 0o777 == 0o600
    ca_file = machine.root / "etc/retrofit/ca.pem"
    assert yaml.safe_load(clouds(machine).read_text()) == {
        "clouds": {
            "juju": {
                "auth_type": "v3password",
                "auth": {
                    "auth_url": "https://10.0.0.5:35357/v3",
                    "username": "retrofit",
                    "password": KEYSTONE["credentials_password"],
                    "project_name": "services",
                    "user_domain_name": "service_domain",
                    "project_domain_name": "service_domain",
                },
                "identity_api_version": "3",
                "interface": "public",
                "region_name": "RegionOne",
                "cacert": str(ca_file),
            }
        }
    }
    assert ca_file.read_text() == "-- the machine's own --\n"
    written = toml(machine)
    assert written["cloud"] == {"name": "juju", "clouds_yaml": str(clouds(machine))}
    # Nothing that the bundle of 0.1, which may still be attached, would refuse.
    assert written["publish"] == {"tag": "octavia-amphora", "keep": 2}
    assert machine.scheduled
    drop_in = machine.root / "etc/systemd/system/retrofit.timer.d/charm.conf"
    assert drop_in.read_text().endswith("[Timer]\nOnCalendar=\nOnCalendar=daily\n")
    assert KEYSTONE["credentials_password"] not in json.dumps(machine.calls())
    assert not any(KEYSTONE["credentials_password"] in log.message for log in context.juju_log)


def test_nothing_is_done_twice(context: Any, machine: Machine, state: Any) -> None:
    context.run(context.on.config_changed(), state(keystone()))
    machine.forget()
    context.run(context.on.update_status(), state(keystone()))
    assert machine.calls("pip") == machine.calls("apt-get") == []
    assert machine.calls("retrofit-scheduler") == []
    assert set(machine.calls("systemctl")) == {
        "is-enabled --quiet retrofit.timer",
        "is-enabled --quiet retrofit-rollover.timer",
    }


def test_relation_broken_forgets_the_credentials(
    context: Any, machine: Machine, state: Any
) -> None:
    relation = keystone()
    context.run(context.on.relation_changed(relation, remote_unit=0), state(relation))
    assert clouds(machine).exists()
    out = context.run(context.on.relation_broken(relation), state(relation))
    assert status(out) == ("blocked", "missing relation identity-credentials")
    assert not clouds(machine).exists()
    assert not machine.scheduled


def test_keystone_unit_that_leaves_takes_nothing_with_it(
    context: Any, machine: Machine, state: Any
) -> None:
    context.run(context.on.config_changed(), state(keystone()))
    gone = testing.Relation("identity-credentials", remote_units_data={})
    out = context.run(context.on.update_status(), state(gone))
    assert out.unit_status.name == "active"
    assert clouds(machine).exists()


def test_keystone_of_version_2_is_refused(context: Any, state: Any) -> None:
    out = context.run(
        context.on.config_changed(), state(keystone({**KEYSTONE, "api_version": "2"}))
    )
    assert status(out)[0] == "blocked"
    assert "version 3 is needed" in out.unit_status.message


def test_config_change_reaches_retrofit(context: Any, machine: Machine, state: Any) -> None:
    context.run(context.on.config_changed(), state(keystone()))
    context.run(
        context.on.config_changed(),
        state(
            keystone(),
            retrofit_series="jammy, noble",
            image_format="raw",
            amp_image_tag="mine",
            frequency="weekly",
            region="RegionTwo",
            use_internal_endpoints=True,
            adopt_images=True,
            settings="[publish]\nkeep = 5\n",
        ),
    )
    written = toml(machine)
    assert written["source"]["series"] == ["jammy", "noble"]
    assert written["build"]["format"] == "raw"
    assert written["publish"] == {"tag": "mine", "keep": 5, "replace_charm_images": True}
    cloud = yaml.safe_load(clouds(machine).read_text())["clouds"]["juju"]
    assert (cloud["region_name"], cloud["interface"]) == ("RegionTwo", "internal")
    asked = machine.calls("systemctl")
    restarted = asked.index("try-restart retrofit.timer")
    assert asked[restarted - 1] == "daemon-reload"
    drop_in = machine.root / "etc/systemd/system/retrofit.timer.d/charm.conf"
    assert "OnCalendar=weekly\n" in drop_in.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"frequency": "yearly"}, "option frequency is 'yearly', expected hourly, daily, weekly"),
        ({"settings": "keep = "}, "option settings is not TOML: "),
        ({"uca_mirror": "cloud:jammy"}, "option uca-mirror is 'cloud:jammy'"),
        ({"ssl_ca": "-----BEGIN"}, "option ssl_ca is not PEM in base64"),
        (
            {"lb_mgmt_controller_cacert": "-----BEGIN"},
            "option lb-mgmt-controller-cacert is not PEM in base64",
        ),
        (
            {"lb_mgmt_controller_cacert": base64.b64encode(b"no PEM").decode()},
            "option lb-mgmt-controller-cacert holds no certificate",
        ),
    ],
)
def test_option_that_cannot_be_used_is_named(
    context: Any, machine: Machine, state: Any, options: dict[str, Any], said: str
) -> None:
    context.run(context.on.config_changed(), state(keystone()))
    before = toml(machine)
    out = context.run(context.on.config_changed(), state(keystone(), **options))
    assert out.unit_status.name == "blocked"
    assert out.unit_status.message.startswith(said)
    assert toml(machine) == before
    assert not machine.scheduled


def test_what_retrofit_refuses_never_comes_into_force(
    context: Any, machine: Machine, state: Any
) -> None:
    context.run(context.on.config_changed(), state(keystone()))
    file = machine.root / "etc/retrofit/candidate.toml"
    said = f"error: {file} cannot be used:\n  source.series.0: unknown series 'nobel'\nhint: x\n"
    machine.answer("retrofit", "config check", exit_code=2, stderr=said)
    out = context.run(context.on.config_changed(), state(keystone(), retrofit_series="nobel"))
    assert status(out) == (
        "blocked",
        "the options cannot be used: source.series.0: unknown series 'nobel'",
    )
    assert "series" not in toml(machine)["source"]
    assert tomllib.loads((machine.directory / "checked.toml").read_text())["source"]["series"]
    assert not file.exists()


def test_only_the_leader_schedules(context: Any, machine: Machine, state: Any) -> None:
    out = context.run(context.on.config_changed(), state(keystone(), leader=False))
    assert not machine.scheduled
    said = "amphora image 3 days old (noble 20260911); standby, the leader unit runs"
    assert status(out) == ("active", said)
    context.run(context.on.leader_elected(), state(keystone()))
    assert machine.scheduled
    # Juju tells a unit that lost the leadership of nothing: the next hook has to see it.
    context.run(context.on.update_status(), state(keystone(), leader=False))
    assert not machine.scheduled


def test_nothing_is_scheduled_where_auto_retrofit_is_off(
    context: Any, machine: Machine, state: Any
) -> None:
    context.run(context.on.config_changed(), state(keystone()))
    out = context.run(context.on.config_changed(), state(keystone(), auto_retrofit=False))
    assert not machine.scheduled
    assert out.unit_status.message.endswith("; auto-retrofit is off")
    assert toml(machine)["web"]["healthy_within"] > 1000  # nothing is late


def test_rollovers_are_scheduled_by_the_leader_where_they_are_wanted(
    context: Any, machine: Machine, state: Any
) -> None:
    context.run(context.on.config_changed(), state(keystone()))
    assert not machine.rolls_over
    assert "rollover" not in toml(machine)
    context.run(context.on.config_changed(), state(keystone(), auto_rollover=True))
    assert machine.rolls_over
    assert toml(machine)["rollover"] == {"enabled": True}
    wanted = {"auto_rollover": True, "settings": '[rollover]\ncanaries = ["test"]\n'}
    context.run(context.on.config_changed(), state(keystone(), **wanted))
    assert toml(machine)["rollover"] == {"enabled": True, "canaries": ["test"]}
    context.run(context.on.update_status(), state(keystone(), leader=False, **wanted))
    assert not machine.rolls_over
    context.run(context.on.leader_elected(), state(keystone(), auto_retrofit=False, **wanted))
    assert (machine.scheduled, machine.rolls_over) == (False, True)
    context.run(context.on.stop(), state(keystone(), **wanted))
    assert not machine.rolls_over


def test_authorities_come_from_option_and_relation(
    context: Any, machine: Machine, state: Any
) -> None:
    vault = testing.Relation(
        "certificates", remote_units_data={0: {"ca": "-- vault --", "chain": "-- chain --\n"}}
    )
    given = base64.b64encode(b"-- option --\n").decode()
    context.run(context.on.config_changed(), state(keystone(), vault, ssl_ca=given))
    told = (machine.root / "etc/retrofit/ca.pem").read_text().splitlines()
    assert told == ["-- the machine's own --", "-- option --", "-- vault --", "-- chain --"]
    context.run(context.on.relation_broken(vault), state(keystone(), vault))
    assert (machine.root / "etc/retrofit/ca.pem").read_text() == "-- the machine's own --\n"


def test_control_planes_release_and_ca_reach_the_settings_and_a_key_does_not(
    context: Any, machine: Machine, state: Any
) -> None:
    ca = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    key = "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n"
    given = base64.encodebytes(f"Certificate:\n{key}{ca}".encode()).decode()
    told = state(keystone(), octavia_release="2024.1", lb_mgmt_controller_cacert=given)
    context.run(context.on.config_changed(), told)
    file = machine.root / "etc/retrofit/controller-ca.pem"
    assert toml(machine)["octavia"] == {"release": "2024.1", "client_ca": str(file)}
    assert file.read_text() == ca
    context.run(context.on.config_changed(), state(keystone()))
    assert "octavia" not in toml(machine)
    assert not file.exists()


def test_model_proxies_reach_builds(
    context: Any, machine: Machine, state: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUJU_CHARM_HTTP_PROXY", "http://squid:3128")
    monkeypatch.setenv("JUJU_CHARM_NO_PROXY", "10.0.0.0/8")
    context.run(context.on.config_changed(), state(keystone()))
    build = toml(machine)["build"]
    assert (build["http_proxy"], build["no_proxy"]) == ("http://squid:3128", "10.0.0.0/8")


def test_upgrade_installs_another_bundle_beside_the_one_in_use(
    context: Any, machine: Machine, state: Any
) -> None:
    current = machine.root / "opt/retrofit/current"
    context.run(context.on.install(), state(keystone()))
    first = current.resolve()
    context.run(context.on.upgrade_charm(), state(keystone()))
    assert current.resolve() == first
    context.run(context.on.upgrade_charm(), state(keystone(), bundle=machine.bundle("two")))
    second = current.resolve()
    assert second != first
    assert first.is_dir()  # a run that goes on may need it
    assert machine.calls("retrofit-scheduler").count(f"install --timer --root {machine.root}") == 2
    context.run(context.on.upgrade_charm(), state(keystone(), bundle=machine.bundle("three")))
    assert not first.exists()
    assert second.is_dir()
    assert machine.scheduled


def test_upgrade_that_fails_leaves_the_version_in_use(
    context: Any, machine: Machine, state: Any
) -> None:
    context.run(context.on.install(), state(keystone()))
    first = (machine.root / "opt/retrofit/current").resolve()
    machine.answer("pip", "install", exit_code=1, stderr="no room\n")
    out = context.run(context.on.upgrade_charm(), state(keystone(), bundle=machine.bundle("two")))
    said = "upgrade failed: pip failed with exit code 1: no room"
    assert status(out) == ("blocked", said)
    assert machine.scheduled
    assert (machine.root / "opt/retrofit/current").resolve() == first
    assert (first / "bin/retrofit").exists()
    context.run(context.on.action("status"), state(keystone(), bundle=machine.bundle("two")))
    assert len(machine.environments("retrofit-charm-action")) == 1


def test_stop_and_remove_leave_nothing_but_logs(context: Any, machine: Machine, state: Any) -> None:
    context.run(context.on.install(), state(keystone()))
    for name in ("lib", "log"):
        (machine.root / "var" / name / "retrofit").mkdir(parents=True)
    context.run(context.on.stop(), state(keystone()))
    assert not machine.scheduled
    machine.forget()
    context.run(context.on.remove(), state())
    assert f"install --remove --force --root {machine.root}" in machine.calls("retrofit-scheduler")
    left = {str(path.relative_to(machine.root)) for path in machine.root.rglob("*retrofit*")}
    assert left == {"var/log/retrofit"}


def test_a_removal_leaves_what_is_not_ours(context: Any, machine: Machine, state: Any) -> None:
    context.run(context.on.install(), state(keystone()))
    ours = ("lib/retrofit/.retrofit", "lib/retrofit/targets/default/history.json",
            "cache/retrofit/.retrofit", "cache/retrofit/packages/ubuntu-noble-amd64/a_1_all.deb",
            "lib/retrofit/work/.retrofit")  # fmt: skip
    theirs = ("var/lib/retrofit/invoices/2026.pdf", "var/cache/retrofit/notes", "etc/retrofit/mine",
              "opt/retrofit/mine/tool", "var/lib/retrofit/work/mirror/Release")  # fmt: skip
    for name in (*(f"var/{name}" for name in ours), *theirs):
        (machine.root / name).parent.mkdir(parents=True, exist_ok=True)
        (machine.root / name).write_text("{}")
    (machine.root / "var/lib/retrofit/work/default").mkdir()
    context.run(context.on.upgrade_charm(), state(keystone(), bundle=machine.bundle("two")))
    context.run(context.on.stop(), state(keystone()))
    context.run(context.on.remove(), state())
    left = {
        str(path.relative_to(machine.root))
        for path in machine.root.rglob("*")
        if path.is_file() and "retrofit" in str(path.relative_to(machine.root).parent)
    }
    assert left == set(theirs)
    assert not (machine.root / "var/lib/retrofit/work/default").exists()


ACTIONS = {
    "retrofit-image": {"source-image": "", "force": True},
    "status": {},
    "rollback": {"image": ""},
    "rollover": {"dry-run": False, "resume": False, "reason": "a fix"},
    "pause": {"reason": "moving racks"},
    "resume": {},
}


@pytest.mark.parametrize("name", MANIFEST["actions"])
def test_action_is_done_by_retrofit_which_tells_juju(
    context: Any, machine: Machine, state: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # As a packed charm's dispatch sets them: another Python would find the charm's libraries.
    monkeypatch.setenv("PYTHONPATH", "/var/lib/juju/agents/unit-retrofit-0/charm/lib")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/var/lib/juju/agents/unit-retrofit-0/charm/lib")
    monkeypatch.setenv("JUJU_CONTEXT_ID", "retrofit/0-run-action-1")
    out = context.run(context.on.action(name, params=ACTIONS[name]), state(keystone()))
    (seen,) = machine.environments("retrofit-charm-action")
    assert seen == {
        "JUJU_ACTION_NAME": name,
        "JUJU_CONTEXT_ID": "retrofit/0-run-action-1",
        "RETROFIT_CONFIG": str(machine.root / "etc/retrofit/retrofit.toml"),
    }
    assert out.unit_status.name == "active"


@pytest.mark.parametrize("name", MANIFEST["actions"])
def test_action_fails_where_the_unit_is_not_ready(
    context: Any, machine: Machine, state: Any, name: str
) -> None:
    with pytest.raises(testing.ActionFailed) as failed:
        context.run(context.on.action(name, params=ACTIONS[name]), state())
    said = "the unit is not ready: missing relation identity-credentials"
    assert failed.value.message == said
    assert machine.calls("retrofit-charm-action") == []


def test_action_that_could_not_tell_juju_has_failed(
    context: Any, machine: Machine, state: Any
) -> None:
    machine.answer("retrofit-charm-action", "", exit_code=2)
    with pytest.raises(testing.ActionFailed) as failed:
        context.run(context.on.action("status"), state(keystone()))
    assert failed.value.message == "retrofit-charm-action ended with exit code 2"


def test_update_status_tells_how_it_stands_now(context: Any, machine: Machine, state: Any) -> None:
    context.run(context.on.config_changed(), state(keystone()))
    error = {"code": "build", "message": "no room", "hint": None}
    machine.stands({**STANDING, "state": "failed", "last_run": {"error": error}})
    out = context.run(context.on.update_status(), state(keystone()))
    said = "last run failed: no room; amphora image 3 days old (noble 20260911)"
    assert status(out) == ("blocked", said)
    machine.answer(
        "retrofit", "--output json status", exit_code=2, stderr="error: no such cloud\nhint: x\n"
    )
    out = context.run(context.on.update_status(), state(keystone()))
    assert status(out) == ("waiting", "retrofit does not answer: no such cloud")
    machine.stands({"target": "default"})
    out = context.run(context.on.update_status(), state(keystone()))
    assert status(out)[0] == "blocked"
    assert out.unit_status.message.startswith("retrofit's answer is not understood")
