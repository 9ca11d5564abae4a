"""The actions of the charm, as Juju calls them, against a real Keystone and Glance.

Doubles are Juju's four tools, and in runs disk-image-create and QEMU (see worker_site).
"""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from retrofit.operations import run as operation
from scheduler.juju import action as juju_action
from tests.devcloud import accounts
from tests.integration import worker_site
from tests.integration.harness import CloudHarness, days_ago
from tests.integration.juju_tools import PATIENCE, SCRIPT, JujuTools, Told
from tests.integration.worker_site import eventually

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.append(str(CHECKOUT / "charm" / "src"))

import keystone  # noqa: E402  (the charm's)
import options  # noqa: E402
from unit_status import unit_status  # noqa: E402

ACTION = (sys.executable, "-m", "tests.integration.test_charm_action")
"""The entry point, with a builder and a verifier that do no work."""
CHARM = CHECKOUT / "charm" / "charmcraft.yaml"


def with_doubles(run_targets: Any) -> Any:
    return functools.partial(run_targets, build=worker_site._build, verify=worker_site._verify)


@pytest.fixture
def juju(tmp_path: Path) -> JujuTools:
    builds = tmp_path / "builds"
    builds.mkdir()
    return JujuTools(directory=tmp_path / "tools", environment={"BUILDS": str(builds)})


@pytest.fixture
def unit(harness: CloudHarness, juju: JujuTools) -> CloudHarness:
    juju.environment["RETROFIT_CONFIG"] = str(harness.config)
    return harness


@pytest.fixture
def here(juju: JujuTools) -> Callable[..., Told]:
    """Run an action in this process: what it imports is imported once."""

    def run(action: str, **parameters: Any) -> Told:
        given = {key.replace("_", "-"): value for key, value in parameters.items()}
        with pytest.MonkeyPatch.context() as patched:
            for name, value in juju.env(action, given).items():
                patched.setenv(name, value)
            patched.setattr(operation, "run_targets", with_doubles(operation.run_targets))
            juju_action.act(action)
        told = juju.told()
        assert told.refused == []
        return told

    return run


@pytest.fixture
def two_targets(juju: JujuTools, tmp_path: Path) -> None:
    config = tmp_path / "retrofit.toml"
    config.write_text('[target.noble]\n[target.jammy.publish]\ntag = "octavia-jammy"\n')
    juju.environment["RETROFIT_CONFIG"] = str(config)


def test_actions_are_those_of_the_charm() -> None:
    declared = yaml.safe_load(CHARM.read_text())["actions"]
    assert set(juju_action.ACTIONS) == set(declared)


def test_retrofit_image_publishes_and_says_what_it_did(unit: CloudHarness, juju: JujuTools) -> None:
    source = unit.source("20260911")
    before = unit.promoted("20260801", days=30)
    told = juju.run("retrofit-image", *ACTION, source_image="", force=False)
    assert (told.exit_code, told.failed, told.stderr) == (0, None, "")
    results = told.results
    assert (results["outcome"], results["target"]) == ("published", "default")
    assert (results["source-image"], results["source-version"]) == (source, "20260911")
    assert results["image-id"] == results["promoted"] == unit.octavia()
    assert results["demoted"] == before
    assert results["verification"] == "full-tcg: 1 passed"
    assert results["error-code"] == results["error-message"] == ""
    assert json.loads((Path(results["log-dir"]) / "report.json").read_text())["outcome"]
    assert (Path(results["log-dir"]) / "events.jsonl").exists()
    for line in ("build decided: ", f"image promoted: image_id={results['image-id']}", "run ended"):
        assert any(said.startswith(line) for said in told.log), told.log


def test_force_builds_what_is_current(unit: CloudHarness, here: Any) -> None:
    unit.source("20260911")
    first = here("retrofit-image", source_image="", force=False).results
    again = here("retrofit-image", source_image="", force=False)
    assert (again.results["outcome"], again.failed) == ("unchanged", None)
    assert "is promoted and current" in again.results["reasons"]
    forced = here("retrofit-image", source_image="", force=True).results
    assert forced["outcome"] == "published"
    assert forced["image-id"] != first["image-id"]


