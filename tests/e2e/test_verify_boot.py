"""Sound images boot, answer, and carry traffic; Octavia's own client agrees."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from retrofit import process
from retrofit.config import VerifySettings
from retrofit.model import Outcome
from retrofit.progress import silent
from retrofit.verify import verify
from retrofit.verify.boot.amphora import Amphora, running
from retrofit.verify.boot.config_drive import AGENT_PORT
from retrofit.verify.boot.load_balancer import MEMBER_PORT, fetch, member
from retrofit.verify.boot.machine import switched_on
from retrofit.verify.boot.network import MANAGEMENT, VIP, VIP_ADDRESS
from retrofit.verify.boot.probe import Probe
from retrofit.verify.boot.trial import Trial
from retrofit.verify.examination import Examination
from tests.devcloud.stock import LAYOUTS, Layout
from tests.e2e.amphora_images import Agent, amphora_image, build_settings
from tests.e2e.leftovers import nothing_left

ROOT = Path(__file__).resolve().parents[2]
OCTAVIA_PYTHON = ROOT / ".venv-devcloud/bin/python"
CLIENT = Path(__file__).with_name("amphora_client.py")
CLIENT_SECONDS = 600.0
GOOD_WITHIN = 600.0


@pytest.mark.slow
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
@pytest.mark.parametrize("agent", get_args(Agent))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sound_image_passes_every_check(
    layout: Layout, agent: Agent, firmware: str, tmp_path: Path
) -> None:
    image = amphora_image(agent, layout)
    before = image.stat()
    with nothing_left(tmp_path / "work"):
        verdict = verify(
            image,
            disk_format="qcow2",
            settings=VerifySettings.model_validate({"firmware": firmware}),
            build=build_settings(agent),
            architecture="x86_64",
            work_dir=tmp_path / "work",
            log_dir=tmp_path / "logs",
            progress=silent,
        )
    assert verdict.failures == ()
    assert verdict.how in {"boot-kvm", "boot-tcg"}
    checks = {check.name: check for check in verdict.checks}
    assert checks["http-through-haproxy"].outcome is Outcome.PASSED
    assert sum(check.seconds for check in verdict.checks) < GOOD_WITHIN
    after = image.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


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


def examined(tmp_path: Path) -> Examination:
    return Examination(
        image=amphora_image("distro", "noble"),
        disk_format="qcow2",
        settings=VerifySettings(),
        build=build_settings("distro"),
        architecture="x86_64",
        work_dir=tmp_path / "work",
        log_dir=tmp_path,
        progress=silent,
    )


@pytest.mark.slow
def test_octavias_own_client_drives_the_amphora(tmp_path: Path) -> None:
    examination = examined(tmp_path)
    with running(examination) as amphora:
        Trial(amphora, examination).answers()
        said = octavia_drives(amphora, tmp_path)
        listener = said["errand"]["listener_id"]  # type: ignore[index]
        assert said["listeners"] == [{"status": "ACTIVE", "uuid": listener, "type": "HTTP"}]
        assert f"frontend {listener}" in str(said["config"])
        with member(amphora.namespace, b"from the member") as behind:
            assert fetch(amphora.namespace, 80, "/") == (200, b"from the member")
        assert behind.peers == [VIP.theirs]


@pytest.mark.slow
def test_an_amphora_comes_back_from_a_power_cut_without_its_certificates(tmp_path: Path) -> None:
    examination = examined(tmp_path)
    with running(examination) as amphora:
        trial = Trial(amphora, examination)
        trial.answers()
        trial.takes_certificate()
        trial.guest.sync()
        amphora.machine.cut_power()
        probe = Probe(amphora.namespace)
        with switched_on(
            amphora.hardware,
            amphora.namespace,
            probe_port=probe.port,
            console=tmp_path / "second-console.log",
            messages=tmp_path / "second-qemu.log",
        ) as again:
            second = Trial(replace(amphora, machine=again, probe=probe), examination)
            second.answers()
            certificate = (
                f"/1.0/loadbalancer/{trial.balancer.id}/certificates/"
                f"{trial.balancer.certificate_name}"
            )
            assert amphora.agent.ask("GET", certificate).status == 404
        probe.close()
