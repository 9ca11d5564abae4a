"""The offline contract, rule by rule, on made-up trees."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from retrofit.model import Outcome
from retrofit.verify.checks import CheckFailedError, Record
from retrofit.verify.offline import RULES
from retrofit.verify.offline.software import sysctl_settings
from retrofit.verify.tree import Tree
from tests.unit import amphora_tree as made

UNITS = "/etc/systemd/system"


def outcome(name: str, root: Path, **build: object) -> tuple[Outcome, str]:
    """Run one rule and return how it ended, and what it saw."""
    record = Record()
    subject = made.subject(root, **build)
    record.attempt(name, lambda: RULES[name](subject))
    return record.checks[0].outcome, record.checks[0].detail


@pytest.mark.parametrize("agent", ["pypi", "distro"])
@pytest.mark.parametrize("name", list(RULES))
def test_a_complete_amphora_passes(name: str, agent: str, tmp_path: Path) -> None:
    made.make(tmp_path, agent="pypi" if agent == "pypi" else "distro")
    ended, detail = outcome(name, tmp_path, agent=agent)
    assert ended is Outcome.PASSED, detail


def remove(path: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        target = root / path.lstrip("/")
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink()

    return spoil


def write(path: str, text: str) -> Callable[[Path], None]:
    return lambda root: made.write(root, path, text)


def link(path: str, target: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        (root / path.lstrip("/")).unlink(missing_ok=True)
        made.link(root, path, target)

    return spoil


def enable(unit: str) -> Callable[[Path], None]:
    return lambda root: made.enable(root, unit)


def mode(path: str, bits: int) -> Callable[[Path], None]:
    return lambda root: (root / path.lstrip("/")).chmod(bits)


def without_run_bit(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path.lstrip("/")).chmod(0o644)


def mute(root: Path) -> None:
    """Give the image Python 3.14, and an agent that has not learned to fork there."""
    status = root / "var/lib/dpkg/status"
    status.write_text(
        f"{status.read_text()}\nPackage: python3\nStatus: install ok installed\nVersion: 3.14.0-1\n"
    )
    (root / f"{made.SITE}/octavia/cmd/agent.py".lstrip("/")).write_text("import multiprocessing\n")


CERTS = "var-lib-octavia-certs.mount"
AGENT_UNIT = made.FILES[f"{UNITS}/amphora-agent.service"]

SPOILT = [
    ("agent-installed", remove(f"{made.VENV}/bin/amphora-agent"), "not an executable"),
    ("agent-installed", link("/usr/local/bin/amphora-agent", "/usr/bin/true"), "does not lead"),
    ("agent-entry-points", remove("/usr/local/bin/haproxy-vrrp-check"), "haproxy-vrrp-check"),
    ("agent-entry-points", without_run_bit(f"{made.VENV}/bin/prometheus-proxy"), "prometheus"),
    ("agent-dependencies", remove(f"{made.SITE}/pyroute2"), "pyroute2"),
    ("agent-dependencies", remove(f"{made.SITE}/oslo.config"), "oslo.config"),
    ("agent-dependencies", remove(f"{made.SITE}/oslo.config-9.0.dist-info"), "by octavia"),
    ("agent-dependencies", remove(f"{made.SITE}/octavia-14.0.0.dist-info"), "octavia is not"),
    (
        "agent-unit-enabled",
        remove(f"{UNITS}/multi-user.target.wants/amphora-agent.service"),
        "amphora-agent.service is not enabled",
    ),
    ("agent-unit-enabled", link(f"{UNITS}/amphora-agent.service", "/dev/null"), "masked"),
    ("agent-unit-enabled", remove(f"{UNITS}/amphora-agent.service"), "no unit"),
    (
        "prometheus-proxy-enabled",
        remove(f"{UNITS}/multi-user.target.wants/prometheus-proxy.service"),
        "not enabled",
    ),
    (
        "agent-runs-as-root",
        write(f"{UNITS}/amphora-agent.service.d/user.conf", "[Service]\nUser=octavia\n"),
        "User=octavia",
    ),
    (
        "agent-reads-its-configuration",
        write(
            f"{UNITS}/amphora-agent.service",
            "[Service]\nExecStart=/usr/bin/amphora-agent --config-file=/etc/octavia/octavia.conf\n",
        ),
        "reads /etc/octavia/octavia.conf",
    ),
    ("certificate-store-ordered", remove(f"{UNITS}/{CERTS}"), "no unit puts"),
    (
        "certificate-store-ordered",
        remove(f"{UNITS}/amphora-agent.service.wants/{CERTS}"),
        "does not want",
    ),
    ("agent-known-defects", mute, "18.0.1 or newer"),
    ("agent-log-rotation", remove("/etc/logrotate.d/amphora-agent"), "amphora-agent.log"),
    ("haproxy-installed", remove("/usr/sbin/haproxy"), "/usr/sbin/haproxy"),
    ("haproxy-installed", without_run_bit("/usr/sbin/haproxy"), "not an executable"),
    (
        "haproxy-version",
        write(
            "/var/lib/dpkg/status",
            "Package: haproxy\nStatus: install ok installed\nVersion: 1.8.30-1\n",
        ),
        "1.8.30 is older",
    ),
    (
        "haproxy-version",
        write(
            "/var/lib/dpkg/status",
            "Package: haproxy\nStatus: deinstall ok config-files\nVersion: 2.8.5-1\n",
        ),
        "not installed",
    ),
    ("stock-services-disabled", enable("haproxy.service"), "haproxy.service"),
    ("stock-services-disabled", enable("keepalived.service"), "keepalived.service"),
    ("tools-installed", remove("/usr/sbin/ipvsadm"), "ipvsadm"),
    ("tools-installed", remove("/usr/bin/cloud-init"), "cloud-init"),
    (
        "haproxy-user-group",
        write("/var/lib/octavia/haproxy-default-user-group.conf", "group nogroup\n"),
        "no group in a section",
    ),
    (
        "haproxy-user-group",
        write("/var/lib/octavia/haproxy-default-user-group.conf", "global\n    group nobody\n"),
        "nobody does not exist",
    ),
    ("agent-scripts", remove("/usr/local/bin/lvs-masquerade.sh"), "lvs-masquerade.sh"),
    ("agent-scripts", without_run_bit("/var/lib/octavia/ping-wrapper.sh"), "ping-wrapper.sh"),
    # As the umask of a hardened host leaves them: root may, HAProxy may not.
    ("agent-scripts", mode("/var/lib/octavia/ping-wrapper.sh", 0o700), "nobody may not run"),
    ("agent-scripts", mode("/var/lib/octavia/ping-wrapper.sh", 0o711), "(mode 0711)"),
    (
        "agent-scripts",
        mode("/var/lib/octavia", 0o700),
        "not enter /var/lib/octavia (mode 0700)",
    ),
    ("agent-scripts", mode("/var", 0o750), "nobody may not enter /var (mode 0750)"),
    ("agent-scripts", write("/etc/passwd", "root:x:0:0::/root:/bin/bash\n"), "no user nobody"),
    (
        "agent-scripts",
        write(
            f"{made.SITE}/octavia/amphorae/backends/utils/interface_file.py",
            'command = "octavia-agent-lvs-masquerade add {} {}"',
        ),
        "octavia-agent-lvs-masquerade",
    ),
    ("agent-directories", remove("/etc/octavia/certs"), "/etc/octavia/certs"),
    (
        "kernel-modules",
        remove(f"/lib/modules/{made.KERNEL}/kernel/ip_vs.ko.zst"),
        "has no ip_vs",
    ),
    ("kernel-modules", remove(f"/boot/vmlinuz-{made.KERNEL}"), "no kernel"),
    ("kernel-modules", write("/boot/vmlinuz-6.11.0-1", ""), "6.11.0-1 has no"),
    ("kernel-tuning", remove("/etc/sysctl.d/amphora.conf"), "ip_nonlocal_bind"),
    (
        "kernel-tuning",
        write("/etc/sysctl.d/zz.conf", "net.ipv4.ip_nonlocal_bind=0\n"),
        "wrong: net.ipv4.ip_nonlocal_bind = 0",
    ),
    (
        "cloud-init-datasource",
        write("/etc/cloud/cloud.cfg.d/99-z.cfg", "datasource_list: [NoCloud, None]\n"),
        "NoCloud",
    ),
    ("cloud-init-datasource", write("/etc/cloud/cloud-init.disabled", ""), "switches"),
    ("cloud-init-datasource", link(f"{UNITS}/cloud-init.service", "/dev/null"), "masked"),
    ("cloud-init-datasource", link(f"{UNITS}/cloud-init-main.service", "/dev/null"), "masked"),
    ("cloud-init-datasource", link(f"{UNITS}/cloud-init-network.service", "/dev/null"), "masked"),
    ("cloud-init-datasource", link(f"{UNITS}/cloud-config.service", "/dev/null"), "masked"),
    ("cloud-init-datasource", link(f"{UNITS}/cloud-init.target", "/dev/null"), "masked"),
    (
        "cloud-init-datasource",
        write("/etc/cloud/ds-identify.cfg", "policy: disabled\n"),
        "ds-identify.cfg switches cloud-init off",
    ),
    (
        "cloud-init-datasource",
        write("/etc/cloud/cloud.cfg.d/99-installer.cfg", "network: {config: disabled}\n"),
        "networks off",
    ),
    ("agent-calls", remove("/usr/bin/nc"), "nc (called by udp_check.sh)"),
    (
        "agent-calls",
        write(
            f"{made.SITE}/octavia/amphorae/backends/agent/api_server/templates/x.systemd.j2",
            "ExecStart=-/sbin/ip netns exec {{ amphora_nsname }} join-all\n",
        ),
        "join-all",
    ),
    (
        "no-default-interfaces",
        write("/etc/netplan/50-cloud-init.yaml", "network:\n  ethernets: {eth0: {dhcp4: true}}\n"),
        "50-cloud-init.yaml",
    ),
    (
        "no-default-interfaces",
        write("/etc/network/interfaces", "auto lo eth0\nauto eth0\niface eth0 inet dhcp\n"),
        "interfaces",
    ),
    ("resolver", write("/etc/resolv.conf", "nameserver 8.8.8.8\n"), "8.8.8.8"),
    ("resolver", link("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"), "dangling link"),
    ("resolver", write("/etc/nsswitch.conf", "hosts: files dns\n"), "dns"),
    (
        "network-wait-online",
        lambda root: (
            made.write(
                root,
                f"{UNITS}/systemd-networkd-wait-online.service",
                "[Service]\nExecStart=/usr/lib/systemd/systemd-networkd-wait-online\n",
            ),
            made.enable(root, "systemd-networkd-wait-online.service", "network-online.target"),
        )[0],
        "wait-online",
    ),
    ("ssh", remove("/usr/sbin/sshd"), "missing"),
    ("ssh", remove(f"{UNITS}/ssh.service.d/management.conf"), "nothing binds"),
    ("apparmor-rsyslog", remove("/etc/apparmor.d/local/usr.sbin.rsyslogd"), "no rule"),
    ("no-certificates", write("/etc/octavia/certs/server.pem", "x"), "server.pem"),
    ("no-agent-configuration", write("/etc/octavia/amphora-agent.conf", ""), "amphora-agent.conf"),
    ("no-ssh-host-keys", write("/etc/ssh/ssh_host_ed25519_key", "x"), "ssh_host_ed25519_key"),
    ("no-machine-id", write("/etc/machine-id", "0123456789abcdef" * 2), "01234567..."),
    ("no-machine-id", write("/var/lib/systemd/random-seed", "x"), "random-seed"),
    ("no-personal-files", write("/root/.ssh/authorized_keys", "ssh-rsa x\n"), "authorized_keys"),
    ("no-personal-files", write("/home/ubuntu/.bash_history", "ls\n"), "/home/ubuntu"),
    ("no-instance-state", write("/var/lib/cloud/instances/i-1/user-data.txt", ""), "i-1"),
    (
        "no-apt-proxy",
        write("/etc/apt/apt.conf.d/90proxy", 'Acquire::http::Proxy "http://u:p@cache:3142";\n'),
        "//***@cache:3142",
    ),
    (
        "no-apt-proxy",
        write("/etc/apt/apt.conf", 'Acquire { http { Proxy "http://cache:3142/"; }; };\n'),
        "cache:3142",
    ),
    ("no-proxy", write("/etc/environment", "HTTPS_PROXY=http://cache:3128\n"), "HTTPS_PROXY"),
    ("no-build-leftovers", write("/etc/pip.conf", "[global]\n"), "pip.conf"),
    ("no-build-leftovers", write("/tmp/ca.crt", "x"), "/tmp/ca.crt"),
    ("no-build-leftovers", write("/root/.cache/uv/CACHEDIR.TAG", "x"), "uv"),
    ("no-build-leftovers", write("/usr/sbin/policy-rc.d", "exit 101\n"), "policy-rc.d"),
    *(
        ("no-credentials", write(path, text), saying)
        for path, text, saying in (
            ("/var/lib/ubuntu-advantage/machine-token.json", "{}", "Ubuntu Pro"),
            ("/var/lib/ubuntu-advantage/private/machine-token.json", "{}", "Ubuntu Pro"),
            ("/etc/cloud/cloud.cfg.d/pro.cfg", "ubuntu_advantage:\n  token: C1\n", "pro.cfg"),
            ("/etc/cloud/cloud.cfg.d/pro.cfg", "ubuntu_pro: \n  token: 'C1'\n", "pro.cfg"),
            ("/etc/apt/auth.conf", "machine a.b login u password p\n", "auth.conf (password)"),
            ("/etc/apt/auth.conf.d/90ubuntu-advantage", "machine a\nlogin u\npassword p\n", "90"),
            ("/etc/apt/sources.list", "deb https://u:p@archive/ noble main\n", "sources.list"),
            ("/etc/apt/sources.list.d/a.sources", "URIs: https://t0ken@archive/\n", "a.sources"),
            ("/etc/apt/mirrors/own.list", "https://u:p@archive/\n", "own.list"),
            ("/etc/apt/apt.conf.d/10tls", 'Acquire::https::SslKey "/etc/key";\n', "10tls"),
        )
    ),
    ("architecture", write("/var/lib/dpkg/status", "Package: dpkg\n"), "unknown"),
]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etc/apt/auth.conf", "# machine a login u password p\n"),
        ("/etc/apt/auth.conf.d/empty.conf", ""),
        ("/etc/cloud/cloud.cfg", "ubuntu_pro:\n  features: {}\n"),
        ("/etc/cloud/cloud.cfg.d/own.cfg", "reporting:\n  hub: {token: x}\n"),
        ("/etc/apt/sources.list", "deb [signed-by=/usr/share/k.gpg] http://a/debian/ noble main\n"),
        ("/var/lib/ubuntu-advantage/apt-esm/etc/apt/sources.list", "deb https://esm a main\n"),
        ("/etc/apt/apt.conf.d/10tls", '// Acquire::https::SslKey "/etc/key";\n'),
    ],
)
def test_what_is_no_secret_is_no_credential(path: str, text: str, tmp_path: Path) -> None:
    made.make(tmp_path)
    made.write(tmp_path, path, text)
    assert outcome("no-credentials", tmp_path)[0] is Outcome.PASSED


@pytest.mark.parametrize(
    ("name", "spoil", "saying"),
    SPOILT,
    ids=[f"{name}-{number}" for number, (name, _, _) in enumerate(SPOILT)],
)
def test_a_spoilt_amphora_fails_the_right_check(
    name: str, spoil: Callable[[Path], None], saying: str, tmp_path: Path
) -> None:
    made.make(tmp_path)
    spoil(tmp_path)
    ended, detail = outcome(name, tmp_path)
    assert (ended, saying in detail) == (Outcome.FAILED, True), detail


def test_every_check_of_files_has_been_seen_to_fail() -> None:
    judged_by_numbers = {"virtual-size", "free-space"}
    assert {name for name, _, _ in SPOILT} | judged_by_numbers == set(RULES)


def test_an_image_larger_than_the_flavors_disk_fails(tmp_path: Path) -> None:
    subject = made.subject(tmp_path, max_disk=2)
    with pytest.raises(CheckFailedError, match=r"3\.00 GiB"):
        RULES["virtual-size"](subject)


def test_an_image_as_large_as_the_flavors_disk_passes(tmp_path: Path) -> None:
    assert RULES["virtual-size"](made.subject(tmp_path, max_disk=3)) == "3.00 GiB"


def test_a_full_filesystem_fails(tmp_path: Path) -> None:
    subject = replace(made.subject(tmp_path), free=3 << 20)
    with pytest.raises(CheckFailedError, match="3 MiB free"):
        RULES["free-space"](subject)


def test_a_filesystem_without_inodes_fails(tmp_path: Path) -> None:
    subject = replace(made.subject(tmp_path), free_inodes=7)
    with pytest.raises(CheckFailedError, match="7 inodes"):
        RULES["free-space"](subject)


def test_sshd_must_be_gone_when_it_was_to_be_removed(tmp_path: Path) -> None:
    made.make(tmp_path)
    assert outcome("ssh", tmp_path, ssh="remove")[0] is Outcome.FAILED
    (tmp_path / "usr/sbin/sshd").unlink()
    assert outcome("ssh", tmp_path, ssh="remove")[0] is Outcome.PASSED


def test_apparmor_is_not_asked_for_where_no_profile_is(tmp_path: Path) -> None:
    made.make(tmp_path)
    (tmp_path / "etc/apparmor.d/usr.sbin.rsyslogd").unlink()
    assert outcome("apparmor-rsyslog", tmp_path)[0] is Outcome.NOT_APPLICABLE


def test_an_init_script_may_name_the_configuration(tmp_path: Path) -> None:
    made.make(tmp_path, agent="distro")
    unit = "[Service]\nExecStart=/etc/init.d/amphora-agent systemd-start\n"
    made.write(tmp_path, f"{UNITS}/amphora-agent.service", unit)
    script = "CONFIG_FILE=/etc/octavia/octavia.conf\n"
    made.write(tmp_path, "/etc/init.d/amphora-agent", script)
    name = "agent-reads-its-configuration"
    assert outcome(name, tmp_path, agent="distro")[0] is Outcome.FAILED
    default = "CONFIG_FILE=/etc/octavia/amphora-agent.conf\n"
    made.write(tmp_path, "/etc/default/amphora-agent", default)
    assert outcome(name, tmp_path, agent="distro")[0] is Outcome.PASSED


def test_a_reset_drop_in_takes_the_packages_user_away(tmp_path: Path) -> None:
    made.make(tmp_path)
    directory = f"{UNITS}/amphora-agent.service"
    made.write(tmp_path, directory, AGENT_UNIT.replace("[Service]", "[Service]\nUser=octavia"))
    assert outcome("agent-runs-as-root", tmp_path)[0] is Outcome.FAILED
    made.write(tmp_path, f"{directory}.d/root.conf", "[Service]\nUser=\n")
    assert outcome("agent-runs-as-root", tmp_path)[0] is Outcome.PASSED


def test_an_encrypted_certificate_store_needs_its_modules(tmp_path: Path) -> None:
    made.make(tmp_path)
    (tmp_path / f"etc/systemd/system/{CERTS}").unlink()
    (tmp_path / f"lib/modules/{made.KERNEL}/kernel/dm-crypt.ko.zst").unlink()
    assert outcome("kernel-modules", tmp_path)[0] is Outcome.PASSED
    made.write(tmp_path, "/usr/local/bin/certfs-ramfs", "cryptsetup -c aes create certfs /dev/ram0")
    made.write(
        tmp_path,
        f"{UNITS}/certs-ramfs.service",
        "[Service]\nExecStart=/usr/local/bin/certfs-ramfs\n",
    )
    assert outcome("kernel-modules", tmp_path) == (
        Outcome.FAILED,
        f"{made.KERNEL} has no dm_crypt",
    )


def test_links_of_the_image_are_followed_inside_the_image(tmp_path: Path) -> None:
    made.link(tmp_path, "/etc/passwd", "/../../../../etc/hostname")
    tree = Tree(tmp_path)
    assert tree.text("/etc/passwd") is None
    made.write(tmp_path, "/etc/hostname", "inside")
    assert tree.text("/etc/passwd") == "inside"


def test_a_circle_of_links_leads_nowhere(tmp_path: Path) -> None:
    made.link(tmp_path, "/a", "b")
    made.link(tmp_path, "/b", "a")
    assert Tree(tmp_path).resolve("/a") is None


def test_an_earlier_directory_hides_the_sysctl_file_of_the_same_name(tmp_path: Path) -> None:
    made.write(tmp_path, "/usr/lib/sysctl.d/50-a.conf", "net.core.somaxconn = 1\n")
    made.write(tmp_path, "/etc/sysctl.d/50-a.conf", "# nothing\n")
    assert sysctl_settings(Tree(tmp_path)) == {}
