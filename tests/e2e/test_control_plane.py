"""A booted image against control planes: what is refused, what is promoted, and who agrees.

One boot for each operating system serves all cases: releases are asked of the machine that runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from retrofit.control_plane.certificates import Certificates, Client, is_strict, judged
from retrofit.control_plane.expectation import Expectation, findings
from retrofit.control_plane.releases import ControlPlane
from retrofit.model import Verdict
from retrofit.system import process
from retrofit.system.certificate_file import read_certificates
from retrofit.verify.boot.amphora import Amphora, running
from retrofit.verify.boot.checks.agent import answers
from retrofit.verify.boot.checks.control_plane import is_asked, judges_guides_certificates
from retrofit.verify.boot.client import client_of, judge
from retrofit.verify.boot.config_drive import AGENT_PORT
from retrofit.verify.boot.network import MANAGEMENT
from retrofit.verify.boot.trial import Trial
from retrofit.verify.checks import Record
from retrofit.verify.control_plane.language import add
from retrofit.verify.request import VerifyRequest
from tests.component.control_plane.test_certificates import SAMPLE, SYSTEM_CONF, make
from tests.devcloud.fixtures import Devcloud
from tests.devcloud.octavia import ImageManager
from tests.devcloud.octavia_api import Octavia
from tests.devcloud.stock import Layout
from tests.e2e.amphora_images import amphora_image
from tests.e2e.test_verify_boot import CLIENT, CLIENT_SECONDS, OCTAVIA_PYTHON, examined
from tests.integration.harness import RETENTION_AT_ONCE, TAG, CloudHarness

pytestmark = pytest.mark.slow
PYTHONS: dict[Layout, str] = {"noble": "3.13", "jammy": "3.11"}
"""Of Debian trixie and bookworm, which these images are."""
WAYS = ("guide", "sample")
ASKED = "haproxy-takes-2025.1-http-monitor"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine that runs, whose agent trusts CAs that are made in both ways."""

    amphora: Amphora
    request: VerifyRequest
    certificates: Path

    def files(self, way: str) -> tuple[Path, Path]:
        return self.certificates / way / "ca.pem", self.certificates / way / "client.pem"


@contextmanager
def booted(layout: Layout, directory: Path) -> Iterator[Machine]:
    """Boot an image of a layout, whose agent is the distribution's or, for bookworm, PyPI's."""
    trusted = ""
    for way in WAYS:
        place = directory / way
        place.mkdir(parents=True)
        conf = SYSTEM_CONF
        if way == "sample":
            conf = place / "openssl.cnf"
            conf.write_text(SAMPLE)
        make(place, conf)
        trusted += "".join(read_certificates(place / "ca.pem"))
    certificates = Certificates(
        source="of the test", client=Client(ca=trusted.encode(), shown=b"", keyless=True)
    )
    request = replace(
        examined(directory),
        image=amphora_image("distro" if layout == "noble" else "pypi", layout),
        control_plane=Expectation(plane=ControlPlane(how="unknown"), certificates=certificates),
    )
    with running(request) as amphora:
        answers(Trial(amphora, request, full=False))
        yield Machine(amphora=amphora, request=request, certificates=directory)


@pytest.fixture(scope="module")
def machines(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Layout], Machine]]:
    """Boot a layout when it is first asked for."""

    with ExitStack() as stack:
        made: dict[Layout, Machine] = {}

        def machine(layout: Layout) -> Machine:
            if layout not in made:
                directory = tmp_path_factory.mktemp(layout)
                made[layout] = stack.enter_context(booted(layout, directory))
            return made[layout]

        yield machine


def octavias_answer(machine: Machine, way: str, directory: Path) -> str:
    """How Octavia's own client fares with a certificate and its key: `served`, or its error."""
    server_ca = directory / "server-ca.pem"
    server_ca.write_bytes(machine.amphora.credentials.server_ca.certificate_pem)
    errand = {
        "greet": True,
        "amphora_id": machine.amphora.id,
        "address": MANAGEMENT.theirs,
        "port": AGENT_PORT,
        "client_cert": str(machine.files(way)[1]),
        "server_ca": str(server_ca),
        "net_info": {"vrrp_ip": "192.0.2.1"},
    }
    said = process.run(
        machine.amphora.namespace.command([str(OCTAVIA_PYTHON), "-W", "ignore", str(CLIENT)]),
        timeout=CLIENT_SECONDS,
        stdin=json.dumps(errand).encode(),
    )
    answer = json.loads(said.stdout)
    return "served" if "version" in answer else str(answer["error"])