def test_retrofit_image_takes_the_source_that_is_named(unit: CloudHarness, here: Any) -> None:
    older = unit.source("20260801")
    unit.source("20260911")
    told = here("retrofit-image", source_image=older, force=False)
    assert (told.failed, told.results["source-image"]) == (None, older)
    assert unit.image(unit.octavia())["source_version_name"] == "20260801"


def test_failed_run_tells_juju_why_and_what_to_do(unit: CloudHarness, juju: JujuTools) -> None:
    told = juju.run("retrofit-image", source_image="", force=False)
    assert told.exit_code == 0  # or Juju shows "exit status 4" instead of the message
    assert told.failed is not None
    assert "looked for series noble, jammy" in told.failed
    assert "(hint: " in told.failed
    assert (told.results["outcome"], told.results["error-code"]) == ("failed", "source")
    assert told.results["error-message"] in told.failed


def test_status_without_and_with_an_image(unit: CloudHarness, here: Any, juju: JujuTools) -> None:
    told = here("status")
    assert told.failed is None
    assert (told.results["state"], told.results["image-id"]) == ("never_run", "")
    made = unit.promoted("20260911", days=3)
    told = juju.run("status")
    assert (told.exit_code, told.failed, told.stderr) == (0, None, "")
    assert told.results["image-id"] == told.results["octavia-image"] == made
    assert told.results["image-age-days"] == "3.0"
    assert (told.results["source-version"], told.results["paused"]) == ("20260911", "no")


def test_status_fails_where_the_cloud_does_not_answer(
    harness: CloudHarness, juju: JujuTools, here: Any
) -> None:
    clouds = yaml.safe_load(harness.site.clouds_yaml.read_text())
    clouds["clouds"]["demo"]["auth"]["password"] = "wrong"
    (harness.directory / "clouds.yaml").write_text(yaml.safe_dump(clouds))
    text = harness.config.read_text().replace(
        str(harness.site.clouds_yaml), str(harness.directory / "clouds.yaml")
    )
    (harness.directory / "wrong.toml").write_text(text)
    juju.environment["RETROFIT_CONFIG"] = str(harness.directory / "wrong.toml")
    told = here("status")
    assert told.failed is not None
    assert "Keystone refuses the credentials" in told.failed
    assert (told.results["state"], told.results["error-code"]) == (
        "cloud_unreachable",
        "cloud-denied",
    )


def test_rollback_goes_back_and_says_when_it_cannot(unit: CloudHarness, here: Any) -> None:
    older = unit.former("20260801", days=9)
    newer = unit.promoted("20260911", days=1)
    told = here("rollback", image="")
    assert told.failed is None
    assert (told.results["outcome"], told.results["image-id"]) == ("promoted", older)
    assert told.results["demoted"] == newer
    assert unit.octavia() == older
    told = here("rollback", image="")
    assert told.failed is not None
    assert "no older image to go back to" in told.failed
    assert told.results["error-code"] == "publish"
    assert unit.octavia() == older


def test_pause_keeps_runs_back_until_resume(unit: CloudHarness, here: Any) -> None:
    unit.promoted("20260801", days=9)
    unit.source("20260911")
    told = here("pause", reason="moving racks", until="12h")
    assert (told.failed, told.results["paused"]) == (None, "yes")
    assert told.results["seen-by"] == "all machines"
    assert told.results["paused-until"].startswith(str(days_ago(-0.5))[:10])
    told = here("retrofit-image", source_image="", force=True)
    assert (told.failed, told.results["outcome"]) == (None, "paused")
    assert "by retrofit/0@" in told.results["reasons"]
    assert "moving racks" in told.results["reasons"]
    told = here("resume")
    assert (told.failed, told.results["paused"]) == (None, "no")
    assert told.results["was-paused-reason"] == "moving racks"
    told = here("resume")
    assert (told.failed, told.results["was-paused-reason"]) == (None, "")


