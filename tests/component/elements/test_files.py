"""The scripts that change an image's files, run against a made-up tree of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.component.elements.element_scripts import ELEMENTS, within, write_file

NETWORK = ELEMENTS / "amphora-network/post-install.d/90-amphora-network"
NSSWITCH = "passwd: files systemd\nhosts: files dns\nnetworks: files\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("hosts:          files dns", "hosts:          files"),
        ("hosts: files mymachines dns", "hosts: files mymachines"),
        (
            "hosts: files mdns4_minimal [NOTFOUND=return] dns myhostname",
            "hosts: files myhostname",
        ),
        (
            "hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns",
            "hosts: mymachines files myhostname",
        ),
    ],
)
def test_nothing_is_resolved(tmp_path: Path, before: str, after: str) -> None:
    file = write_file(
        tmp_path, "etc/nsswitch.conf", f"passwd: files\n{before}\nnetworks: files dns\n"
    )

    result = within(NETWORK, tmp_path)

    assert result.returncode == 0, result.stderr
    assert file.read_text() == f"passwd: files\n{after}\nnetworks: files dns\n"


def test_no_interface_is_configured_but_lo(tmp_path: Path) -> None:
    write_file(tmp_path, "etc/nsswitch.conf", NSSWITCH)
    netplan = write_file(tmp_path, "etc/netplan/90-default.yaml", "network: {version: 2}\n")
    networkd = write_file(tmp_path, "etc/systemd/network/20-dhcp.network", "[Match]\nName=en*\n")
    part = write_file(tmp_path, "etc/network/interfaces.d/50-cloud-init", "auto ens3\n")
    interfaces = write_file(
        tmp_path,
        "etc/network/interfaces",
        "# Comment\nauto lo\niface lo inet loopback\n\nallow-hotplug ens3\n"
        "iface ens3 inet dhcp\n    mtu 1400\nsource /etc/network/interfaces.d/*\n",
    )

    result = within(NETWORK, tmp_path)

    assert result.returncode == 0, result.stderr
    assert not any(file.exists() for file in (netplan, networkd, part))
    assert interfaces.read_text() == (
        "# Comment\nauto lo\niface lo inet loopback\n\nsource /etc/network/interfaces.d/*\n"
    )


def test_nothing_waits_for_a_network(tmp_path: Path) -> None:
    write_file(tmp_path, "etc/nsswitch.conf", NSSWITCH)
    write_file(tmp_path, "etc/systemd/system/systemd-networkd-wait-online.service", "[Unit]\n")

    within(NETWORK, tmp_path)

    asked = (tmp_path / "commands").read_text().splitlines()
    assert "systemctl mask systemd-networkd-wait-online.service" in asked


def test_only_units_that_exist_are_masked(tmp_path: Path) -> None:
    listed = write_file(
        tmp_path, "list", "# Comment\n\nhere.timer\nnowhere.service\nold.service\nlast.socket\n"
    )
    write_file(tmp_path, "etc/systemd/system/here.timer", "[Timer]\n")
    write_file(tmp_path, "etc/systemd/system/last.socket", "[Socket]\n")
    write_file(tmp_path, "etc/init.d/old", "#!/bin/sh\n")
    caller = write_file(
        tmp_path, "element/post-install.d/50-caller", f"amphora-mask-units < {listed}\n"
    )
    caller.chmod(0o755)

    result = within(caller, tmp_path)

    assert result.returncode == 0, result.stderr
    assert (tmp_path / "commands").read_text().splitlines() == [
        "systemctl disable here.timer",
        "systemctl mask here.timer",
        "systemctl mask old.service",
        "systemctl disable last.socket",
        "systemctl mask last.socket",
    ]


APPARMOR = ELEMENTS / "amphora-apparmor-rsyslog/post-install.d/30-amphora-apparmor-rsyslog"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "profile rsyslogd /usr/sbin/rsyslogd {",
            "profile rsyslogd /usr/sbin/rsyslogd flags=(attach_disconnected) {",
        ),
        ("/usr/sbin/rsyslogd {", "/usr/sbin/rsyslogd flags=(attach_disconnected) {"),
        (
            "profile rsyslogd /usr/sbin/rsyslogd flags=(complain) {",
            "profile rsyslogd /usr/sbin/rsyslogd flags=(attach_disconnected,complain) {",
        ),
        (
            "profile rsyslogd /usr/sbin/rsyslogd flags=(attach_disconnected) {",
            "profile rsyslogd /usr/sbin/rsyslogd flags=(attach_disconnected) {",
        ),
    ],
)
def test_apparmor_lets_rsyslog_open_the_socket(tmp_path: Path, before: str, after: str) -> None:
    rest = "  /usr/sbin/rsyslogd mr,\n  include if exists <local/usr.sbin.rsyslogd>\n}\n"
    file = write_file(tmp_path, "etc/apparmor.d/usr.sbin.rsyslogd", f"{before}\n{rest}")

    result = within(APPARMOR, tmp_path)

    assert result.returncode == 0, result.stderr
    assert file.read_text() == f"{after}\n{rest}"
    local = (tmp_path / "etc/apparmor.d/local/usr.sbin.rsyslogd").read_text()
    assert re.search(r"/run/rsyslog/octavia/log rwlk,$", local, re.MULTILINE)


def test_apparmor_is_left_alone_where_rsyslog_has_no_profile(tmp_path: Path) -> None:
    result = within(APPARMOR, tmp_path)

    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "etc/apparmor.d").exists()
