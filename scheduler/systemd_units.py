"""Pure: the text of the systemd units of one installation, and whether it was edited."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from retrofit.config import ScheduleSettings

Way = Literal["timer", "service", "rollover"]

UNITS: dict[Way, tuple[str, ...]] = {
    "timer": ("retrofit.service", "retrofit.timer"),
    "service": ("retrofit-scheduler.service",),
    "rollover": ("retrofit-rollover.service", "retrofit-rollover.timer"),
}
STARTED: dict[Way, str] = {
    "timer": "retrofit.timer",
    "service": "retrofit-scheduler.service",
    "rollover": "retrofit-rollover.timer",
}
"""The unit of each way that is enabled, and brings the others with it."""
ONE_OF: tuple[Way, ...] = ("timer", "service")
"""Ways that do the same: two would only wait for each other."""
ALL_UNITS = tuple(name for names in UNITS.values() for name in names)

OWN_DIRECTORIES = (
    Path("/var/lib/retrofit"),
    Path("/var/cache/retrofit"),
    Path("/var/log/retrofit"),
)
"""What StateDirectory=, CacheDirectory= and LogsDirectory= make and leave writable."""
STOP_SECONDS = 300
"""TimeoutStopSec= at least: a build's clean-up, and then Glance's answers."""
# ProtectHome= hides these: an installation in one of them would not start.
HOMES = (Path("/home"), Path("/root"), Path("/run/user"))

HEADER = re.compile(r"# Written by retrofit-scheduler install, sha256 ([0-9a-f]{64})\.\n")
ADVICE = "# To change something: systemctl edit {name}\n\n"


@dataclass(frozen=True, kw_only=True)
class Installation:
    """What differs between machines: the programs' directory, and paths that must be reachable."""

    programs: Path
    needed: tuple[Path, ...] = ()
    """Further directories that the programs are read from, such as Python's own."""
    writable: tuple[Path, ...] = ()
    """Directories of the configuration that are not systemd's to make."""
    worker_stop: int = 0
    """Seconds that the worker gives its runs to clean up."""
    run_limit: int = ScheduleSettings().time_limit
    """Seconds after which a run of all targets hangs: what the worker gives to each of them."""

    @property
    def stop_seconds(self) -> int:
        """Return how long systemd waits before it kills: longer than the worker itself does."""
        return max(STOP_SECONDS, self.worker_stop + 60)

    @property
    def in_home(self) -> bool:
        """Return True if ProtectHome=true would hide something that has to be read."""
        return any(
            path.is_relative_to(home)
            for path in (self.programs, *self.needed, *self.writable)
            for home in HOMES
        )


def template(name: str) -> str:
    """Return a file of this package's `systemd` directory."""
    return (resources.files("scheduler") / "systemd" / name).read_text()


def render(name: str, installation: Installation) -> str:
    """Return the text of the unit `name`, headed by a digest of the rest."""
    writable = ""
    if installation.writable:
        listed = " ".join(_quoted(path) for path in installation.writable)
        writable = (
            f"# From paths.* and metrics.textfile of the configuration.\nReadWritePaths={listed}\n"
        )
    body = ADVICE.format(name=name) + template(name).replace(
        "@SANDBOX@\n", template("sandbox.conf") + writable
    ).replace("@WRITABLE@\n", writable)
    for placeholder, value in {
        "@BIN@": _quoted(installation.programs),
        "@PROTECT_HOME@": "read-only" if installation.in_home else "true",
        "@START_SECONDS@": str(installation.run_limit),
        "@STOP_SECONDS@": str(installation.stop_seconds),
    }.items():
        body = body.replace(placeholder, value)
    return f"# Written by retrofit-scheduler install, sha256 {_digest(body)}.\n{body}"


def is_edited(text: str) -> bool:
    """Return True if a unit file is anything but an earlier result of `render`."""
    header = HEADER.match(text)
    return header is None or header[1] != _digest(text[header.end() :])


def outside_own(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return those of the paths that systemd does not make for us, each once."""
    return tuple(
        dict.fromkeys(
            path
            for path in paths
            if not any(path.is_relative_to(directory) for directory in OWN_DIRECTORIES)
        )
    )


def _quoted(path: Path) -> str:
    """Write a path as unit files want it: specifiers and blanks escaped (systemd.syntax(7))."""
    return re.sub(r"[\s\\\"']", lambda match: f"\\x{ord(match[0]):02x}", str(path)).replace(
        "%", "%%"
    )


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
