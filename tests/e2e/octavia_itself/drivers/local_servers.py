"""Servers of the local cloud: QEMU, with cards that are plugged while it runs."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import local_cloud
from local_cloud import (
    Network,
    Port,
    change_port,
    forget_port,
    ip,
    make_port,
    make_tap,
    ports,
    records,
)

SLOTS = 4
"""Cards that a server takes while it runs: q35 has to have a port for each from its start."""
MEMORY = 1024
MONITOR_SECONDS = 120


class MonitorError(Exception):
    """QEMU refused a command; the text is its reason."""


def directory_of(server_id: str) -> Path:
    """Where the files of a server lie: console.log stays after its deletion."""
    return local_cloud.DIRECTORY / "servers" / server_id[:8]


def start(
    *,
    name: str,
    image: str,
    disk: Path,
    boot_networks: Sequence[Network],
    files: Mapping[str, str],
    user_data: str | None,
) -> str:
    """Start a server from an image's file and return its id."""
    server_id = str(uuid.uuid4())
    directory = directory_of(server_id)
    directory.mkdir(parents=True)
    cards = [make_port(each, f"boot-{name}", None, of_nova=True) for each in boot_networks]
    drive = _config_drive(directory, server_id, name, cards, files, user_data)
    overlay = directory / "disk.qcow2"
    _run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", disk, overlay)
    with records() as database:
        database.execute(
            "INSERT INTO server VALUES (?, ?, ?, ?)",
            (server_id, name, image, boot_networks[0].id),
        )
    for card in cards:
        change_port(card.id, server=server_id)
        make_tap(card)
    try:
        _run(*_command_line(directory, overlay, drive, cards))
    except subprocess.CalledProcessError as error:
        delete(server_id)
        raise RuntimeError(f"QEMU: {error.stderr}") from error
    return server_id


def _run(*argv: str | Path) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True)


def _command_line(
    directory: Path, overlay: Path, drive: Path, cards: Sequence[Port]
) -> list[str | Path]:
    argv: list[str | Path] = [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot",
        "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "Nehalem,vendor=AuthenticAMD",
        "-smp", os.environ.get("LOCAL_CLOUD_CPUS", "2"), "-m", str(MEMORY),
        "-display", "none", "-device", "VGA",
        "-chardev", f"file,id=console,path={directory}/console.log", "-serial", "chardev:console",
        "-object", "rng-random,id=random,filename=/dev/urandom",
        "-device", "virtio-rng-pci,rng=random",
        "-drive", f"file={overlay},if=virtio,format=qcow2,cache=unsafe",
        "-drive", f"file={drive},if=virtio,format=raw,readonly=on",
        "-qmp", f"unix:{directory}/monitor,server=on,wait=off",
        # Threads of Octavia's flows come and go: QEMU must be the child of none of them.
        "-daemonize",
    ]  # fmt: skip
    for card in cards:
        argv += [
            "-netdev", f"tap,id={card.tap},ifname={card.tap},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev={card.tap},mac={card.mac},romfile=",
        ]  # fmt: skip
    for slot in range(1, SLOTS + 1):
        argv += ["-device", f"pcie-root-port,id=slot{slot},chassis={slot},slot={slot}"]
    return argv


def _config_drive(
    directory: Path,
    server_id: str,
    name: str,
    cards: Sequence[Port],
    files: Mapping[str, str],
    user_data: str | None,
) -> Path:
    """Make the drive as Nova does (`nova/api/metadata/base.py`)."""
    tree, drive = directory / "config-drive", directory / "config-drive.iso"
    content, latest = tree / "openstack/content", tree / "openstack/latest"
    content.mkdir(parents=True)
    latest.mkdir()
    listed = []
    for number, (path, text) in enumerate(files.items()):
        (content / f"{number:04}").write_text(text)
        listed.append({"content_path": f"/content/{number:04}", "path": path})
    documents = {
        "meta_data.json": {
            "uuid": server_id, "name": name, "hostname": name, "launch_index": 0,
            "availability_zone": "nova", "files": listed,
        },
        "network_data.json": {
            "links": [
                {"id": card.tap, "vif_id": card.id, "type": "ovs", "mtu": 1500,
                 "ethernet_mac_address": card.mac}
                for card in cards
            ],
            "networks": [
                {"id": f"network{number}", "type": "ipv4_dhcp", "link": card.tap}
                for number, card in enumerate(cards)
            ],
            "services": [],
        },
    }  # fmt: skip
    for file, document in documents.items():
        (latest / file).write_text(json.dumps(document))
    if user_data:
        (latest / "user_data").write_text(user_data)
    _run("xorriso", "-as", "mkisofs", "-quiet", "-V", "config-2", "-J", "-R", "-o", drive, tree)
    return drive


