"""The least rights that docs/how-to/rollover.md names, with both defaults of Octavia's policy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.devcloud.accounts import REGION
from tests.devcloud.fixtures import Devcloud
from tests.integration.harness import CloudHarness
from tests.integration.rollover_site import RolloverSite, rollover_site

GUIDE = Path(__file__).resolve().parents[2] / "docs/how-to/rollover.md"
API = "os_load-balancer_api:"
ROLE = "amphora-rollover"
OLD_DEFAULTS = "enforce_new_defaults = false\nenforce_scope = false\n"


def policy() -> dict[str, str]:
    """The policy file that the guide shows, with what it names after that."""
    (block,) = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    rules: dict[str, str] = yaml.safe_load(block)
    for kind in ("listener", "pool", "healthmonitor", "l7policy"):
        for rule in ("get_all", "get_all-global"):
            rules[f"{API}{kind}:{rule}"] = rules[f"{API}loadbalancer:{rule}"]
    return rules


@contextmanager
def with_role(devcloud: Devcloud, name: str) -> Iterator[None]:
    """Give retrofit's own user a role in its project, for the length of the block."""
    admin, url = devcloud.session(devcloud.admin_cloud), f"{devcloud.keystone_url}/v3"
    own = devcloud.session()
    role = admin.post(f"{url}/roles", json={"role": {"name": name}}).json()["role"]["id"]
    place = f"{url}/projects/{own.get_project_id()}/users/{own.get_user_id()}/roles/{role}"
    admin.put(place)
    try:
        yield
    finally:
        admin.delete(f"{url}/roles/{role}")


@contextmanager
def octavia_with(devcloud: Devcloud, harness: CloudHarness, conf: str) -> Iterator[RolloverSite]:
    """Octavia with a policy of its own, asked by retrofit's own user."""
    with rollover_site(devcloud, harness, conf_extra=f"\n[oslo_policy]\n{conf}") as site:
        harness.toml = harness.toml.replace('cloud = "demo-admin"', 'cloud = "demo"')
        yield site


def behind(site: RolloverSite) -> str:
    """Have a load balancer that is to be moved; returns the image that it is to be moved to."""
    site.promote("20260801", days=5)
    site.build(1, 0)
    return site.promote("20260911")


def moves(site: RolloverSite) -> None:
    """Roll one load balancer over."""
    newer = behind(site)
    assert site.roll()["outcome"] == "rolled_over"
    assert site.images() == {"single-0": {newer}}


@pytest.mark.slow
def test_a_role_of_its_own_is_enough_since_2025_1(
    devcloud: Devcloud, harness: CloudHarness, tmp_path: Path
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(policy()))
    with (
        with_role(devcloud, ROLE),
        octavia_with(devcloud, harness, f"policy_file = {file}\n") as site,
    ):
        moves(site)


@pytest.mark.slow
def test_load_balancer_admin_is_enough_up_to_2024_2(
    devcloud: Devcloud, harness: CloudHarness
) -> None:
    with (
        with_role(devcloud, "load-balancer_admin"),
        octavia_with(devcloud, harness, OLD_DEFAULTS) as site,
    ):
        moves(site)


@contextmanager
def restricted(devcloud: Devcloud, *left_out: str) -> Iterator[str]:
    """Name an application credential of retrofit's own user, with the access rules of the guide.

    `left_out` are methods of which it has none.
    """
    (block,) = re.findall(r"```json\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    rules = [each for each in json.loads(block) if each["method"] not in left_out]
    own, file = devcloud.session(), devcloud.running.clouds_yaml
    url = f"{devcloud.keystone_url}/v3/users/{own.get_user_id()}/application_credentials"
    wanted = {"name": "retrofit", "access_rules": rules}
    made = own.post(url, json={"application_credential": wanted}).json()["application_credential"]
    before = file.read_text()
    entry = {
        "auth_type": "v3applicationcredential",
        "auth": {
            "auth_url": f"{devcloud.keystone_url}/v3",
            "application_credential_id": made["id"],
            "application_credential_secret": made["secret"],
        },
        "region_name": REGION,
    }
    document = yaml.safe_load(before)
    file.write_text(yaml.safe_dump({"clouds": {**document["clouds"], "restricted": entry}}))
    try:
        yield "restricted"
    finally:
        file.write_text(before)
        own.delete(f"{url}/{made['id']}")


def test_an_application_credential_with_these_rules_runs_and_rolls_over(
    devcloud: Devcloud, harness: CloudHarness
) -> None:
    with (
        with_role(devcloud, "load-balancer_admin"),
        octavia_with(devcloud, harness, OLD_DEFAULTS) as site,
        restricted(devcloud) as account,
    ):
        harness.account = account
        harness.toml = harness.toml.replace('cloud = "demo"', f'cloud = "{account}"')
        harness.source("20260911")
        assert harness.act("run-once")["outcome"] == "published"
        moves(site)
        harness.act("rollback", "--yes")
        harness.retrofit("doctor")


@pytest.mark.slow
def test_one_without_the_failover_is_refused_before_anything_moves(
    devcloud: Devcloud, harness: CloudHarness
) -> None:
    with (
        with_role(devcloud, "load-balancer_admin"),
        octavia_with(devcloud, harness, OLD_DEFAULTS) as site,
    ):
        behind(site)
        with restricted(devcloud, "PUT") as account:
            harness.toml = harness.toml.replace('cloud = "demo"', f'cloud = "{account}"')
            told = harness.retrofit("rollover", "--yes", exit_code=None)
        assert told.exit_code in {3, 8}
        assert site.accepted().total() == 0


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["amphora:get_stats", "loadbalancer:put_failover"])
def test_a_refusal_names_the_rule_that_is_missing(
    devcloud: Devcloud, harness: CloudHarness, tmp_path: Path, rule: str
) -> None:
    rules = {name: text for name, text in policy().items() if name != f"{API}{rule}"}
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(rules))
    with (
        with_role(devcloud, ROLE),
        octavia_with(devcloud, harness, f"policy_file = {file}\n") as site,
    ):
        behind(site)
        told = site.harness.retrofit("rollover", "--yes", exit_code=None)
        assert told.exit_code in {3, 8}
        assert f"{API}{rule}" in told.stdout + told.stderr
        assert site.accepted().total() == 0
