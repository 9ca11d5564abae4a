"""The agent: its program, what it imports, and the units that start it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from retrofit.verify import packages, units
from retrofit.verify.agent_files import AGENT_CONF, AGENT_UNITS, CERTIFICATE_DIRECTORY
from retrofit.verify.checks import CheckFailedError
from retrofit.verify.offline.rules import Subject, rule
from retrofit.verify.tree import Tree

PROXY_UNITS = (
    "prometheus-proxy.service",
    "octavia-prometheus-proxy.service",
    "octavia-agent-prometheus-proxy.service",
)
ENTRY_POINTS = (
    "amphora-agent",
    "amphora-interface",
    "haproxy-vrrp-check",
    "amphora-health-checker",
    "prometheus-proxy",
)
UNDECLARED = ("pyroute2",)
"""Needed by the agent, named in octavia's requirements.txt, and not declared by its wheel."""

MOST_FILES = 16
"""Files named by a unit that are read: a unit of four MiB may name a million large ones."""


def agent_unit(tree: Tree) -> units.Unit:
    """Return the unit that starts the agent. Raises CheckFailedError when there is none."""
    return _one_of(tree, AGENT_UNITS)


def _one_of(tree: Tree, names: tuple[str, ...]) -> units.Unit:
    found = [unit for name in names if (unit := units.find(tree, name)) is not None]
    if not found:
        raise CheckFailedError(f"no unit {' or '.join(names)}")
    # One that a boot starts before one that it does not: Debian's package has two names for it.
    return next((unit for unit in found if units.is_enabled(tree, unit.name)), found[0])


@rule("agent-installed")
def agent_installed(subject: Subject) -> str:
    """Look for the agent in the place of its configured source."""
    tree = subject.tree
    if subject.build.agent == "pypi":
        program, link = f"{packages.VENV}/bin/amphora-agent", "/usr/local/bin/amphora-agent"
        if not tree.is_executable(program):
            raise CheckFailedError(f"{program} is not an executable file")
        if tree.resolve(link) != tree.resolve(program):
            raise CheckFailedError(f"{link} does not lead to {program}")
        return program
    if not tree.is_executable("/usr/bin/amphora-agent"):
        raise CheckFailedError("/usr/bin/amphora-agent is not an executable file")
    return "/usr/bin/amphora-agent"


@rule("agent-entry-points")
def agent_entry_points(subject: Subject) -> str:
    """Look for every command that Octavia's units and templates call."""
    missing = [name for name in ENTRY_POINTS if subject.tree.which(name) is None]
    if missing:
        raise CheckFailedError(f"not in PATH: {', '.join(missing)}")
    return ", ".join(ENTRY_POINTS)


@rule("agent-dependencies")
def agent_dependencies(subject: Subject) -> str:
    """Follow the requirements of octavia's metadata, and those it does not declare."""
    octavia = subject.distributions.get("octavia")
    if octavia is None:
        raise CheckFailedError(f"octavia is not installed in {', '.join(subject.agent_python)}")
    for module in UNDECLARED:
        if not any(
            packages.module_exists(subject.tree, directory, module)
            for directory in subject.agent_python
        ):
            raise CheckFailedError(f"octavia imports {module}, which is missing")
    if subject.build.agent == "distro":
        # dpkg keeps declared dependencies; Debian's metadata may name what it patched away.
        return f"octavia {octavia.version}, {', '.join(UNDECLARED)}"
    missing = sorted(_unsatisfied(subject, octavia))
    if missing:
        raise CheckFailedError(f"required and missing: {', '.join(missing)}")
    damaged = [
        f"{distribution.name} ({missing_files[0]})"
        for distribution in subject.distributions.values()
        for directory in subject.agent_python
        if distribution.directory.startswith(directory)
        and (missing_files := packages.missing_modules(subject.tree, directory, distribution))
    ]
    if damaged:
        raise CheckFailedError(f"files are missing of {', '.join(damaged)}")
    return f"{len(subject.distributions)} distributions"


def _unsatisfied(subject: Subject, start: packages.PythonDistribution) -> set[str]:
    missing: set[str] = set()
    seen: set[str] = set()
    pending = [start]
    while pending:
        distribution = pending.pop()
        for text in distribution.requires:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            if not _applies(requirement.marker, subject):
                continue
            name = canonicalize_name(requirement.name)
            if name in seen:
                continue
            seen.add(name)
            required = subject.distributions.get(name)
            if required is None:
                missing.add(f"{requirement.name} (by {distribution.name})")
            else:
                pending.append(required)
    return missing


