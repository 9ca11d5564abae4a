"""Copies of an image with one thing in it changed, the way a bad build would have left it."""

from __future__ import annotations

import fnmatch
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Sabotage:
    """One thing that is wrong, and the check that has to say so.

    `offline` ones are seen in the files; the others only when the image runs.
    """

    name: str
    check: str
    change: Callable[[Path], None]
    offline: bool = True


def _delete(pattern: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        directory, _, name = pattern.rpartition("/")
        # Not by glob alone: links of the image lead nowhere on the host, and glob looks after them.
        found = [
            path
            for parent in root.glob(directory)
            for path in parent.iterdir()
            if fnmatch.fnmatchcase(path.name, name)
        ]
        assert found, f"the image has no {pattern} to delete"
        for path in found:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    return change


def _write(path: str, text: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)

    return change


def _enable(unit: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        link = root / "etc/systemd/system/multi-user.target.wants" / unit
        link.symlink_to(f"/usr/lib/systemd/system/{unit}")

    return change


def _fill(root: Path) -> None:
    """Leave nothing of the root filesystem's free space."""
    with (root / "var/filler").open("wb") as stream:
        free = os.statvfs(root)
        os.posix_fallocate(stream.fileno(), 0, (free.f_bavail - 256) * free.f_frsize)


def _replace(pattern: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        found = list(root.glob(pattern))
        assert found, f"the image has no {pattern}"
        for path in found:
            text = path.read_text()
            assert old in text, f"{path} has no {old!r}"
            path.write_text(text.replace(old, new))
            # What Python compiled before must not be taken for it.
            for stale in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
                stale.unlink()

    return change


PACKAGES = "usr/lib/python3/dist-packages"


def _break_masquerading(root: Path) -> None:
    """Let the script fail that the agent calls: Octavia's own, and the one of Debian's agent."""
    for path in ("usr/local/bin/lvs-masquerade.sh", "usr/bin/octavia-agent-lvs-masquerade"):
        if (root / path).exists():
            (root / path).write_text("#!/bin/sh\nexit 1\n")


PING_WRAPPER = "var/lib/octavia/ping-wrapper.sh"
MASQUERADES = ("usr/local/bin/lvs-masquerade.sh", "usr/bin/octavia-agent-lvs-masquerade")


def _forget_ipv6_masquerading(root: Path) -> None:
    """Let the masquerading script do nothing for IPv6, and report success."""
    for path in MASQUERADES:
        script = root / path
        if script.is_file() and not script.is_symlink():
            first, _, rest = script.read_text().partition("\n")
            script.write_text(f'{first}\n[ "$2" = ipv6 ] && exit 0\n{rest}')


def _forget_sctp_masquerading(root: Path) -> None:
    """Let packets of SCTP go to members with the client's address."""
    for path in MASQUERADES:
        script = root / path
        if script.is_file() and not script.is_symlink():
            text = script.read_text()
            assert "sctp" in text
            lines = text.replace("udp, sctp", "udp").splitlines(keepends=True)
            # Debian's script has a rule for each protocol.
            script.write_text("".join(line for line in lines if "sctp masquerade" not in line))


NETNS_TEMPLATE = (
    f"{PACKAGES}/octavia/amphorae/backends/agent/api_server/templates/amphora-netns.systemd.j2"
)


def _bring_pairs_of_lines_back(root: Path) -> None:
    """Find cards by pairs of lines again, as agents before 19.0.0 do (LP 2027995)."""
    template = root / NETNS_TEMPLATE
    text = template.read_text()
    mended = "/sbin/ip -br link | awk \\'{print $3 \" \" $1}\\'"
    assert mended in text
    template.write_text(
        text.replace(
            mended,
            '/sbin/ip link | awk \\\'{getline n; print $0,n}\\\' | awk \\\'{sub(":","",$2)}'
            ' { for(i=1;i<=NF;i++) if ($i == "link/ether") {print $(i+1) " " $2} }\\\'',
        )
    )


def _mask(unit: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")

    return change


def _mode(path: str, mode: int) -> Callable[[Path], None]:
    return lambda root: (root / path).chmod(mode)


def boot_with(words: str) -> Callable[[Path], None]:
    """Put words at the end of the kernel's command line, as the boot loader has it."""

    def change(root: Path) -> None:
        grub = root / "boot/grub/grub.cfg"
        lines = [
            f"{line} {words}" if line.lstrip().startswith("linux") else line
            for line in grub.read_text().splitlines()
        ]
        grub.write_text("\n".join(lines) + "\n")

    return change


def _break_health_checker(root: Path) -> None:
    """Let the checker of SCTP members find every one of them down."""
    checker = root / "usr/bin/amphora-health-checker"
    checker.unlink()
    checker.write_text("#!/bin/sh\nexit 1\n")
    checker.chmod(0o755)


def _break_a_unit(root: Path) -> None:
    unit = "[Service]\nType=oneshot\nExecStart=/bin/false\n"
    (root / "usr/lib/systemd/system/broken.service").write_text(unit)
    _enable("broken.service")(root)


SABOTAGES = (
    Sabotage(
        name="agent-dependency-missing",
        check="agent-dependencies",
        change=_delete(f"{PACKAGES}/pyroute2"),
    ),
    Sabotage(
        name="agent-unit-disabled",
        check="agent-unit-enabled",
        change=_delete("etc/systemd/system/*.wants/amphora-agent.service"),
    ),
    Sabotage(name="haproxy-missing", check="haproxy-installed", change=_delete("usr/sbin/haproxy")),
    Sabotage(
        name="stock-haproxy-enabled",
        check="stock-services-disabled",
        change=_enable("haproxy.service"),
    ),
    Sabotage(
        name="config-drive-ignored",
        check="cloud-init-datasource",
        change=_write("etc/cloud/cloud.cfg.d/zz-site.cfg", "datasource_list: [Ec2, None]\n"),
    ),
    Sabotage(
        name="kernel-without-ip-vs",
        check="kernel-modules",
        change=_delete("usr/lib/modules/*/kernel/net/netfilter/ipvs/ip_vs.ko*"),
    ),
    Sabotage(
        name="ssh-host-keys-left",
        check="no-ssh-host-keys",
        change=_write("etc/ssh/ssh_host_rsa_key", "-----BEGIN OPENSSH PRIVATE KEY-----\n"),
    ),
    Sabotage(
        name="apt-proxy-left",
        check="no-apt-proxy",
        change=_write("etc/apt/apt.conf.d/01proxy", 'Acquire::http::Proxy "http://10.0.0.1:3142";'),
    ),
    Sabotage(
        name="pro-token-left",
        check="no-credentials",
        change=_write("var/lib/ubuntu-advantage/private/machine-token.json", "{}"),
    ),
    Sabotage(
        name="archive-password-left",
        check="no-credentials",
        change=_write("etc/apt/auth.conf.d/site.conf", "machine archive login u password p\n"),
    ),
    Sabotage(
        name="certificates-on-disk",
        check="certificate-store-ordered",
        change=_delete("etc/systemd/system/certs-ramfs.service"),
    ),
    Sabotage(
        name="masquerade-script-missing",
        check="agent-scripts",
        change=_delete("usr/local/bin/lvs-masquerade.sh"),
    ),
    Sabotage(name="ping-not-for-nobody", check="agent-scripts", change=_mode(PING_WRAPPER, 0o750)),
    Sabotage(name="nc-missing", check="agent-calls", change=_delete("usr/bin/nc.openbsd")),
    Sabotage(
        name="keepalived-missing",
        check="tools-installed",
        change=_delete("usr/sbin/keepalived"),
    ),
    *(
        Sabotage(
            name=f"cloud-init-off-by-{unit}",
            check="cloud-init-datasource",
            change=_mask(f"cloud-{unit}.service"),
        )
        for unit in ("init-main", "init-network", "config")
    ),
    Sabotage(
        name="cloud-init-off-by-ds-identify",
        check="cloud-init-datasource",
        change=_write("etc/cloud/ds-identify.cfg", "policy: disabled\n"),
    ),
    Sabotage(
        name="cloud-init-without-networks",
        check="cloud-init-datasource",
        change=_write("etc/cloud/cloud.cfg.d/99-installer.cfg", "network: {config: disabled}\n"),
    ),
    # Last: the others need room to write.
    Sabotage(name="root-filesystem-full", check="free-space", change=_fill),
    Sabotage(
        name="vip-cannot-be-plugged",
        check="vip-plugged",
        change=_break_masquerading,
        offline=False,
    ),
    Sabotage(
        name="agent-in-a-crash-loop",
        check="agent-answers",
        change=_replace(f"{PACKAGES}/octavia/cmd/agent.py", "def main():", "def main_():"),
        offline=False,
    ),
    Sabotage(
        name="agent-serves-strangers",
        check="agent-refuses-no-certificate",
        change=_replace(f"{PACKAGES}/octavia/cmd/agent.py", "ssl.CERT_REQUIRED", "ssl.CERT_NONE"),
        offline=False,
    ),
    Sabotage(
        name="certificates-on-disk-after-all",
        check="certificates-on-ram",
        change=_replace("usr/local/sbin/amphora-certs-ramfs", "mount -t ramfs", "true"),
        offline=False,
    ),
    Sabotage(
        name="ping-without-its-path",
        check="ping-monitor",
        change=_replace(PING_WRAPPER, "exec /usr/bin/ping", "exec ping"),
        offline=False,
    ),
    Sabotage(
        name="cards-by-pairs-of-lines",
        check="vip-after-reboot",
        change=_bring_pairs_of_lines_back,
        offline=False,
    ),
    Sabotage(
        name="netns-unit-masked",
        check="load-balancer-started",
        change=_mask("amphora-netns.service"),
        offline=False,
    ),
    # No sabotage takes the module sctp: LVS has SCTP in ip_vs (CONFIG_IP_VS_PROTO_SCTP), and the
    # health checker uses raw sockets. Kernels of Ubuntu's cloud images come without it.
    Sabotage(
        name="masquerading-without-sctp",
        check="sctp-through-lvs",
        change=_forget_sctp_masquerading,
        offline=False,
    ),
    Sabotage(
        name="masquerading-without-ipv6",
        check="udp-through-lvs",
        change=_forget_ipv6_masquerading,
        offline=False,
    ),
    Sabotage(
        name="health-checker-broken",
        check="sctp-monitor",
        change=_break_health_checker,
        offline=False,
    ),
    Sabotage(
        name="log-socket-missing",
        check="log-offloading",
        change=_delete("etc/rsyslog.d/*octavia*"),
        offline=False,
    ),
    Sabotage(
        name="ipv6-disabled",
        check="management-ipv6",
        change=boot_with("ipv6.disable=1"),
        offline=False,
    ),
    Sabotage(
        # networkd has IPv6 on its own cards all the same; those of the VIPs are not its.
        name="ipv6-disabled-by-sysctl",
        check="http-over-ipv6-vip",
        change=_write("etc/sysctl.d/zz-site.conf", "net.ipv6.conf.all.disable_ipv6 = 1\n"),
        offline=False,
    ),
    Sabotage(
        name="certificate-rotation-ignored",
        check="certificate-rotation",
        change=_replace(
            f"{PACKAGES}/octavia/amphorae/backends/agent/api_server/certificate_update.py",
            "CONF.amphora_agent.agent_server_cert",
            "'/run/ignored'",
        ),
        offline=False,
    ),
    Sabotage(
        name="unit-fails-at-boot",
        check="no-failed-unit",
        change=_break_a_unit,
        offline=False,
    ),
)
