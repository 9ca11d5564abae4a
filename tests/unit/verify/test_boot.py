"""The boot's pure parts: what is handed to the machine, and how its words are understood."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import ssl
import struct
import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509

from retrofit.errors import VerifyError
from retrofit.verify.boot import config_drive, dhcp
from retrofit.verify.boot.certificates import Credentials
from retrofit.verify.boot.configs.haproxy import peer_name
from retrofit.verify.boot.guest import AgentState, agent_state, listening, why_agent_stays_silent
from retrofit.verify.boot.heartbeat import decode
from retrofit.verify.boot.load_balancer import load_balancer, vips_of
from retrofit.verify.boot.machine import (
    LARGEST_CONSOLE,
    PLATFORMS,
    Hardware,
    Machine,
    MachineLostError,
    command_line,
    emulation,
    platform_of,
    resolve_firmware,
)
from retrofit.verify.boot.network import MANAGEMENT, MEMBER
from retrofit.verify.boot.router import advertisement
from retrofit.verify.boot.scenario import PAIR, SINGLE
from tests.unit.verify.test_late_timer import Amphora, on_trial

KEY = "insecure"


def envelope(message: object, key: str = KEY) -> bytes:
    """Wrap a message as status_message.wrap_envelope of Octavia does."""
    payload = zlib.compress(json.dumps(message).encode())
    return payload + hmac.new(key.encode(), payload, hashlib.sha256).hexdigest().encode()


def test_reads_an_authentic_heartbeat() -> None:
    assert decode(envelope({"id": "a", "ver": 3}), KEY) == {"id": "a", "ver": 3}


def test_refuses_a_heartbeat_made_with_another_key() -> None:
    with pytest.raises(ValueError, match="HMAC"):
        decode(envelope({"id": "a"}, key="other"), KEY)


def test_refuses_a_heartbeat_that_is_no_object() -> None:
    with pytest.raises(TypeError):
        decode(envelope([1]), KEY)


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str:
    """Let two contexts shake hands in memory; return what was read through the channel."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    pending = [ours.do_handshake, theirs.do_handshake]
    for _ in range(10):
        for step in list(pending):
            try:
                step()
                pending.remove(step)
            except ssl.SSLWantReadError:
                continue
    ours.write(b"hello")
    return theirs.read(5).decode()


