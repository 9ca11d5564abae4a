"""A made-up file tree that fulfils the offline contract, small enough to be spoilt at will."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from retrofit.config import BuildSettings
from retrofit.control_plane.agents import DEFECTS, FEATURES
from retrofit.verify.offline import Subject
from retrofit.verify.offline.software import SYSCTL_KEYS
from retrofit.verify.tree import Tree

KERNEL = "6.8.0-1010-virtual"
MODULES = ("ip_vs", "nf_conntrack", "nf_tables", "veth", "brd", "dm-crypt")
VENV = "/opt/amphora-agent-venv"
SITE = f"{VENV}/lib/python3.12/site-packages"
SYSTEM_SITE = "/usr/lib/python3/dist-packages"
ENTRY_POINTS = (
    "amphora-agent",
    "amphora-interface",
    "haproxy-vrrp-check",
    "amphora-health-checker",
    "prometheus-proxy",
)
PROGRAMS = (
    "/usr/sbin/haproxy",
    "/usr/sbin/keepalived",
    "/usr/sbin/ipvsadm",
    "/usr/sbin/cryptsetup",
    "/usr/sbin/ip",
    "/usr/sbin/nft",
    "/usr/sbin/sysctl",
    "/usr/sbin/rsyslogd",
    "/usr/sbin/logrotate",
    "/usr/bin/cloud-init",
    "/usr/bin/nc",
    "/usr/sbin/sshd",
    "/var/lib/octavia/ping-wrapper.sh",
    "/usr/local/bin/lvs-masquerade.sh",
)

FILES: Mapping[str, str] = {
    "/usr/lib/os-release": 'ID=ubuntu\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n',
    "/etc/passwd": "root:x:0:0::/root:/bin/bash\nnobody:x:65534:65534::/nonexistent:/bin/false\n",
    "/etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "/etc/systemd/system/amphora-agent.service": """\
[Unit]
After=network.target var-lib-octavia-certs.mount
[Service]
ExecStart=/usr/local/bin/amphora-agent --config-file /etc/octavia/amphora-agent.conf
[Install]
WantedBy=multi-user.target
""",
    "/etc/systemd/system/prometheus-proxy.service": "[Service]\nExecStart=/usr/bin/true\n",
    "/etc/systemd/system/var-lib-octavia-certs.mount": """\
[Unit]
Before=amphora-agent.service
[Mount]
What=ramfs
Where=/var/lib/octavia/certs
Type=ramfs
""",
    "/usr/lib/systemd/system/haproxy.service": "[Service]\nExecStart=/usr/sbin/haproxy\n",
    "/usr/lib/systemd/system/keepalived.service": "[Service]\nExecStart=/usr/sbin/keepalived\n",
    "/usr/lib/systemd/system/cloud-init.service": "[Service]\nExecStart=/usr/bin/cloud-init\n",
    "/etc/logrotate.d/amphora-agent": "/var/log/amphora-agent.log {\n  daily\n}\n",
    "/var/lib/octavia/haproxy-default-user-group.conf": "global\n    group nogroup\n",
    f"/boot/vmlinuz-{KERNEL}": "kernel",
    "/etc/sysctl.d/amphora.conf": "".join(
        f"{key} = {value or 10}\n" for key, value in SYSCTL_KEYS.items()
    ),
    "/etc/cloud/cloud.cfg.d/99-amphora.cfg": "datasource_list: [ConfigDrive]\n",
    "/etc/resolv.conf": "nameserver 127.0.0.1\n",
    "/etc/nsswitch.conf": "passwd: files\nhosts: files\n",
    "/etc/systemd/system/ssh.service.d/management.conf": "# ListenAddress\n",
    "/etc/apparmor.d/usr.sbin.rsyslogd": "profile rsyslogd {}\n",
    "/etc/apparmor.d/local/usr.sbin.rsyslogd": "/run/rsyslog/octavia/log rwl,\n",
    "/etc/machine-id": "",
    "/var/lib/dpkg/status": """\
Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.22.6ubuntu6

Package: haproxy
Status: install ok installed
Architecture: amd64
Version: 2.8.5-1ubuntu3.3
""",
}


def write(root: Path, path: str, text: str, *, executable: bool = False) -> None:
    """Write one of the tree's files."""
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    target.chmod(0o755 if executable else 0o644)


def link(root: Path, path: str, target: str) -> None:
    """Make one of the tree's symbolic links."""
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def enable(root: Path, unit: str, by: str = "multi-user.target") -> None:
    """Do what `systemctl enable` does."""
    link(root, f"/etc/systemd/system/{by}.wants/{unit}", f"/etc/systemd/system/{unit}")


def distribution(
    root: Path, site: str, name: str, version: str, requires: tuple[str, ...] = ()
) -> None:
    """Install a Python distribution with one module."""
    lines = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}\n"
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    write(root, f"{site}/{info}/METADATA", metadata)
    write(root, f"{site}/{name}/__init__.py", "")
    write(root, f"{site}/{info}/RECORD", f"{name}/__init__.py,,\n{info}/METADATA,,\n")


def make(root: Path, agent: Literal["pypi", "distro"] = "pypi") -> None:
    """Make the whole tree below `root`."""
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)  # the root of an image is anybody's, a test's own directory is not
    for path, text in FILES.items():
        write(root, path, text)
    for path in PROGRAMS:
        write(root, path, "#!/bin/sh\n", executable=True)
    link(root, "/etc/os-release", "../usr/lib/os-release")
    link(root, "/usr/local/bin/udp-masquerade.sh", "lvs-masquerade.sh")
    for directory in ("etc/octavia/certs", "var/lib/haproxy", "tmp", "root"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    modules = f"/lib/modules/{KERNEL}"
    lines = []
    for name in MODULES:
        write(root, f"{modules}/kernel/{name}.ko.zst", "")
        lines.append(f"kernel/{name}.ko.zst: kernel/libcrc32c.ko.zst\n")
    write(root, f"{modules}/modules.dep", "".join(lines))
    for unit in ("amphora-agent.service", "prometheus-proxy.service"):
        enable(root, unit)
    enable(root, "var-lib-octavia-certs.mount", by="amphora-agent.service")
    site = SITE if agent == "pypi" else SYSTEM_SITE
    distribution(root, site, "octavia", "14.0.0", ("oslo.config>=6", 'tomli; extra == "test"'))
    distribution(root, site, "oslo.config", "9.0")
    write(root, f"{site}/octavia/amphorae/backends/utils/udp_check.sh", "nc_cmd=`which nc`\n")
    for trait in (*FEATURES, *DEFECTS):
        file = root / f"{site}/octavia/{trait.file}".lstrip("/")
        before = file.read_text() if file.exists() else ""
        write(root, f"{site}/octavia/{trait.file}", f"{before}{trait.mark}\n")
    distribution(root, site, "pyroute2", "0.7")
    for name in ENTRY_POINTS:
        if agent == "pypi":
            write(root, f"{VENV}/bin/{name}", "#!/bin/sh\n", executable=True)
            link(root, f"/usr/local/bin/{name}", f"{VENV}/bin/{name}")
        else:
            write(root, f"/usr/bin/{name}", "#!/bin/sh\n", executable=True)


def subject(root: Path, **build: object) -> Subject:
    """Describe the tree as an image of 3 GiB with 1 GiB free."""
    return Subject(
        tree=Tree(root),
        build=BuildSettings.model_validate({"agent": "pypi", **build}),
        architecture="x86_64",
        virtual_size=3 << 30,
        free=1 << 30,
    )