def _applies(marker: Marker | None, subject: Subject) -> bool:
    if marker is None:
        return True
    version = next(
        (
            match.group(1)
            for directory in subject.agent_python
            if (match := re.search(r"/python(3\.\d+)/", directory))
        ),
        "3.11",
    )
    environment = {
        "extra": "",
        "python_version": version,
        "python_full_version": f"{version}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_machine": subject.architecture,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    try:
        return marker.evaluate(environment)
    except (InvalidMarker, UndefinedEnvironmentName):
        return False


@rule("agent-unit-enabled")
def agent_unit_enabled(subject: Subject) -> str:
    """Make sure that a boot starts the agent."""
    return _enabled(subject.tree, AGENT_UNITS)


@rule("prometheus-proxy-enabled")
def prometheus_proxy_enabled(subject: Subject) -> str:
    """Make sure that a boot starts the metrics proxy."""
    return _enabled(subject.tree, PROXY_UNITS)


def _enabled(tree: Tree, names: tuple[str, ...]) -> str:
    unit = _one_of(tree, names)
    if unit.masked:
        raise CheckFailedError(f"{unit.name} is masked")
    wanting = units.wanted_by(tree, unit.name)
    if not wanting:
        raise CheckFailedError(f"{unit.name} is not enabled")
    return f"{unit.name}, wanted by {', '.join(sorted(wanting))}"


@rule("agent-runs-as-root")
def agent_runs_as_root(subject: Subject) -> str:
    """Make sure that the agent runs as root (LP 1831642)."""
    unit = agent_unit(subject.tree)
    for key in ("User", "Group"):
        value = unit.value("Service", key)
        if value not in (None, "root", "0"):
            raise CheckFailedError(f"{unit.name} has {key}={value}")
    return unit.name


@rule("agent-reads-its-configuration")
def agent_reads_its_configuration(subject: Subject) -> str:
    """Make sure that the agent reads the config drive's configuration file (LP 1831642)."""
    unit = agent_unit(subject.tree)
    commands = " ".join(unit.values("Service", "ExecStart"))
    if AGENT_CONF in commands:
        return commands
    # Packages start the agent through an init script, which knows the file or gets its name.
    paths = (
        *(word for word in commands.split() if word.startswith("/etc/init.d/")),
        *(path.removeprefix("-") for path in unit.values("Service", "EnvironmentFile")),
    )
    texts = (
        commands,
        *texts_of(subject.tree, paths),
        *texts_of(subject.tree, ("/etc/default/amphora-agent", "/etc/default/octavia-agent")),
        " ".join(unit.values("Service", "Environment")),
    )
    files = re.findall(r"(?:CONFIG_FILE=|--config-file[= ])[\"']?([^\s\"']+)", "\n".join(texts))
    literal = [file for file in files if file.startswith("/")]
    if literal and AGENT_CONF not in literal:
        raise CheckFailedError(f"{unit.name} reads {literal[-1]}, not {AGENT_CONF}")
    if not literal:
        raise CheckFailedError(f"{unit.name} names no configuration file: {commands}")
    return f"{unit.name} reads {AGENT_CONF}"


def texts_of(tree: Tree, paths: Iterable[str]) -> Iterator[str]:
    """Yield the texts of the first files that a unit names; none has as many."""
    named = dict.fromkeys(path for path in paths if path.startswith("/"))
    for path in islice(named, MOST_FILES):
        yield tree.text(path) or ""


@rule("certificate-store-ordered")
def certificate_store_ordered(subject: Subject) -> str:
    """Make sure that the certificate directory is on RAM before the agent writes to it."""
    tree = subject.tree
    agent = agent_unit(tree)
    store = certificate_store(tree)
    if store is None:
        raise CheckFailedError(f"no unit puts {CERTIFICATE_DIRECTORY} on RAM")
    pulled = units.wanted_by(tree, store.name)
    asked = agent.words("Unit", "Wants") | agent.words("Unit", "Requires")
    if agent.name not in pulled and store.name not in asked and not _by_path(store, agent):
        raise CheckFailedError(f"{agent.name} does not want {store.name}")
    before = agent.name in store.words("Unit", "Before")
    after = store.name in agent.words("Unit", "After")
    if not (before or after or _by_path(store, agent)):
        raise CheckFailedError(f"{store.name} is not ordered before {agent.name}")
    return f"{store.name} before {agent.name}"


def _by_path(store: units.Unit, agent: units.Unit) -> bool:
    """RequiresMountsFor both wants a mount unit and orders it."""
    paths = agent.words("Unit", "RequiresMountsFor")
    return store.name.endswith(".mount") and CERTIFICATE_DIRECTORY in paths


def certificate_store(tree: Tree) -> units.Unit | None:
    """Find the unit that mounts memory at the certificate directory, by its contents."""
    for name in sorted(_unit_names(tree)):
        unit = units.find(tree, name)
        if unit is None or unit.masked:
            continue
        if name.endswith(".mount"):
            if unit.value("Mount", "Where") == CERTIFICATE_DIRECTORY:
                return unit
            continue
        commands = " ".join(unit.values("Service", "ExecStart"))
        if re.search(r"certs[-_]?ramfs|certfs", f"{name} {commands}") or (
            CERTIFICATE_DIRECTORY in commands and re.search(r"tmpfs|ramfs|/dev/ram", commands)
        ):
            return unit
    return None


def _unit_names(tree: Tree) -> set[str]:
    return {
        name
        for directory in units.DIRECTORIES
        for name in tree.names(directory)
        if name.endswith((".service", ".mount"))
    }


@rule("agent-log-rotation")
def agent_log_rotation(subject: Subject) -> str:
    """Make sure that the agent's log cannot fill the disk."""
    for path in subject.tree.glob("/etc/logrotate.d", "*"):
        if "/var/log/amphora-agent" in (subject.tree.text(path) or ""):
            return path
    raise CheckFailedError("/etc/logrotate.d has nothing for /var/log/amphora-agent.log")