def test_certificates_satisfy_the_strictest_agent(tmp_path: Path) -> None:
    made = Credentials.make("6e1f")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.server.write(tmp_path / "server.pem"))
    server.load_verify_locations(cadata=made.client_ca.certificate_pem.decode())
    server.verify_mode = ssl.CERT_REQUIRED
    # What Python 3.13 sets by default, with which agents on it are served.
    server.verify_flags |= ssl.VERIFY_X509_STRICT
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_cert_chain(made.client.write(tmp_path / "client.pem"))
    client.load_verify_locations(cadata=made.server_ca.certificate_pem.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    assert shake_hands(server, client, "6e1f") == "hello"


def dhcp_request(kind: int, mac: str = MANAGEMENT.mac) -> bytes:
    """Make a request as a client without address sends it."""
    chaddr = bytes.fromhex(mac.replace(":", ""))
    fixed = dhcp.FIXED.pack(
        1, 1, 6, 0, 0x1234, 0, 0x8000, bytes(4), bytes(4), bytes(4), bytes(4), chaddr, b"", b""
    )
    return fixed + dhcp.COOKIE + bytes([dhcp.PAD, dhcp.MESSAGE_TYPE, 1, kind, dhcp.END])


@pytest.mark.parametrize(("asked", "answered"), [(1, 2), (3, 5)])
def test_dhcp_gives_the_machine_its_address(asked: int, answered: int) -> None:
    reply = dhcp.reply_to(dhcp_request(asked), MANAGEMENT)
    assert reply is not None
    assert reply[16:20] == socket.inet_aton(MANAGEMENT.theirs)
    assert struct.unpack_from("!I", reply, 4) == (0x1234,)
    options = reply[dhcp.FIXED.size + 4 :]
    assert bytes([dhcp.MESSAGE_TYPE, 1, answered]) in options
    assert bytes([dhcp.SUBNET_MASK, 4, 255, 255, 255, 0]) in options


def test_dhcp_offers_no_way_out() -> None:
    reply = dhcp.reply_to(dhcp_request(1), MANAGEMENT)
    assert reply is not None
    router, nameserver = 3, 6
    assert not {router, nameserver} & set(dhcp._options(reply[dhcp.FIXED.size + 4 :]))


@pytest.mark.parametrize(
    "request_", [b"", dhcp_request(1)[:-10], dhcp_request(7), dhcp_request(1, "fa:16:3e:ff:ff:ff")]
)
def test_dhcp_ignores_what_it_need_not_answer(request_: bytes) -> None:
    assert dhcp.reply_to(request_, MANAGEMENT) is None


@pytest.fixture
def assignment() -> config_drive.Assignment:
    return config_drive.Assignment(
        amphora_id="6e1f",
        instance_id="77aa",
        heartbeat_key=KEY,
        server_pem=b"server",
        client_ca_pem=b"ca",
        user_data=b"#!/bin/sh\n",
    )


def test_config_drive_carries_the_agents_files_as_nova_lays_them_out(
    assignment: config_drive.Assignment, tmp_path: Path
) -> None:
    config_drive.lay_out(assignment, tmp_path)
    metadata = json.loads((tmp_path / "openstack/latest/meta_data.json").read_text())
    files = {
        entry["path"]: (tmp_path / "openstack" / entry["content_path"].lstrip("/")).read_bytes()
        for entry in metadata["files"]
    }
    assert files["/etc/octavia/certs/server.pem"] == b"server"
    assert files["/etc/octavia/certs/client_ca.pem"] == b"ca"
    assert b"heartbeat_key = insecure" in files["/etc/octavia/amphora-agent.conf"]
    assert metadata["hostname"] == "amphora-6e1f"


def test_config_drive_knows_the_management_port_alone(
    assignment: config_drive.Assignment, tmp_path: Path
) -> None:
    config_drive.lay_out(assignment, tmp_path)
    network = json.loads((tmp_path / "openstack/latest/network_data.json").read_text())
    assert [link["ethernet_mac_address"] for link in network["links"]] == [MANAGEMENT.mac]


def test_server_certificate_names_the_amphora_and_verifies() -> None:
    made = Credentials.make("6e1f")
    names = made.server.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert [name.value for name in names.value] == ["6e1f"]
    made.server.certificate.verify_directly_issued_by(made.server_ca.certificate)
    made.client.certificate.verify_directly_issued_by(made.client_ca.certificate)


def test_strangers_certificate_is_sound_and_of_another_authority(tmp_path: Path) -> None:
    made = Credentials.make("6e1f")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(made.stranger.write(tmp_path / "stranger.pem"))
    assert (tmp_path / "stranger.pem").stat().st_mode & 0o077 == 0
    with pytest.raises(ValueError):
        made.stranger.certificate.verify_directly_issued_by(made.client_ca.certificate)


def seen(state: str, restarts: int = 0, system: str = "running") -> AgentState:
    return AgentState(system=system, unit="amphora-agent.service", state=state, restarts=restarts)


@pytest.mark.parametrize(
    ("first", "now", "verdict"),
    [
        (seen("active"), seen("active"), None),
        (seen("active"), seen("active", restarts=2), None),
        (seen("active", restarts=9), seen("active", restarts=10), None),
        (seen("activating", restarts=9), seen("activating", restarts=12), "(3 restarts)"),
        (seen("active"), seen("failed"), "has failed"),
        (seen("inactive"), seen("inactive"), "not started by the boot"),
        (seen("inactive"), seen("inactive", system="starting"), None),
        (seen("inactive", system="starting"), seen("inactive"), None),
    ],
)
def test_hope_ends_with_a_crash_loop_or_an_agent_nobody_starts(
    first: AgentState, now: AgentState, verdict: str | None
) -> None:
    found = why_agent_stays_silent(first, now)
    assert found is None if verdict is None else verdict in str(found)


def test_the_agents_unit_is_the_one_that_is_loaded() -> None:
    said = """\
degraded
Id=amphora-agent.service
LoadState=not-found
ActiveState=inactive

Id=octavia-agent.service
LoadState=loaded
ActiveState=activating
NRestarts=4
"""
    assert agent_state(said) == AgentState(
        system="degraded", unit="octavia-agent.service", state="activating", restarts=4
    )
    assert agent_state("running\nLoadState=masked\n") is None


def test_listening_addresses_are_those_of_the_port() -> None:
    said = """\
LISTEN 0 128 192.0.2.10:22 0.0.0.0:*
LISTEN 0 128 [fe80::1]%eth0:22 [::]:*
LISTEN 0 128 *:22 *:*
LISTEN 0 5 [::]:9443 [::]:*
LISTEN 0 5 0.0.0.0:2222 [::]:*
Cannot open network namespace
"""
    assert listening(said, 22) == ["192.0.2.10", "fe80::1", "*"]


def hardware(**changed: object) -> Hardware:
    settings: dict[str, object] = {
        "platform": PLATFORMS["x86_64"],
        "accelerator": "tcg",
        "firmware": "bios",
        "chipset": "q35",
        "memory": 1024,
        "cpus": 2,
        "image": Path("/w/amphora.qcow2"),
        "overlay": Path("/w/a,b/overlay.qcow2"),
        "config_drive": Path("/w/config.iso"),
    }
    return Hardware(**(settings | changed))  # type: ignore[arg-type]


def values(argv: list[str], option: str) -> list[str]:
    return [value for word, value in pairwise(argv) if word == option]


def test_the_machine_has_three_cables_and_no_other_network() -> None:
    argv = command_line(hardware(), Path("/l/console.log"), 4000)
    assert [each.partition(",")[0] for each in values(argv, "-netdev")] == ["tap"] * 3
    assert "-nodefaults" in argv


def test_cards_of_q35_are_behind_root_ports_as_nova_has_them() -> None:
    argv = command_line(hardware(chipset="q35"), Path("/l/console.log"), 4000)
    devices = values(argv, "-device")
    ports = [each for each in devices if each.startswith("pcie-root-port,")]
    cards = [each for each in devices if each.startswith("virtio-net-pci,")]
    assert len({port.partition("chassis=")[2] for port in ports}) == 3
    assert [card.rpartition("bus=")[2] for card in cards] == ["port1", "port2", "port3"]
    assert values(argv, "-machine") == ["q35"]


def test_pc_has_no_root_ports() -> None:
    argv = command_line(hardware(chipset="pc"), Path("/l/console.log"), 4000)
    assert not [each for each in values(argv, "-device") if "bus=" in each or "root" in each]
    assert values(argv, "-machine") == ["pc"]


def test_other_architectures_have_one_machine_type() -> None:
    for chipset in ("q35", "pc"):
        made = hardware(platform=PLATFORMS["aarch64"], chipset=chipset)
        assert values(command_line(made, Path("/l/console.log"), 4000), "-machine") == ["virt"]


def test_the_machine_has_its_own_files_and_writes_only_to_those_that_it_may() -> None:
    files = {"code": Path("/f/code.fd"), "variables": Path("/w/variables.fd")}
    words = emulation(hardware(**files), Path("/l/console.log"), 4000)
    given = {path: option for option, path in pairwise(words) if option.startswith("--")}
    assert {
        path: option for path, option in given.items() if path[:3] in {"/w/", "/l/", "/f/"}
    } == {
        "/w/amphora.qcow2": "--read",
        "/w/config.iso": "--read",
        "/f/code.fd": "--read",
        "/w/a,b/overlay.qcow2": "--write",
        "/w/variables.fd": "--write",
        "/l/console.log": "--write",
    }


def test_commas_in_paths_are_no_options_to_qemu() -> None:
    argv = command_line(hardware(), Path("/l/console.log"), 4000)
    assert any("file=/w/a,,b/overlay.qcow2," in word for word in argv)


def test_uefi_firmware_is_read_only_but_for_its_variables() -> None:
    argv = command_line(
        hardware(firmware="uefi", code=Path("/fw/CODE.fd"), variables=Path("/w/VARS.fd")),
        Path("/l/console.log"),
        4000,
    )
    flash = [word for word in argv if word.startswith("if=pflash")]
    assert ["readonly=on" in word for word in flash] == [True, False]


def test_firmware_follows_the_platform() -> None:
    assert resolve_firmware("auto", PLATFORMS["x86_64"]) == "bios"
    assert resolve_firmware("auto", PLATFORMS["aarch64"]) == "uefi"
    with pytest.raises(VerifyError, match="no BIOS"):
        resolve_firmware("bios", PLATFORMS["aarch64"])


def test_an_architecture_that_cannot_be_booted_is_named() -> None:
    with pytest.raises(VerifyError, match="s390x"):
        platform_of("s390x")


def test_peer_name_is_the_one_the_agent_computes() -> None:
    # Computed with octavia.common.utils.base64_sha1_string of octavia 19.0.0, without padding.
    assert peer_name("6e1f5a0c-58a4-4a5b-9ab1-3d1fbd1d1f04") == "2GGFZKw88VlujzTXG0HuA4pWo3Y"
    assert not peer_name("amphora-5").startswith("-")


def test_haproxy_configuration_uses_the_uploaded_list_of_certificates() -> None:
    balancer = load_balancer(
        SINGLE, "6e1f", balancer_id="lb-1", full=False, vips=vips_of(SINGLE, full=False)
    )
    listener = balancer.listeners["terminated"].id
    listed = f"ssl crt-list /var/lib/octavia/certs/lb-1/{listener}.pem"
    assert listed in balancer.haproxy_config((3, 0))


def test_an_agent_without_additional_vips_is_asked_over_both_families_all_the_same() -> None:
    vips = [vips_of(scenario, full=True, additional_vips=False) for scenario in (SINGLE, PAIR)]
    assert [len(each) for each in vips] == [1, 1]
    assert [":" in each[0].address for each in vips] == [True, False]
    assert all(each[0].vrrp_ip for each in vips)


def test_an_agent_that_fails_with_both_families_is_asked_for_additional_vips_of_each() -> None:
    vips = [vips_of(scenario, full=True, both_families=False) for scenario in (SINGLE, PAIR)]
    assert [len(each) for each in vips] == [2, 2]
    assert [{":" in vip.address for vip in each} for each in vips] == [{True}, {False}]
    assert all(each[0].vrrp_ip and each[0].network != each[1].network for each in vips)


@pytest.mark.parametrize(
    "given",
    [{}, {"additional_vips": False}, {"both_families": False}],
    ids=["any", "before-11", "11"],
)
def test_members_behind_lvs_are_of_the_families_of_the_vips(given: dict[str, bool]) -> None:
    vips = vips_of(SINGLE, full=True, **given)
    made = load_balancer(SINGLE, "6e1f", balancer_id="lb-1", full=True, vips=vips)
    families = {":" in vip.address for vip in vips}
    members = {
        name: {":" in each.address for each in made.listeners[name].required_pool.members}
        for name in ("udp", "sctp")
    }
    assert members["udp"] == families
    assert members["sctp"] <= families


@pytest.mark.parametrize(
    ("agent", "families"),
    [("10.1.1", {True}), ("11.0.2", {True}), ("12.0.0", {True}), ("12.0.1", {False, True}),
     ("16.0.0", {False, True}), ("", {False, True})],
)  # fmt: skip
def test_the_trial_asks_an_agent_for_what_its_release_can(agent: str, families: set[bool]) -> None:
    asked = on_trial(Amphora("", 0, "kvm"), agent=agent).balancer
    assert {":" in vip.address for vip in asked.vips} == families
    assert len(asked.vips) == (1 if agent.startswith("10.") else 2 if families == {True} else 3)


def test_a_card_gets_the_ipv6_address_that_neutron_computes_of_its_mac() -> None:
    assert MEMBER.mac == "fa:16:3e:00:00:03"
    assert MEMBER.theirs6 == "2001:db8:c:0:f816:3eff:fe00:3"


def test_advertisements_have_a_prefix_for_slaac_and_no_way_out() -> None:
    message = advertisement(MANAGEMENT)
    assert message[0] == 134
    assert message[6:8] == b"\0\0"  # router lifetime
    assert bytes([3, 4, 64, 0xC0]) in message
    assert message.endswith(socket.inet_pton(socket.AF_INET6, MANAGEMENT.network6))


def test_the_config_drive_of_a_pair_has_ipv6_alone(
    assignment: config_drive.Assignment, tmp_path: Path
) -> None:
    paired = replace(assignment, scenario=PAIR)
    config_drive.lay_out(paired, tmp_path)
    network = json.loads((tmp_path / "openstack/latest/network_data.json").read_text())
    assert [each["type"] for each in network["networks"]] == ["ipv6_slaac"]
    configuration = config_drive.agent_conf(paired)
    assert f"controller_ip_port_list = {MANAGEMENT.ours6}:5555\n" in configuration
    assert "loadbalancer_topology = ACTIVE_STANDBY\n" in configuration


@pytest.mark.parametrize("name", ["console", "messages"])
def test_a_machine_that_fills_the_disk_with_words_is_lost(tmp_path: Path, name: str) -> None:
    files = {"console": tmp_path / "console.log", "messages": tmp_path / "qemu.log"}
    machine = Machine(child=cast(Any, None), **files)
    machine.require_bounded_output()
    with files[name].open("wb") as file:
        file.truncate(LARGEST_CONSOLE + 1)
    with pytest.raises(MachineLostError, match="shows more than 64 MiB"):
        machine.require_bounded_output()
