"""retrofit on a machine: installed, configured, scheduled, asked; knows nothing of Juju."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGES = {
    "x86_64": ("qemu-system-x86", "ovmf"),
    "aarch64": ("qemu-system-arm", "qemu-efi-aarch64"),
}
COMMON_PACKAGES = (
    "python3-venv", "qemu-utils", "xorriso", "iproute2", "e2fsprogs", "util-linux", "mount", "sudo",
    "gpgv",
)  # fmt: skip
TIMER = "retrofit.timer"
SERVICE = "retrofit.service"
FOREIGN_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
"""What a packed charm's dispatch sets for itself, and would break another Python."""


class WorkloadError(Exception):
    """The machine does not do what is needed; the message says what, in one line."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The wheels of one version of retrofit, as charm/make-bundle.sh packs them."""

    file: Path

    @property
    def version(self) -> str:
        """Name its content."""
        with self.file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """retrofit on the machine whose root is `root`."""

    root: Path = Path("/")

    @property
    def home(self) -> Path:
        """Where virtual environments lie, one for each version that was installed."""
        return self.root / "opt/retrofit"

    @property
    def current(self) -> Path:
        """The link to the one that is used."""
        return self.home / "current"

    @property
    def config(self) -> Path:
        """retrofit's configuration."""
        return self.root / "etc/retrofit/retrofit.toml"

    @property
    def clouds_yaml(self) -> Path:
        """Our own: that of the machine's administrator is not ours to write."""
        return self.root / "etc/retrofit/clouds.yaml"

    @property
    def ca_file(self) -> Path:
        """The authorities that are believed."""
        return self.root / "etc/retrofit/ca.pem"

    @property
    def calendar_file(self) -> Path:
        """The drop-in of the timer that says how often."""
        return self.root / f"etc/systemd/system/{TIMER}.d/charm.conf"

    @property
    def is_installed(self) -> bool:
        """Say whether there is a version to call."""
        return (self.current / "bin/retrofit").exists()

    def is_current(self, bundle: Bundle) -> bool:
        """Say whether this version is what is used."""
        return self.is_installed and self.current.resolve().name == bundle.version

    # Installation

    def install_packages(self) -> None:
        """Install what builds and trials need from Ubuntu's archive."""
        packages = (*COMMON_PACKAGES, *PACKAGES.get(platform.machine(), ()))
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        self._run("apt-get", "update", "--quiet", timeout=600, extra=quiet)
        self._run(
            "apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages,
            timeout=1800, extra=quiet,
        )  # fmt: skip

    def install(self, bundle: Bundle) -> None:
        """Install a version beside the one that is used, then use it.

        A run that goes on keeps its own version: the one before is left until the next upgrade.
        """
        before = self.current.resolve().name if self.is_installed else None
        version = bundle.version
        place = self.home / version
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        wheels = self.home / f"{version}.wheels"
        try:
            self._unpack(bundle, wheels)
            self._run("python3", "-m", "venv", place, timeout=300)
            pip = (place / "bin/pip", "install", "--quiet", "--no-index", "--find-links",
                   wheels / "wheels")  # fmt: skip
            self._run(*pip, "--require-hashes", "-r", wheels / "requirements.txt", timeout=900)
            self._run(*pip, "--no-deps", _only_wheel(wheels / "wheels"), timeout=300)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(wheels, ignore_errors=True)
        unfinished = self.home / "current.new"
        unfinished.unlink(missing_ok=True)
        unfinished.symlink_to(version)
        unfinished.replace(self.current)
        for other in self.home.iterdir():
            if other.is_dir() and other.name not in {version, before, "current"}:
                shutil.rmtree(other)

    def _unpack(self, bundle: Bundle, into: Path) -> None:
        shutil.rmtree(into, ignore_errors=True)
        try:
            with tarfile.open(bundle.file) as archive:
                archive.extractall(into, filter="data")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise WorkloadError(f"resource retrofit-bundle cannot be unpacked: {error}") from error
        if not (into / "requirements.txt").is_file():
            raise WorkloadError(
                "resource retrofit-bundle has no requirements.txt: charm/make-bundle.sh makes one"
            )

    def version(self) -> str:
        """Return the version of retrofit that is used."""
        return self._ours("retrofit", "--version", timeout=60).stdout.split()[-1]

    # Configuration

    def write_config(self, text: str) -> None:
        """Write retrofit.toml, unless retrofit refuses it: then it is raised as WorkloadError."""
        candidate = self.config.with_name("candidate.toml")
        _write(candidate, text, mode=0o640)
        try:
            named = {"RETROFIT_CONFIG": str(candidate)}
            self._run(self._program("retrofit"), "config", "check", timeout=60, extra=named)
            _write(self.config, text, mode=0o640)
        except WorkloadError as error:
            said = str(error).replace(str(candidate), "the options")
            raise WorkloadError(said) from error
        finally:
            candidate.unlink()

    def write_clouds(self, text: str) -> None:
        """Write the credentials, for root alone."""
        _write(self.clouds_yaml, text, mode=0o600)

    def remove_clouds(self) -> None:
        """Forget the credentials."""
        self.clouds_yaml.unlink(missing_ok=True)

    def write_authorities(self, further: str) -> None:
        """Write which authorities are believed: those of the machine, and further ones as PEM."""
        system = self.root / "etc/ssl/certs/ca-certificates.crt"
        text = system.read_text() if system.exists() else ""
        _write(self.ca_file, f"{text}{further}", mode=0o644)

    # Schedule

    def put_units_in_place(self) -> None:
        """Write the systemd units of the version that is used."""
        self._ours("retrofit-scheduler", "install", "--timer", *self._at_root(), timeout=120)

    def schedule(self, calendar: str) -> None:
        """Have the timer run, so often."""
        text = (
            f"# From the charm's option frequency.\n[Timer]\nOnCalendar=\nOnCalendar={calendar}\n"
        )
        if _write(self.calendar_file, text, mode=0o644):
            self._run("systemctl", "daemon-reload", timeout=120)
            self._run("systemctl", "try-restart", TIMER, timeout=120)
        if not self.is_scheduled():
            self._ours(
                "retrofit-scheduler", "install", "--timer", "--enable", *self._at_root(),
                timeout=600,
            )  # fmt: skip

    def unschedule(self) -> None:
        """Have the timer stopped; a run that goes on is left to end."""
        if self.is_scheduled():
            self._run("systemctl", "disable", "--now", TIMER, timeout=120)

    def is_scheduled(self) -> bool:
        """Say whether the timer runs, now and after the next boot."""
        return (
            subprocess.run(
                ["systemctl", "is-enabled", "--quiet", TIMER],
                env=_environment({}),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                check=False,
            ).returncode
            == 0
        )

    def remove(self) -> None:
        """Take everything away but the logs: all else that counts is in Glance."""
        if self.is_installed:
            self._ours(
                "retrofit-scheduler", "install", "--remove", "--force", *self._at_root(),
                timeout=900,
            )  # fmt: skip
        shutil.rmtree(self.calendar_file.parent, ignore_errors=True)
        for name in ("etc/retrofit", "opt/retrofit", "var/lib/retrofit", "var/cache/retrofit"):
            shutil.rmtree(self.root / name, ignore_errors=True)

    # Questions and actions

    def status(self) -> dict[str, Any]:
        """Return what `retrofit --output json status` says. Raises WorkloadError without answer."""
        finished = self._call(
            self._program("retrofit"),
            "--output",
            "json",
            "status",
            timeout=180,
            extra=self._named(),
        )
        try:
            answer = json.loads(finished.stdout)
        except ValueError:
            raise WorkloadError(_last_words(finished)) from None
        if not isinstance(answer, dict):
            raise WorkloadError("retrofit status gave no answer")
        return answer

    def act(self, action: str) -> int:
        """Do one of Juju's actions, which retrofit tells Juju about by itself.

        It has no time limit here: retrofit has its own. Returns its exit code.
        """
        with subprocess.Popen(
            [self._program("retrofit-charm-action")],
            env=_environment({**self._named(), "JUJU_ACTION_NAME": action}),
            stdin=subprocess.DEVNULL,
        ) as child:
            return child.wait()

    def _named(self) -> dict[str, str]:
        return {"RETROFIT_CONFIG": str(self.config)}

    def _at_root(self) -> tuple[str, ...]:
        return () if self.root == Path("/") else ("--root", str(self.root))

    def _program(self, name: str) -> Path:
        return self.current / "bin" / name

    def _ours(self, program: str, *words: str, timeout: float) -> subprocess.CompletedProcess[str]:
        return self._run(self._program(program), *words, timeout=timeout, extra=self._named())

    def _run(
        self, *words: str | Path, timeout: float, extra: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        finished = self._call(*words, timeout=timeout, extra=extra)
        if finished.returncode != 0:
            raise WorkloadError(_last_words(finished))
        return finished

    def _call(
        self, *words: str | Path, timeout: float, extra: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        argv = [str(word) for word in words]
        try:
            return subprocess.run(
                argv,
                env=_environment(extra or {}),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except OSError as error:
            raise WorkloadError(f"cannot start {Path(argv[0]).name}: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise WorkloadError(
                f"{Path(argv[0]).name} did not finish within {timeout:g} s"
            ) from error


def _only_wheel(directory: Path) -> Path:
    found = sorted(directory.glob("octavia_retrofit-*.whl"))
    if len(found) != 1:
        raise WorkloadError(
            f"resource retrofit-bundle holds {len(found)} wheels of retrofit, not one"
        )
    return found[0]


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in FOREIGN_VARIABLES}
    return {**kept, **extra}


def _last_words(finished: subprocess.CompletedProcess[str]) -> str:
    """Say in one line why a command failed: retrofit's own error, or the last line of others."""
    lines = [line.strip() for line in finished.stderr.splitlines() if line.strip()]
    ours = next((n for n, line in enumerate(lines) if line.startswith("error: ")), None)
    if ours is not None:
        told = [line for line in lines[ours:] if not line.startswith("hint: ")]
        return " ".join(told).removeprefix("error: ")
    name = Path(str(finished.args[0])).name
    return (
        f"{name} failed with exit code {finished.returncode}: {lines[-1] if lines else 'no word'}"
    )


def _write(path: Path, text: str, *, mode: int) -> bool:
    """Write a file whole or not at all, readable by nobody else meanwhile; say if it is new."""
    if path.exists() and path.read_text() == text and path.stat().st_mode & 0o777 == mode:
        return False
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
    unfinished.replace(path)
    return True