@pytest.mark.parametrize("layout", PYTHONS)
@pytest.mark.parametrize("way", WAYS)
def test_octavias_own_client_meets_what_the_guard_predicts(
    machines: Callable[[Layout], Machine], layout: Layout, way: str, tmp_path: Path
) -> None:
    machine = machines(layout)
    ca, certificate = machine.files(way)
    client = client_of(read_certificates(ca), read_certificates(certificate))
    certificates = Certificates(source=str(ca), client=client, judgement=judge(client))
    predicted = certificates.refusal(strict=is_strict(PYTHONS[layout]))
    assert (predicted is not None) == (way == "guide" and layout == "noble")

    # The agent, by somebody without the key; Octavia, with it.
    refusal = machine.amphora.agent.refusal_of(client)
    octavias = octavias_answer(machine, way, tmp_path)
    print(f"\n{layout} {way}: predicted {predicted}, agent {refusal}, Octavia's client {octavias}")
    assert (refusal is None) == (predicted is None)
    assert octavias == ("served" if predicted is None else "TimeOutException")
    found = judged(certificates, refusal, guard="refuse", proven=True)
    assert found.outcome == ("passed" if predicted is None else "failed")
    guides = judges_guides_certificates(
        Trial(machine.amphora, replace(machine.request, control_plane=None), full=False)
    )
    assert guides.startswith("refused" if layout == "noble" else "accepted")


@pytest.fixture
def promoting(
    clean_glance: Devcloud,
    tmp_path: Path,
    tiny_image: Callable[..., Path],
    machines: Callable[[Layout], Machine],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[CloudHarness]:
    """A cloud whose runs verify by asking the running machine for their control plane."""
    machine = machines("noble")

    def asking(request: VerifyRequest) -> Verdict:
        record = Record()
        trial = Trial(machine.amphora, request, full=False)
        record.attempt("control-plane-asked", lambda: is_asked(trial))
        assert request.control_plane is not None
        add(findings(request.control_plane, trial.language, proven=True), record)
        return Verdict(checks=tuple(record.checks), how="boot-tcg", facts={})

    with ImageManager(clean_glance.running) as manager:
        harness = CloudHarness(
            site=clean_glance, manager=manager, directory=tmp_path, make_image=tiny_image
        )
        monkeypatch.setattr(harness.fake_builder, "verify", asking)
        harness.source("20260911")
        yield harness


def settings(octavia: str) -> str:
    return f'{RETENTION_AT_ONCE}[verify]\nlevel = "boot"\n[octavia]\n{octavia}'


def test_the_release_decides_whether_the_same_image_is_promoted(promoting: CloudHarness) -> None:
    promoting.toml = settings('release = "2025.1"\n')
    error = promoting.retrofit("run-once", "-o", "json", exit_code=6).document["error"]
    assert f"{ASKED}: octavia 2025.1 (octavia.release)" in error["message"]
    for way_out in ("upgrade the control plane", "source.series", "build.cloud_archive"):
        assert error["hint"].count(way_out) == 1
    assert promoting.tagged(TAG) == set()
    promoting.toml = settings('release = "2025.2"\n')
    report = promoting.act("run-once", "--force")
    assert report["outcome"] == "published"
    assert promoting.tagged(TAG) == {report["image_id"]}


def test_without_the_setting_the_clouds_own_api_is_asked(
    promoting: CloudHarness, running_octavia: Octavia
) -> None:
    promoting.toml = settings('cloud = "demo-admin"\n')
    interval = "2025.1 to 2026.2 (GET / of the API: v2.30)"
    assert promoting.read("plan")["octavia_release"] == interval
    report = promoting.act("run-once")
    assert report["outcome"] == "published"
    assert f"octavia: {interval}" in report["notes"]
    checks = {each["name"]: each for each in report["verification"]["checks"]}
    # A later release in the interval avoids it: known, and no refusal.
    assert checks[ASKED]["outcome"] == "warned"
    assert "another version in question writes what is taken" in checks[ASKED]["detail"]
    assert checks[ASKED.replace("2025.1", "2025.2")]["outcome"] == "passed"
