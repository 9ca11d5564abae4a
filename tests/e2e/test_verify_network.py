"""The machine's network is real, and leads nowhere."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retrofit.system import process
from retrofit.verify.boot import machine
from retrofit.verify.boot.heartbeat import await_heartbeat
from retrofit.verify.boot.load_balancer import MEMBER_PORT
from retrofit.verify.boot.members import web_server
from retrofit.verify.boot.network import CABLES, MANAGEMENT, VIP, isolated
from retrofit.verify.boot.probe import Probe
from retrofit.verify.checks import CheckFailedError
from tests.e2e.accelerator import chatty
from tests.e2e.leftovers import network_namespaces


def test_all_cables_end_in_the_namespace_and_there_is_no_route_out() -> None:
    with isolated() as namespace:
        routes = "".join(
            process.run(namespace.command(["ip", family, "route"]), timeout=30).stdout
            for family in ("-4", "-6")
        )
        links = process.run(namespace.command(["ip", "-o", "link"]), timeout=30).stdout
        assert not {"default", "via"} & set(routes.split())
        assert {line.split(":")[1].strip() for line in links.splitlines()} == {
            "lo", *(cable.device for cable in CABLES),
        }  # fmt: skip
        for elsewhere in ("203.0.114.1", "2001:db8:ffff::1"):
            # "Network is unreachable": no route, not an on-link neighbour that is silent.
            with pytest.raises(OSError, match="unreachable"):
                namespace.connect((elsewhere, 80), 5)


def test_the_hosts_network_is_not_reached_from_inside() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        isolated() as namespace,
        pytest.raises(ConnectionRefusedError),
    ):
        namespace.connect(listener.getsockname(), 5)


def test_the_member_answers_inside() -> None:
    with (
        isolated() as namespace,
        web_server(namespace, VIP.ours, MEMBER_PORT, body=b"content") as behind,
    ):
        connection = http.client.HTTPConnection(VIP.ours)
        connection.sock = namespace.connect((VIP.ours, MEMBER_PORT), 5)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"content"
        connection.close()
        assert [asked.peer for asked in behind.asked] == [VIP.ours]


def test_the_namespace_ends_with_the_block() -> None:
    with isolated() as namespace:
        ours = str(namespace.path.readlink())
        assert ours != str(Path("/proc/self/ns/net").readlink())
        assert ours in network_namespaces()
    # A thread that has ended for Python may take the kernel a moment more.
    deadline = time.monotonic() + 10
    while ours in network_namespaces():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_probe_asks_and_hears_and_gives_up_for_good() -> None:
    with isolated() as namespace:
        probe = Probe(namespace)
        assert not probe.poll()
        with namespace.connect(("127.0.0.1", probe.port), 5) as guest:
            guest.sendall(b"ready\n" + base64.b64encode(b"6.1.0\n") + b"\n")
            assert probe.ask("uname -r", timeout=5) == "6.1.0\n"
            assert base64.b64decode(guest.recv(100)) == b"uname -r"
            with pytest.raises(CheckFailedError, match="no answer from inside"):
                probe.ask("sleep 100", timeout=0.1)
            guest.sendall(base64.b64encode(b"late") + b"\n")
            with pytest.raises(CheckFailedError, match="no answer from inside"):
                probe.ask("uname -r", timeout=5)
            assert not probe.poll()
        probe.close()


def test_a_machine_without_cloud_init_is_not_waited_for_for_ever() -> None:
    with isolated() as namespace:
        probe = Probe(namespace)
        with pytest.raises(CheckFailedError, match="cloud-init has not run"):
            probe.ask("uname -r", timeout=0.3)
        probe.close()


def beat(**fields: object) -> bytes:
    payload = zlib.compress(json.dumps({"id": "6e1f", "ver": 3, **fields}).encode())
    return payload + hmac.new(b"key", payload, hashlib.sha256).hexdigest().encode()


def test_a_heartbeat_is_waited_for_until_it_reports_the_listeners() -> None:
    with isolated() as namespace, namespace.open_socket(socket.SOCK_DGRAM) as inside:
        inside.bind((MANAGEMENT.ours, 5555))
        with namespace.open_socket(socket.SOCK_DGRAM) as amphora:
            for heartbeat in (
                b"garbage",
                beat(id="another"),
                beat(listeners={}),
                beat(listeners={"a": {"status": "OPEN"}}),
                beat(seq=7, listeners={"a": {"status": "OPEN"}, "b": {"status": "OPEN"}}),
            ):
                amphora.sendto(heartbeat, (MANAGEMENT.ours, 5555))
        message = await_heartbeat(
            inside, key="key", amphora_id="6e1f", timeout=5, listeners=["a", "b"]
        )
        assert message["seq"] == 7


def test_what_came_instead_of_a_heartbeat_is_said() -> None:
    with isolated() as namespace, namespace.open_socket(socket.SOCK_DGRAM) as inside:
        inside.bind((MANAGEMENT.ours, 5555))
        with pytest.raises(CheckFailedError, match="none came"):
            await_heartbeat(inside, key="key", amphora_id="6e1f", timeout=0.1)
        with namespace.open_socket(socket.SOCK_DGRAM) as amphora:
            amphora.sendto(beat(ver=2), (MANAGEMENT.ours, 5555))
        with pytest.raises(CheckFailedError, match="1 came, and it is of version 2"):
            await_heartbeat(inside, key="key", amphora_id="6e1f", timeout=0.5)


KILLED = """
import sys, time
from pathlib import Path
from retrofit.system import process
from retrofit.verify.boot.network import isolated
from retrofit.verify.boot import machine
with isolated() as namespace:
    work = Path(sys.argv[1])
    process.run(["qemu-img", "create", "-q", "-f", "raw", work / "image.raw", "64M"], timeout=60)
    machine.make_overlay(work / "image.raw", "raw", work / "overlay.qcow2")
    (work / "config.iso").write_bytes(bytes(1 << 20))
    hardware = machine.Hardware(
        platform=machine.PLATFORMS["x86_64"], accelerator="tcg", firmware="bios",
        chipset="q35", memory=128,
        cpus=1, image=work / "image.raw", overlay=work / "overlay.qcow2",
        config_drive=work / "config.iso",
    )
    listener = namespace.listen(("127.0.0.1", 0))
    with machine.switched_on(hardware, namespace, probe_port=listener.getsockname()[1],
                             console=work / "console.log", messages=work / "qemu.log") as started:
        print(started.child.pid, namespace.path.readlink(), flush=True)
        time.sleep(600)
