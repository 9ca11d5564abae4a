"""retrofit on a machine: installation, configuration, schedule, status; knows nothing of Juju."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
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
ROLLOVER_TIMER = "retrofit-rollover.timer"
SERVICE = "retrofit.service"
FOREIGN_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
"""Variables that a packed charm's dispatch sets for itself, and that break another Python."""


VERSIONS = re.compile(r"[0-9a-f]{16}(\.wheels)?")
"""Names of installed versions, as Bundle.version makes them."""
MARKER = ".retrofit"
"""The file by which retrofit knows its own directories (retrofit/system/own_directory.py)."""
ARCHIVE_FILES = ("archive.sources", "cloud-archive-key.asc")
"""Files beside the configuration that the options of package archives come to (archives.py)."""
OWN_ENTRIES = {
    "var/lib/retrofit/work": (MARKER,),
    "var/lib/retrofit": (
        MARKER, "targets", "locks", "schedule.json", "worker.toml", "worker.lock",
        "outbox.next", "outbox.lock", "reservations",
    ),
    "var/cache/retrofit": (MARKER, "packages", "sources", "archive", "evidence"),
}  # fmt: skip
"""What retrofit leaves in its directories once nothing runs, the inner one first."""


class WorkloadError(Exception):
    """A command on the machine failed; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The wheels of one version of retrofit, as charm/make-bundle.sh packs them."""

    file: Path

    @property
    def version(self) -> str:
        """Return a name of its content."""
        with self.file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """retrofit on the machine whose root is `root`."""

    root: Path = Path("/")

    @property
    def home(self) -> Path:
        """The directory of virtual environments, one for each installed version."""
        return self.root / "opt/retrofit"

    @property
    def current(self) -> Path:
        """The link to the version in use."""
        return self.home / "current"

    @property
    def config(self) -> Path:
        """retrofit's configuration."""
        return self.root / "etc/retrofit/retrofit.toml"

    @property
    def clouds_yaml(self) -> Path:
        """Our own file: that of the machine's administrator is not ours to write."""
        return self.root / "etc/retrofit/clouds.yaml"

    @property
    def ca_file(self) -> Path:
        """The trusted authorities."""
        return self.root / "etc/retrofit/ca.pem"

    @property
    def controller_ca_file(self) -> Path:
        """The CA of Octavia's controllers, which agents trust."""
        return self.root / "etc/retrofit/controller-ca.pem"

    @property
    def known_controller_ca(self) -> str:
        """The path of that file where it is there; empty without one."""
        return str(self.controller_ca_file) if self.controller_ca_file.exists() else ""

    @property
    def calendar_file(self) -> Path:
        """The drop-in of the timer with its frequency."""
        return self.root / f"etc/systemd/system/{TIMER}.d/charm.conf"

    @property
    def is_installed(self) -> bool:
        """Return True if a version is installed."""
        return (self.current / "bin/retrofit").exists()

    def is_current(self, bundle: Bundle) -> bool:
        """Return True if this version is in use."""
        return self.is_installed and self.current.resolve().name == bundle.version

    # Installation

    def install_packages(self) -> None:
        """Install what builds and verification need from Ubuntu's archive."""
        packages = (*COMMON_PACKAGES, *PACKAGES.get(platform.machine(), ()))
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        self._run("apt-get", "update", "--quiet", timeout=600, extra=quiet)
        self._run(
            "apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages,
            timeout=1800, extra=quiet,
        )  # fmt: skip

    def install(self, bundle: Bundle) -> None:
        """Install a version beside the one in use, then switch to it.

        A run in progress keeps its own version: the previous one stays until the next upgrade.
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
                self._remove_version(other)

    @staticmethod
    def _remove_version(place: Path) -> None:
        """Delete an installed version, or its wheels: by the form of its name, nothing else."""
        if VERSIONS.fullmatch(place.name) and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)

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
        """Return the version of retrofit in use."""
        return self._ours("retrofit", "--version", timeout=60).stdout.split()[-1]

    # Configuration

    def write_config(self, text: str) -> None:
        """Write retrofit.toml. Raises WorkloadError if retrofit refuses it."""
        candidate = self.config.with_name("candidate.toml")
        _write(candidate, text, mode=0o640)
        try:
            named = {"RETROFIT_CONFIG": str(candidate)}
            self._run(self._program("retrofit"), "config", "check", timeout=60, extra=named)
            _write(self.config, text, mode=0o640)
        except WorkloadError as error:
            message = str(error).replace(str(candidate), "the options")
            raise WorkloadError(message) from error
        finally:
            candidate.unlink()

    def write_clouds(self, text: str) -> None:
        """Write the credentials, for root alone."""
        _write(self.clouds_yaml, text, mode=0o600)

    def remove_clouds(self) -> None:
        """Delete the credentials."""
        self.clouds_yaml.unlink(missing_ok=True)

    def write_authorities(self, further: str) -> None:
        """Write the trusted authorities: those of the machine, and further ones as PEM."""
        system = self.root / "etc/ssl/certs/ca-certificates.crt"
        text = system.read_text() if system.exists() else ""
        _write(self.ca_file, f"{text}{further}", mode=0o644)

    def write_controller_ca(self, text: str) -> None:
        """Write the CA of Octavia's controllers; without one, delete it."""
        if text:
            _write(self.controller_ca_file, text, mode=0o644)
        else:
            self.controller_ca_file.unlink(missing_ok=True)

    def write_archives(self, files: Mapping[str, str]) -> None:
        """Write the files of package archives, and delete those that no option needs any more."""
        for name in ARCHIVE_FILES:
            path = self.config.with_name(name)
            if name in files:
                _write(path, files[name], mode=0o644)
            else:
                path.unlink(missing_ok=True)

    # Schedule

    def put_units_in_place(self) -> None:
        """Write the systemd units of the version in use."""
        ways = ["--timer", *(["--rollover"] if self.is_scheduled(ROLLOVER_TIMER) else [])]
        for way in ways:
            self._ours("retrofit-scheduler", "install", way, *self._at_root(), timeout=120)

    def schedule(self, calendar: str) -> None:
        """Start the timer with this frequency."""
        text = (
            f"# From the charm's option frequency.\n[Timer]\nOnCalendar=\nOnCalendar={calendar}\n"
        )
        if _write(self.calendar_file, text, mode=0o644):
            self._run("systemctl", "daemon-reload", timeout=120)
            self._run("systemctl", "try-restart", TIMER, timeout=120)
        if not self.is_scheduled():
            self._enable("--timer")

    def unschedule(self) -> None:
        """Stop the timer; a run in progress ends by itself."""
        self._disable(TIMER)

    def schedule_rollover(self) -> None:
        """Start the timer of rollovers, with the units of the version in use."""
        if not self.is_scheduled(ROLLOVER_TIMER):
            self._enable("--rollover")

    def unschedule_rollover(self) -> None:
        """Stop the timer of rollovers; one in progress ends after its failover."""
        self._disable(ROLLOVER_TIMER)

    def _enable(self, way: str) -> None:
        words = ("install", way, "--enable", *self._at_root())
        self._ours("retrofit-scheduler", *words, timeout=600)

    def _disable(self, timer: str) -> None:
        if self.is_scheduled(timer):
            self._run("systemctl", "disable", "--now", timer, timeout=120)

    def is_scheduled(self, timer: str = TIMER) -> bool:
        """Return True if a timer runs, now and after the next boot."""
        return (
            subprocess.run(
                ["systemctl", "is-enabled", "--quiet", timer],
                env=_environment({}),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                check=False,
            ).returncode
            == 0
        )

    def remove(self) -> None:
        """Delete everything of ours but the logs: all else that matters is in Glance.

        What somebody else put into these directories stays, and so do the directories then.
        """
        if self.is_installed:
            self._ours(
                "retrofit-scheduler", "install", "--remove", "--force", *self._at_root(),
                timeout=900,
            )  # fmt: skip
        shutil.rmtree(self.calendar_file.parent, ignore_errors=True)
        self.write_archives({})
        for file in (self.config, self.clouds_yaml, self.ca_file, self.controller_ca_file):
            file.unlink(missing_ok=True)
        for link in (self.current, self.home / "current.new"):
            link.unlink(missing_ok=True)
        for place in self.home.glob("*"):
            self._remove_version(place)
        for name, entries in OWN_ENTRIES.items():
            _remove_own(self.root / name, entries)
        for name in ("etc/retrofit", "opt/retrofit", *OWN_ENTRIES):
            with suppress(OSError):
                (self.root / name).rmdir()

    # Status and actions

    def status(self) -> dict[str, Any]:
        """Return the answer of `retrofit --output json status`. Raises WorkloadError."""
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
        """Do one of Juju's actions; retrofit sends the result to Juju itself.

        There is no time limit here: retrofit has its own. Returns its exit code.
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
    """Return in one line why a command failed: retrofit's error, or the last line of others."""
    lines = [line.strip() for line in finished.stderr.splitlines() if line.strip()]
    ours = next((n for n, line in enumerate(lines) if line.startswith("error: ")), None)
    if ours is not None:
        error = [line for line in lines[ours:] if not line.startswith("hint: ")]
        return " ".join(error).removeprefix("error: ")
    name = Path(str(finished.args[0])).name
    return (
        f"{name} failed with exit code {finished.returncode}: {lines[-1] if lines else 'no output'}"
    )


def _write(path: Path, text: str, *, mode: int) -> bool:
    """Write a file whole or not at all, never readable by others; return True if it changed."""
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


def _remove_own(directory: Path, entries: Iterable[str]) -> None:
    """Delete entries of a directory that has retrofit's marker, and directories that are empty."""
    if not (directory / MARKER).is_file():
        return
    for path in (directory / name for name in entries):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for path in sorted(directory.rglob("*"), reverse=True):
        with suppress(OSError):
            path.rmdir()
