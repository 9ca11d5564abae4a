"""`retrofit-scheduler install`: put the systemd units in place, or take them away."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from retrofit.config import ScheduleSettings, Settings
from retrofit.config.file import DEFAULT_FILE, load
from retrofit.errors import ConfigError
from retrofit.system import process
from scheduler.systemd_units import (
    ALL_UNITS,
    ONE_OF,
    STARTED,
    UNITS,
    Installation,
    Way,
    is_edited,
    outside_own,
    render,
    template,
)

UNIT_DIRECTORY = Path("/etc/systemd/system")
BOOTED = Path("/run/systemd/system")
"""Exists where systemd is process 1, see sd_booted(3)."""
SYSTEMCTL_TIMEOUT = 600.0
"""Seconds; stopping a build takes as long as TimeoutStopSec= of its unit at most."""


@click.command()
@click.option("--timer", "way", flag_value="timer", help="Only retrofit.service and its timer.")
@click.option("--service", "way", flag_value="service", help="Only retrofit-scheduler.service.")
@click.option(
    "--rollover",
    "way",
    flag_value="rollover",
    help="Only retrofit-rollover.service and its timer: beside --timer. The worker of --service"
    " moves load balancers itself.",
)
@click.option(
    "--enable",
    is_flag=True,
    help="Start at every boot, and now; needs --timer, --service or --rollover.",
)
@click.option("--remove", is_flag=True, help="Stop and delete the units; nothing else is deleted.")
@click.option("--force", is_flag=True, help="Replace or delete edited files too.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("/"),
    show_default=True,
    help="Root of the system to install into.",
)
def install(way: Way | None, enable: bool, remove: bool, force: bool, root: Path) -> None:
    """Install the systemd units, and an example configuration where there is none.

    Without --timer, --service or --rollover, installs all units.
    """
    if enable and (way is None or remove):
        raise ConfigError(
            "--enable needs one of --timer, --service and --rollover",
            hint="--timer runs `retrofit run-once` every hour; --service keeps a worker running;"
            " --rollover moves load balancers beside --timer",
        )
    system = System(root=root.resolve())
    names = UNITS[way] if way else ALL_UNITS
    try:
        if remove:
            take_away(system, names, force=force)
        else:
            put_in_place(system, names, force=force)
            if enable and way:
                start_at_boot(system, way)
    except OSError as error:
        raise ConfigError(
            f"cannot change {error.filename}: {error.strerror}", hint="run it as root"
        ) from error


@dataclass(frozen=True, kw_only=True)
class System:
    """The machine that is installed into: this one, or what lies in a directory."""

    root: Path

    @property
    def booted(self) -> bool:
        """Return True if a systemd runs that has to be notified of changes."""
        return self.root == Path("/") and BOOTED.is_dir()

    def path(self, absolute: Path) -> Path:
        """Return where a path of that system is for us."""
        return self.root / absolute.relative_to("/")

    def unit(self, name: str) -> Path:
        """Return the file of a unit."""
        return self.path(UNIT_DIRECTORY / name)

    def is_enabled(self, name: str) -> bool:
        """Return True if a unit is started at boot."""
        # The link's target is a path of that system: seen from here it may lead nowhere.
        wants = self.path(UNIT_DIRECTORY).glob("*.wants")
        return any((directory / name).is_symlink() for directory in wants)

    def systemctl(self, *words: str) -> None:
        """Ask systemd, or change links where it does not run. Raises ConfigError."""
        here = () if self.root == Path("/") else (f"--root={self.root}",)
        try:
            process.run(["systemctl", *here, *words], timeout=SYSTEMCTL_TIMEOUT)
        except process.CommandError as error:
            raise ConfigError(
                f"systemctl {' '.join(words)} failed: {error}",
                hint="see journalctl -e; `retrofit config check` checks the configuration",
            ) from error


def put_in_place(system: System, names: Iterable[str], *, force: bool) -> None:
    """Write the units. Raises ConfigError before anything is changed if one was edited."""
    installation = this_installation(system)
    texts = {name: render(name, installation) for name in names}
    edited = _edited(system, names)
    if edited and not force:
        raise ConfigError(
            f"edited since they were installed: {_listed(system, edited)}",
            hint="move changes into drop-ins (systemctl edit), then repeat with --force",
        )
    for name, text in texts.items():
        path = system.unit(name)
        if name in edited:
            saved = path.with_name(f"{name}.saved")
            path.replace(saved)
            click.echo(f"kept the edited {path} as {saved.name}")
        if path.exists() and path.read_text() == text:
            click.echo(f"unchanged {path}")
            continue
        _write(path, text, mode=0o644)
        click.echo(f"wrote {path}")
    for directory in installation.writable:
        system.path(directory).mkdir(parents=True, exist_ok=True, mode=0o750)
    if installation.in_home:
        click.echo("home directories stay readable to the units: something needed lies in one")
    configuration = system.path(DEFAULT_FILE)
    if not configuration.exists():
        configuration.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        _write(configuration, template("retrofit.toml"), mode=0o640)
        click.echo(f"wrote an example {configuration}: fill in the cloud's name")
    if system.booted:
        system.systemctl("daemon-reload")


def this_installation(system: System) -> Installation:
    """Describe the running installation as the units have to know it."""
    settings = _configuration_of(system)
    paths, textfile = settings.paths, settings.metrics.textfile
    directories = [paths.state, paths.cache, paths.work, paths.logs]
    if textfile is not None:
        # Written beside its name, then renamed.
        directories.append(textfile.parent)
    return Installation(
        # Not resolved: a virtual environment's python is a link to that of the system.
        programs=Path(sys.executable).parent,
        needed=(Path(sys.base_prefix).resolve(), Path(__file__).resolve().parent),
        writable=outside_own(directories),
        worker_stop=settings.worker.stop_timeout,
        # Those targets that ask for a build of their own run one after the other.
        run_limit=sum(target.schedule.time_limit for target in settings.targets)
        or ScheduleSettings().time_limit,
    )


def _configuration_of(system: System) -> Settings:
    """Read the system's configuration; defaults replace one that is missing or wrong."""
    configuration = system.path(DEFAULT_FILE)
    if configuration.exists():
        try:
            return load(configuration)
        except ConfigError as error:
            click.echo(f"warning: {error.message}", err=True)
            click.echo(
                "warning: repeat this when it is mended, if it sets paths or metrics.textfile",
                err=True,
            )
    return Settings(targets=())