def test_what_keystone_tells_the_charm_opens_the_cloud(
    harness: CloudHarness, juju: JujuTools, here: Any
) -> None:
    """From relation data and the charm's default options to an answer of the real cloud."""
    account = next(each for each in accounts.ACCOUNTS if each.cloud == harness.site.cloud)
    known = accounts.auth_of(account, harness.site.keystone_url)
    url = urlsplit(harness.site.keystone_url)
    found = keystone.credentials(
        [
            {
                "auth_host": str(url.hostname),
                "auth_port": str(url.port),
                "auth_protocol": url.scheme,
                "credentials_username": known["username"],
                "credentials_password": known["password"],
                "credentials_project": known["project_name"],
                "credentials_user_domain_name": known["user_domain_name"],
                "credentials_project_domain_name": known["project_domain_name"],
                "domain": known["user_domain_name"],
                "region": f"{accounts.REGION} Elsewhere",
                "api_version": "3",
            }
        ]
    )
    assert found is not None
    clouds = harness.directory / "clouds.yaml"
    ca_file = harness.directory / "ca.pem"
    ca_file.touch()
    clouds.write_text(
        yaml.safe_dump(found.clouds_yaml(ca_file=str(ca_file), region=None, interface="public"))
    )
    made = harness.promoted("20260911", days=3)
    declared = yaml.safe_load(CHARM.read_text())["config"]["options"]
    document = options.settings(
        {name: option["default"] for name, option in declared.items()},
        clouds_yaml=str(clouds),
        scheduled=True,
        environment={},
    )
    paths = {name: str(harness.path(name)) for name in ("state", "cache", "work", "logs")}
    config = harness.directory / "charm.toml"
    config.write_text(options.toml({**document, "paths": paths}))
    juju.environment["RETROFIT_CONFIG"] = str(config)
    told = here("status")
    assert (told.failed, told.results["image-id"]) == (None, made)
    assert told.results["octavia-image"] == made


def test_unit_status_understands_what_retrofit_says(harness: CloudHarness) -> None:
    def said(*, leader: bool = True, exit_code: int = 0) -> tuple[str, str]:
        document = harness.retrofit("status", "-o", "json", exit_code=exit_code).document
        return unit_status(document, leader=leader, auto=True)

    assert said() == ("waiting", "no amphora image yet: waiting for the first run")
    harness.retrofit("run-once", exit_code=4)
    kind, text = said()
    assert kind == "blocked"
    assert text.startswith("no amphora image is promoted: no load balancer can start")
    assert "; last run failed: " in text
    harness.source("20260911")
    harness.retrofit("run-once")
    assert said() == ("active", "amphora image 0 hours old (noble 20260911)")
    harness.retrofit("pause", "--reason", "moving racks")
    assert said()[1].startswith("paused: moving racks; amphora image ")
    harness.toml = '[target.a]\n[target.b.publish]\ntag = "b"\n'
    kind, text = said()
    assert kind == "waiting"
    assert text.startswith("a: no amphora image yet")


@pytest.mark.sampled(1)
@pytest.mark.parametrize("how", ["told to stop", "parent killed"])
def test_stops_through_every_cleanup(unit: CloudHarness, juju: JujuTools, how: str) -> None:
    """`juju cancel-task` kills the charm's process, which passes nothing on."""
    before = unit.promoted("20260801", days=9)
    unit.source("20260911")
    builds = Path(juju.environment["BUILDS"])
    (builds / "gate").touch()
    command: tuple[str, ...] = ACTION
    if how == "parent killed":
        command = ("/bin/sh", "-c", '"$@"; true', "sh", *ACTION)
    with juju.started("retrofit-image", *command, source_image="", force=False) as process:
        eventually((builds / "record").exists, "a build")
        if how == "told to stop":
            process.send_signal(signal.SIGTERM)
            _, stderr = process.communicate(timeout=PATIENCE)
            assert (process.returncode, stderr) == (0, "")
        else:
            process.send_signal(signal.SIGKILL)
            process.wait()
        eventually(lambda: juju.told().failed, "action-fail")
    told = juju.told()
    assert told.failed is not None
    assert "interrupted during build" in told.failed
    assert told.results["error-code"] == "interrupted"
    record = [line.split()[0] for line in (builds / "record").read_text().splitlines()]
    assert record == ["begun", "cleaned"]
    assert not any((unit.path("work") / "default").iterdir())
    assert unit.octavia() == before
    assert len([image for image in unit.everything().values() if "retrofit_run_id" in image]) == 1


