"""Sound images boot, answer, and carry traffic; Octavia's own client agrees."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import get_args

import pytest

from retrofit.config import BuildSettings, VerifySettings
from retrofit.model import Outcome, Verdict
from retrofit.system import process
from retrofit.system.progress import silent
from retrofit.verify.boot.amphora import Amphora, running
from retrofit.verify.boot.checks.agent import answers
from retrofit.verify.boot.checks.balancer import takes_certificate
from retrofit.verify.boot.config_drive import AGENT_PORT
from retrofit.verify.boot.load_balancer import MEMBER_PORT
from retrofit.verify.boot.members import web_server
from retrofit.verify.boot.network import MANAGEMENT, VIP, VIP_ADDRESS
from retrofit.verify.boot.traffic import fetch
from retrofit.verify.boot.trial import Trial
from retrofit.verify.request import VerifyRequest
from retrofit.verify.verify import verify
from tests.devcloud.disks import opened, raw_copy
from tests.devcloud.stock import LAYOUTS, Layout
from tests.e2e.accelerator import ACCELERATOR
from tests.e2e.amphora_images import JAMMYS_AGENT, Agent, amphora_image, build_settings
from tests.e2e.leftovers import nothing_left

ROOT = Path(__file__).resolve().parents[2]
OCTAVIA_PYTHON = ROOT / ".venv-devcloud/bin/python"
CLIENT = Path(__file__).with_name("amphora_client.py")
CLIENT_SECONDS = 600.0


@pytest.mark.slow
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
@pytest.mark.parametrize("agent", get_args(Agent))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sound_image_passes_every_check(
    layout: Layout, agent: Agent, firmware: str, tmp_path: Path
) -> None:
    image = amphora_image(agent, layout)
    before = image.stat()
    _passes_every_check(image, build_settings(agent), firmware, tmp_path)
    after = image.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.slow
def test_the_agent_of_ubuntus_jammy_passes_every_check_that_it_can(tmp_path: Path) -> None:
    # Octavia 10 knows one VIP, no groups in LVS, no rules of interfaces, and no Debian.
    image = raw_copy(
        amphora_image("pypi", "jammy", version=JAMMYS_AGENT), "qcow2", tmp_path / "image.raw"
    )
    with opened(image) as root:
        release = root / "usr/lib/os-release"
        release.write_text(release.read_text().replace("\nID=debian\n", "\nID=ubuntu\n"))
    settings = build_settings("pypi", version=JAMMYS_AGENT)
    verdict = _passes_every_check(image, settings, "bios", tmp_path, disk_format="raw")
    assert {check.name for check in verdict.checks if check.outcome is Outcome.NOT_APPLICABLE} >= {
        "additional-vip",
        "interface-rules",
    }


def _passes_every_check(
    image: Path, build: BuildSettings, firmware: str, tmp_path: Path, *, disk_format: str = "qcow2"
) -> Verdict:
    settings = {"firmware": firmware, "level": "full", "accelerator": ACCELERATOR}
    with nothing_left(tmp_path / "work"):
        verdict = verify(
            VerifyRequest(
                image=image,
                disk_format=disk_format,
                settings=VerifySettings.model_validate(settings),
                build=build,
                architecture="x86_64",
                work_dir=tmp_path / "work",
                log_dir=tmp_path / "logs",
                progress=silent,
            )
        )
    assert verdict.failures == ()
    assert verdict.how in {"full-kvm", "full-tcg"}
    checks = {check.name: check for check in verdict.checks}
    assert checks["http-through-haproxy"].outcome is Outcome.PASSED
    return verdict


def octavia_drives(amphora: Amphora, work_dir: Path) -> dict[str, object]:
    """Let Octavia's client, in a process of its own, do what its controller does."""
    server_ca, client = work_dir / "server-ca.pem", work_dir / "octavia-client.pem"
    server_ca.write_bytes(amphora.credentials.server_ca.certificate_pem)
    amphora.credentials.client.write(client)
    errand = {
        "amphora_id": amphora.id,
        "address": MANAGEMENT.theirs,
        "port": AGENT_PORT,
        "client_cert": str(client),
        "server_ca": str(server_ca),
        "load_balancer_id": str(uuid.uuid4()),
        "listener_id": str(uuid.uuid4()),
        "vip": VIP_ADDRESS,
        "vip_port": 80,
        "net_info": {
            "subnet_cidr": VIP.cidr,
            "gateway": VIP.ours,
            "mac_address": VIP.mac,
            "vrrp_ip": VIP.theirs,
            "mtu": 1500,
            "host_routes": [],
            "additional_vips": [],
            "is_sriov": False,
        },
        "member": VIP.ours,
        "member_port": MEMBER_PORT,
    }
    said = process.run(
        amphora.namespace.command([str(OCTAVIA_PYTHON), "-W", "ignore", str(CLIENT)]),
        timeout=CLIENT_SECONDS,
        stdin=json.dumps(errand).encode(),
    )
    answer: dict[str, object] = json.loads(said.stdout)
    answer["errand"] = errand
    return answer


def examined(tmp_path: Path) -> VerifyRequest:
    return VerifyRequest(
        image=amphora_image("distro", "noble"),
        disk_format="qcow2",
        settings=VerifySettings(accelerator=ACCELERATOR),
        build=build_settings("distro"),
        architecture="x86_64",
        work_dir=tmp_path / "work",
        log_dir=tmp_path,
        progress=silent,
    )


@pytest.mark.slow
def test_octavias_own_client_drives_the_amphora(tmp_path: Path) -> None:
    request = examined(tmp_path)
    with running(request) as amphora:
        answers(Trial(amphora, request, full=False))
        said = octavia_drives(amphora, tmp_path)
        listener = said["errand"]["listener_id"]  # type: ignore[index]
        assert said["listeners"] == [{"status": "ACTIVE", "uuid": listener, "type": "HTTP"}]
        assert f"frontend {listener}" in str(said["config"])
        with web_server(
            amphora.namespace, VIP.ours, MEMBER_PORT, body=b"from the member"
        ) as behind:
            response = fetch(amphora.namespace, 80)
        assert (response.status, response.body) == (200, b"from the member")
        assert [asked.peer for asked in behind.asked] == [VIP.theirs]


@pytest.mark.slow
def test_an_amphora_comes_back_from_a_power_cut_without_its_certificates(tmp_path: Path) -> None:
    request = examined(tmp_path)
    with running(request) as amphora:
        trial = Trial(amphora, request, full=False)
        answers(trial)
        takes_certificate(trial)
        trial.guest.sync()
        trial.restart()
        answers(trial)
        certificate = (
            f"/1.0/loadbalancer/{trial.balancer.id}/certificates/{trial.balancer.certificate_name}"
        )
        assert amphora.agent.ask("GET", certificate).status == 404