def start_at_boot(system: System, way: Way) -> None:
    """Enable a way, and disable the other that does the same."""
    for other in ONE_OF if way in ONE_OF else ():
        if other != way and system.is_enabled(STARTED[other]):
            _disable(system, STARTED[other])
    name = STARTED[way]
    system.systemctl("enable", *(["--now"] if system.booted else []), name)
    click.echo(f"enabled {name}")


def take_away(system: System, names: Iterable[str], *, force: bool) -> None:
    """Disable, stop and delete the units; edited ones are left and named."""
    edited = [] if force else _edited(system, names)
    # The timer before what it starts.
    for name in reversed(tuple(names)):
        path = system.unit(name)
        if system.is_enabled(name):
            _disable(system, name)
        elif system.booted and path.exists():
            system.systemctl("stop", name)
        if name in edited:
            click.echo(f"left {path}: it was edited (--force deletes it)")
        elif path.exists():
            path.unlink()
            click.echo(f"deleted {path}")
    if system.booted:
        system.systemctl("daemon-reload")


def _disable(system: System, name: str) -> None:
    system.systemctl("disable", *(["--now"] if system.booted else []), name)
    click.echo(f"disabled {name}")


def _edited(system: System, names: Iterable[str]) -> list[str]:
    return [
        name
        for name in names
        if system.unit(name).exists() and is_edited(system.unit(name).read_text())
    ]


def _listed(system: System, names: Iterable[str]) -> str:
    return ", ".join(str(system.unit(name)) for name in names)


def _write(path: Path, text: str, *, mode: int) -> None:
    """Write a file whole or not at all: systemd may read it at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text)
    unfinished.chmod(mode)
    unfinished.replace(path)