def test_run_goes_on_when_juju_does_not_hear(unit: CloudHarness, juju: JujuTools) -> None:
    unit.source("20260911")
    builds = Path(juju.environment["BUILDS"])
    (builds / "gate").touch()
    with juju.started("retrofit-image", *ACTION, source_image="", force=False) as process:
        eventually((builds / "record").exists, "a build")
        (juju.directory / "deaf").touch()
        (builds / "gate").unlink()
        _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "error: Juju's action tools fail: action-set failed" in stderr
    assert "Traceback" not in stderr
    assert unit.octavia() is not None


def test_by_hand_it_says_who_may_call_it(juju: JujuTools) -> None:
    env = {**juju.env("status", {}), "JUJU_CONTEXT_ID": ""}
    finished = subprocess.run(
        [SCRIPT], env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert finished.returncode == 2
    assert "JUJU_CONTEXT_ID not set" in finished.stderr
    assert "hint: only Juju calls this program" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize(
    ("action", "given", "said"),
    [
        ("retrofit-image", {"sourceimage": "x"}, "has no parameter sourceimage"),
        ("retrofit-image", {"force": "yes"}, "force of action retrofit-image is 'yes'"),
        ("retrofit-image", {"target": "noble", "source_image": "jammy"}, "id of an image"),
        ("retrofit-image", {"source_image": str(days_ago(0))}, "id of an image"),
        ("retrofit-image", {"target": "xenial"}, "there is no target xenial"),
        (
            "rollback",
            {"target": "noble", "image": 7},
            "image of action rollback is 7, expected a string",
        ),
        ("rollback", {}, "rollback is for one target, there are noble, jammy"),
        ("rollback", {"target": "noble", "image": "--x"}, "id of an image"),
        ("pause", {"reason": " "}, "a pause needs a reason"),
        ("pause", {"reason": "x", "until": "yesterday"}, "neither a time nor a duration"),
        ("pause", {"reason": "x", "until": "2020-01-01"}, "is in the past"),
        ("status", {"verbose": True}, "has no parameter verbose"),
        ("resume", {"target": []}, "expected a string"),
        ("restart", {}, "there is no action 'restart'"),
    ],
)
def test_wrong_parameters_are_refused_by_name(
    two_targets: None, here: Any, action: str, given: dict[str, Any], said: str
) -> None:
    told = here(action, **given)
    assert told.failed is not None
    assert said in told.failed
    assert "(hint: " in told.failed
    assert (told.results["outcome"], told.results["error-code"]) == ("failed", "config")


def test_source_image_is_for_one_target(two_targets: None, here: Any) -> None:
    image = "7f3c4fd5-6a4d-4f3b-9d7e-0a8e0c3c9a11"
    told = here("retrofit-image", source_image=image)
    assert told.failed is not None
    assert "source-image is for one target" in told.failed
    assert "target=NAME" in told.failed


def test_broken_configuration_is_told(two_targets: None, here: Any, tmp_path: Path) -> None:
    (tmp_path / "retrofit.toml").write_text("[publish]\nkeeep = 3\n")
    told = here("status")
    assert told.failed is not None
    assert "did you mean 'keep'?" in told.failed


def test_bug_is_told_as_one_and_leaves_a_traceback(
    two_targets: None,
    here: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(_given: Any) -> Any:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setitem(juju_action.ACTIONS, "status", broken)  # type: ignore[arg-type]
    told = here("status")
    hint = "internal error, please report"
    assert told.failed == f"ZeroDivisionError: division by zero (hint: {hint})"
    assert "Traceback" in capsys.readouterr().err


def main() -> None:
    """Be the entry point, with doubles for the two workers."""
    operation.run_targets = with_doubles(operation.run_targets)  # type: ignore[attr-defined]
    juju_action.main()


if __name__ == "__main__":
    main()