def is_running(server_id: str) -> bool:
    """Whether QEMU runs: it alone listens on the monitor's socket."""
    with socket.socket(socket.AF_UNIX) as monitor:
        try:
            monitor.connect(str(directory_of(server_id) / "monitor"))
        except OSError:
            return False
    return True


def cut_power(server_id: str) -> None:
    """Switch a server off without its knowledge; one that is off is no error."""
    with suppress(OSError):
        _monitor(server_id, ("quit", {}), until_gone=True)


def delete(server_id: str) -> None:
    """Switch a server off and forget it, as often as one likes."""
    cut_power(server_id)
    for card in ports(server=server_id):
        _remove_tap(card)
        if card.of_nova:
            forget_port(card.id)
        else:
            change_port(card.id, server=None, slot=None)
    with records() as database:
        database.execute("DELETE FROM server WHERE id = ?", (server_id,))
    directory = directory_of(server_id)
    shutil.rmtree(directory / "config-drive", ignore_errors=True)
    for name in ("disk.qcow2", "config-drive.iso"):
        (directory / name).unlink(missing_ok=True)


def plug(server_id: str, port: Port) -> Port:
    """Put a card for a port into a running server; one that is in it stays."""
    if port.server == server_id:
        return port
    used = {card.slot for card in ports(server=server_id)}
    slot = next(each for each in range(1, SLOTS + 1) if each not in used)
    change_port(port.id, server=server_id, slot=slot)
    make_tap(port)
    _monitor(
        server_id,
        ("netdev_add", {"type": "tap", "id": port.tap, "ifname": port.tap, "script": "no",
                        "downscript": "no"}),
        ("device_add", {"driver": "virtio-net-pci", "id": f"card-{port.tap}", "netdev": port.tap,
                        "mac": port.mac, "bus": f"slot{slot}", "romfile": ""}),
    )  # fmt: skip
    return ports(id=port.id)[0]


def unplug(port: Port) -> None:
    """Take a port's card out of its server, whose kernel has to agree while it runs."""
    if port.server is None:
        return
    if is_running(port.server):
        _monitor(port.server, ("device_del", {"id": f"card-{port.tap}"}), event="DEVICE_DELETED")
        _monitor(port.server, ("netdev_del", {"id": port.tap}))
    _remove_tap(port)
    change_port(port.id, server=None, slot=None)


def _remove_tap(port: Port) -> None:
    with suppress(subprocess.CalledProcessError):  # gone with QEMU
        ip(f"link delete {port.tap}")


def _monitor(
    server_id: str,
    *commands: tuple[str, dict[str, Any]],
    event: str | None = None,
    until_gone: bool = False,
) -> None:
    """Give QEMU commands (QMP), and wait for an event after them, or for its end."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(MONITOR_SECONDS)
        monitor.connect(str(directory_of(server_id) / "monitor"))
        answers = monitor.makefile("r")
        answers.readline()  # its greeting
        for name, arguments in (("qmp_capabilities", {}), *commands):
            monitor.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
            while line := answers.readline():
                answer = json.loads(line)
                if "error" in answer:
                    raise MonitorError(f"{name}: {answer['error']['desc']}")
                if "return" in answer:
                    break
        while event is not None and json.loads(answers.readline()).get("event") != event:
            pass
        while until_gone and answers.readline():
            pass
