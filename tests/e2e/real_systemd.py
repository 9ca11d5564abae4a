"""A machine with a systemd of its own as process 1: a container of systemd-nspawn.

Its control group is version 2 and its device policy is enforced whatever the host has; its network
is the host's, so that it reaches a cloud on loopback.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from retrofit.system.tied import tied
from tests.devcloud.places import CACHE, CHECKOUT, digest_of, locked
from tests.e2e import package_access

PROGRAMS = Path("/opt/retrofit/bin")
BOOT_SECONDS = 60.0
STOP_SECONDS = 60.0
INSTALL_SECONDS = 600
COMMAND_SECONDS = 900.0
LOOP_DEVICES = 16
LOOP_MAJOR = 7
OUR_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CA = Path("/etc/ssl/host-ca.pem")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A running machine, and how to type commands on it."""

    root: Path
    """Where its files are seen from outside."""
    leader: int
    """Its process 1, as the host numbers it."""

    def run(
        self, *argv: str | Path, check: bool = True, timeout: float = COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as its root; fails with what it said unless `check` is off."""
        done = subprocess.run(
            [*_inside(self.leader), *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            said = self.journal(lines=20)
            raise AssertionError(
                f"{argv} ended with {done.returncode}: {done.stdout}{done.stderr}\n{said}"
            )
        return done

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Put a file on the machine."""
        quoted = ["sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1" && chmod "$2" "$1"', "sh"]
        subprocess.run(
            [*_inside(self.leader), *quoted, path, oct(mode)[2:]],
            input=text,
            text=True,
            check=True,
            timeout=30,
        )

    def systemctl(self, *words: str, check: bool = True) -> str:
        """Ask its service manager."""
        return self.run("systemctl", *words, check=check).stdout.strip()

    def property(self, unit: str, name: str) -> str:
        """A property of a unit, as `systemctl show` has it."""
        return self.systemctl("show", "--value", f"--property={name}", unit)

    def journal(self, *words: str, lines: int = 1000) -> str:
        """The end of its journal, messages alone."""
        return self.run(
            "journalctl", "--no-pager", "-o", "cat", f"--lines={lines}", *words, check=False
        ).stdout


def _inside(leader: int) -> list[str]:
    enter = ["nsenter", "-t", str(leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
    return [*enter, "env", "-i", f"PATH={OUR_PATH}", "HOME=/root", "LC_ALL=C.UTF-8"]


@contextmanager
def machine(
    name: str, *, wheel: Path, console: Path, binds: Sequence[str] = ()
) -> Iterator[Machine]:
    """Boot one with retrofit installed, and power it off; what it wrote outside `binds` is lost.

    `binds` are given to systemd-nspawn's --bind=; what it says while booting goes to `console`.
    """
    root = _root()
    # Whatever ends the tests ends the machine.
    argv = tied(
        *("systemd-nspawn", "--quiet", f"--directory={root}", "--boot", "--volatile=overlay"),
        *("--register=no", "--keep-unit", f"--machine={name}", "--capability=all"),
        *(f"--bind={each}" for each in ("/dev/loop-control", "/dev/kvm", "/dev/net/tun", *binds)),
        f"--bind-ro={wheel}:/root/{wheel.name}",
        by="KILL",
    )
    # Its own filter of system calls would hide what the units' filters do, and keep systemd from
    # loading the programs by which it enforces a device policy.
    environment = {
        **os.environ,
        "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
        "SYSTEMD_SECCOMP": "0",
    }
    with (
        console.open("wb") as said,
        subprocess.Popen(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as nspawn,
    ):
        try:
            booted = Machine(root=root, leader=_leader(nspawn, console))
            _wait_until_up(booted)
            _prepare(booted, wheel)
            yield booted
        finally:
            _power_off(nspawn)


def _root() -> Path:
    """The directory that all machines boot from and none writes to, made once per checkout."""
    key = digest_of([CHECKOUT / "requirements" / "run.txt", Path(__file__)])
    packages = hashlib.sha256(" ".join(run_packages()).encode()).hexdigest()
    root = CACHE / f"machine-{key}-{packages[:12]}"
    with locked(CACHE / "machine.lock"):
        if not root.exists():
            for outdated in CACHE.glob("machine-*"):
                shutil.rmtree(outdated)
            part = CACHE / "machine-part"
            _make_root(part)
            part.rename(root)
    return root


def run_packages() -> list[str]:
    """The Debian packages that a run needs, as bindep.txt lists them."""
    lines = (CHECKOUT / "bindep.txt").read_text().splitlines()
    return [line.split()[0] for line in lines if line.endswith("[platform:dpkg]")]


def _make_root(part: Path) -> None:
    packages = ["systemd-sysv", "dbus", "udev", "python3-venv", "ca-certificates", *run_packages()]
    tar = package_access.debian_root(packages, kind="systemd", sources=True)
    part.mkdir()
    subprocess.run(["tar", "-xf", tar, "-C", part], check=True, timeout=INSTALL_SECONDS)
    tar.unlink()
    (part / "etc" / "hostname").write_text("machine\n")
    (part / "etc" / "hosts").write_text("127.0.0.1 localhost machine\n")
    shutil.copyfile("/etc/resolv.conf", part / "etc" / "resolv.conf")
    shutil.copyfile(CHECKOUT / "requirements" / "run.txt", part / "root" / "run.txt")
    bundle = package_access.ca_bundle()
    if bundle is not None:
        shutil.copyfile(bundle, part / CA.relative_to("/"))
    configuration = package_access.pip_configuration(str(CA) if bundle else None)
    (part / "root" / "pip.conf").write_text(configuration)
    venv = PROGRAMS.parent
    for argv in (
        ["python3", "-m", "venv", venv],
        [PROGRAMS / "pip", "install", "--quiet", "--require-hashes", "-r", "/root/run.txt"],
    ):
        subprocess.run(
            ["chroot", part, *argv],
            env={"PATH": OUR_PATH, "HOME": "/root", "PIP_CONFIG_FILE": "/root/pip.conf"},
            check=True,
            timeout=INSTALL_SECONDS,
        )


def _leader(nspawn: subprocess.Popen[bytes], console: Path) -> int:
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline and nspawn.poll() is None:
        for child in children.read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() in {"systemd", "init"}:
                return int(child)
        time.sleep(0.1)
    raise AssertionError(f"no machine: {console.read_text(errors='replace')[-2000:]}")


def _wait_until_up(machine: Machine) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    state = ""
    while time.monotonic() < deadline:
        state = machine.systemctl("is-system-running", check=False)
        if state in {"running", "degraded"}:
            return
        time.sleep(0.2)
    raise AssertionError(f"the machine does not get up: {state}")


def _prepare(machine: Machine, wheel: Path) -> None:
    install = ["install", "--quiet", "--no-deps", "--no-index"]
    machine.run(PROGRAMS / "pip", *install, f"/root/{wheel.name}")
    for number in range(LOOP_DEVICES):
        machine.run("mknod", f"/dev/loop{number}", "b", str(LOOP_MAJOR), str(number), check=False)


def _power_off(nspawn: subprocess.Popen[bytes]) -> None:
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")
    with suppress(OSError):
        for child in children.read_text().split():
            # What `systemctl poweroff` does, without a bus; see systemd(1).
            os.kill(int(child), signal.SIGRTMIN + 4)
    try:
        nspawn.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        nspawn.kill()
        nspawn.wait()
