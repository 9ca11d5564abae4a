"""What a plan shows of the control plane before a build, and what a run keeps of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrofit.control_plane.expectation import findings, inferred
from retrofit.model import Verdict
from retrofit.verify.boot.certificates import (
    GUIDE_NAME,
    Identity,
    authority,
    guide_authority,
    issued,
    issued_by_guide,
)
from retrofit.verify.checks import Record
from retrofit.verify.control_plane.language import add
from retrofit.verify.request import VerifyRequest
from tests.integration.harness import RETENTION_AT_ONCE, TAG, CloudHarness

RESOLUTE = "com.ubuntu.cloud:server:26.04:amd64"


def written(directory: Path, *, guide: bool) -> Identity:
    """Write an octavia.conf and the files that it names; returns the controller's identity."""
    ca = guide_authority() if guide else authority("CA")
    client = issued_by_guide(ca, GUIDE_NAME) if guide else issued(ca, "controller")
    (directory / "ca.pem").write_bytes(ca.certificate_pem)
    (directory / "client.pem").write_bytes(client.pem)
    (directory / "octavia.conf").write_text(
        f"[controller_worker]\namp_image_tag = octavia-amphora\nclient_ca = {directory}/ca.pem\n"
        f"[haproxy_amphora]\nclient_cert = {directory}/client.pem\n"
    )
    return client


@pytest.fixture
def controller(harness: CloudHarness, tmp_path: Path) -> Path:
    """A directory for the control plane's files, which the configuration names."""
    directory = tmp_path / "controller"
    directory.mkdir()
    harness.toml = (
        f'{RETENTION_AT_ONCE}[source]\nseries = ["resolute", "noble"]\n[octavia]\n'
        f'query = "never"\nrelease = "2025.2"\nconfig_file = "{directory}/octavia.conf"\n'
    )
    harness.source("20260911", product=RESOLUTE)
    return directory


def about_certificates(harness: CloudHarness) -> list[str]:
    notes: list[str] = harness.read("plan")["notes"]
    return [each for each in notes if "client certificate (" in each]


def test_a_plan_warns_of_certificates_before_a_build_and_names_series_that_pass(
    harness: CloudHarness, controller: Path
) -> None:
    written(controller, guide=True)
    (warning,) = about_certificates(harness)
    assert "Python 3.14 of resolute" in warning
    assert "CA cert does not include key usage extension" in warning
    assert "of the configured series noble would pass" in warning
    assert "openssl verify -x509_strict" in warning
    assert "client certificate (" in harness.retrofit("plan").stdout.replace("\n", " ")


def test_a_plan_is_silent_about_certificates_that_every_python_accepts(
    harness: CloudHarness, controller: Path
) -> None:
    written(controller, guide=False)
    assert about_certificates(harness) == []


def test_a_plan_warns_of_certificates_that_cannot_be_read(
    harness: CloudHarness, controller: Path
) -> None:
    written(controller, guide=False)
    (controller / "ca.pem").unlink()
    notes = harness.read("plan")["notes"]
    (warning,) = [each for each in notes if "are not known" in each]
    assert f"{controller}/ca.pem cannot be read: No such file" in warning


def test_the_controllers_key_is_in_nothing_that_a_run_says_or_leaves(
    harness: CloudHarness, controller: Path, tmp_path: Path
) -> None:
    client = written(controller, guide=True)
    # A boot decides, and not what is known of the series: else no run gets that far.
    harness.toml += '[verify]\nlevel = "offline"\n'
    run = harness.retrofit("--verbose", "run-once")
    plan = harness.retrofit("--verbose", "plan", "-o", "json")
    secret = [line for line in client.key_pem.decode().splitlines() if "-----" not in line]
    said = [run.stdout, run.stderr, plan.stdout, plan.stderr]
    left = [
        file.read_bytes().decode(errors="replace")
        for file in tmp_path.rglob("*")
        if file.is_file() and file.parent != controller
    ]
    assert len(left) > 5
    assert not any(line in text for line in secret for text in (*said, *left))


def test_a_refused_image_is_not_promoted_and_its_hint_names_the_ways_out(
    harness: CloudHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judged(request: VerifyRequest) -> Verdict:
        """Judge as a boot of an image with HAProxy 3.0 does, without it."""
        expected, record = request.control_plane, Record()
        assert expected is not None
        add(findings(expected, inferred(expected, "3.0.11"), proven=True), record)
        return Verdict(checks=tuple(record.checks), how="full-tcg", facts={})

    monkeypatch.setattr(harness.fake_builder, "verify", judged)
    # HAProxy 2.4 of jammy takes what is asked: what is known of the series ends no run before.
    harness.source("20260911", product="com.ubuntu.cloud:server:22.04:amd64")
    harness.toml = f'{RETENTION_AT_ONCE}[octavia]\nquery = "never"\nrelease = "2025.1"\n'
    error = harness.retrofit("run-once", "-o", "json", exit_code=6).document["error"]
    assert "haproxy-takes-2025.1-http-monitor: octavia 2025.1 (octavia.release)" in error["message"]
    for way_out in ("upgrade the control plane", "source.series", "build.cloud_archive"):
        assert error["hint"].count(way_out) == 1
        assert way_out not in error["message"]
    assert harness.tagged(TAG) == set()
    harness.toml = harness.toml.replace("2025.1", "2025.2")
    report = harness.act("run-once", "--force")
    assert harness.tagged(TAG) == {report["image_id"]}