"""


def test_a_killed_verification_takes_its_machine_and_network_along(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as verification:
        assert verification.stdout is not None
        pid, namespace = verification.stdout.readline().split()
        assert namespace in network_namespaces()
        os.kill(verification.pid, signal.SIGKILL)
        verification.wait(30)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and (Path("/proc") / pid).exists():
        time.sleep(0.1)
    assert not (Path("/proc") / pid).exists()
    assert namespace not in network_namespaces()


@contextmanager
def chatting(tmp_path: Path) -> Iterator[machine.Machine]:
    """A machine whose guest says one letter again and again on its console."""
    hardware = chatty(tmp_path, "tcg")
    with isolated() as namespace:
        probe = namespace.listen(("127.0.0.1", 0))
        with (
            probe,
            machine.switched_on(
                hardware, namespace, probe_port=probe.getsockname()[1],
                console=tmp_path / "console.log", messages=tmp_path / "qemu.log",
            ) as started,
        ):  # fmt: skip
            yield started


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_guest_that_never_stops_talking_is_switched_off_whatever_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "LARGEST_CONSOLE", 1 << 20)
    with chatting(tmp_path) as started:
        eventually(lambda: started.child.poll() is not None)
        with pytest.raises(machine.MachineLostError, match="its console shows more than 1 MiB"):
            started.require_alive()
    assert (tmp_path / "console.log").stat().st_size == 1 << 20


def test_the_emulator_has_no_password_and_none_of_roots_powers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_PASSWORD", "correct horse")
    with chatting(tmp_path) as started:
        here = Path("/proc") / str(started.child.pid)
        # It got up, with both cables.
        eventually(lambda: "xxx" in started.console_text())
        assert (here / "comm").read_text().startswith("qemu")
        assert b"correct horse" not in (here / "environ").read_bytes()
        said = dict(
            line.partition(":\t")[::2] for line in (here / "status").read_text().splitlines()
        )
        assert int(said["CapPrm"], 16) & ~0b110 == 0
        assert said["NoNewPrivs"].strip() == "1"
