"""Copies of an image with one thing in it changed, the way a bad build would have left it."""

from __future__ import annotations

import fnmatch
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from retrofit import process
from retrofit.disk import inspect

TIMEOUT = 600.0


@contextmanager
def opened(raw: Path) -> Iterator[Path]:
    """Mount a raw image's filesystems for writing for the length of the block."""
    mount_point = raw.with_suffix(".mounted")
    mount_point.mkdir()
    with ExitStack() as stack:
        stack.callback(mount_point.rmdir)
        for filesystem in inspect(raw).mounted:
            target = mount_point / filesystem.mount_point.lstrip("/")
            place = f"offset={filesystem.partition.offset},sizelimit={filesystem.partition.size}"
            process.run(["mount", "-o", f"loop,{place}", raw, target], timeout=TIMEOUT)
            stack.callback(process.run, ["umount", target], timeout=TIMEOUT)
        yield mount_point


def raw_copy(image: Path, disk_format: str, target: Path) -> Path:
    """Copy an image into a raw file that may be changed."""
    process.run(
        ["qemu-img", "convert", "-f", disk_format, "-O", "raw", "-W", image, target],
        timeout=TIMEOUT,
    )
    return target


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


def _break_masquerading(root: Path) -> None:
    """Let the script fail that the agent calls: Octavia's own, and the one of Debian's agent."""
    for path in ("usr/local/bin/lvs-masquerade.sh", "usr/bin/octavia-agent-lvs-masquerade"):
        if (root / path).exists():
            (root / path).write_text("#!/bin/sh\nexit 1\n")


def _break_a_unit(root: Path) -> None:
    unit = "[Service]\nType=oneshot\nExecStart=/bin/false\n"
    (root / "usr/lib/systemd/system/broken.service").write_text(unit)
    _enable("broken.service")(root)


PACKAGES = "usr/lib/python3/dist-packages"
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
        name="certificates-on-disk",
        check="certificate-store-ordered",
        change=_delete("etc/systemd/system/certs-ramfs.service"),
    ),
    Sabotage(
        name="masquerade-script-missing",
        check="agent-scripts",
        change=_delete("usr/local/bin/lvs-masquerade.sh"),
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
        name="unit-fails-at-boot",
        check="no-failed-unit",
        change=_break_a_unit,
        offline=False,
    ),
)
