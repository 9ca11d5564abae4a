"""Network configuration: cloud-init, interfaces, resolver, sshd."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from retrofit.verify import units
from retrofit.verify.checks import CheckFailedError, NotApplicableError
from retrofit.verify.offline.rules import Subject, rule
from retrofit.verify.tree import Tree

IDENTIFY = "/etc/cloud/ds-identify.cfg"
WAIT_ONLINE_UNITS = (
    "systemd-networkd-wait-online.service",
    "NetworkManager-wait-online.service",
    "ifupdown-wait-online.service",
)
SSHD = "/usr/sbin/sshd"
SSH_UNITS = ("ssh.service", "sshd.service", "ssh.socket")
# Where something can run when the management network's address is known, or before sshd starts.
SSH_HOOK_DIRECTORIES = (
    "/etc/dhcp/dhclient-exit-hooks.d",
    "/etc/dhcp/dhclient-enter-hooks.d",
    "/etc/networkd-dispatcher/routable.d",
    "/etc/networkd-dispatcher/configured.d",
    "/etc/NetworkManager/dispatcher.d",
    "/etc/systemd/system/ssh.service.d",
    "/etc/systemd/system/sshd.service.d",
    "/etc/systemd/system/ssh.socket.d",
    "/etc/systemd/system",
)


@rule("cloud-init-datasource")
def cloud_init_datasource(subject: Subject) -> str:
    """Make sure that cloud-init looks for a config drive, and is not switched off."""
    tree = subject.tree
    for path in ("/etc/cloud/cloud-init.disabled",):
        if tree.entry(path) is not None:
            raise CheckFailedError(f"{path} switches cloud-init off")
    masked = sorted(
        name
        for name in _cloud_units(tree)
        if (unit := units.find(tree, name)) is not None and unit.masked
    )
    if masked:
        raise CheckFailedError(f"{', '.join(masked)} is masked")
    if _identifies_nothing(tree):
        raise CheckFailedError(f"{IDENTIFY} switches cloud-init off")
    if (disabling := _without_networks(tree)) is not None:
        raise CheckFailedError(f"{disabling} switches the config drive's networks off")
    sources = datasources(tree)
    if sources is None:
        raise CheckFailedError("no datasource_list in /etc/cloud")
    if "ConfigDrive" not in sources:
        raise CheckFailedError(f"datasource_list is {', '.join(sources) or 'empty'}")
    return ", ".join(sources)


def _cloud_units(tree: Tree) -> set[str]:
    """Return the units of cloud-init that there are: releases have renamed and split them."""
    return {
        name
        for directory in units.DIRECTORIES
        for name in tree.names(directory)
        if name.startswith("cloud-") and name.endswith((".service", ".target", ".socket"))
    }


def _identifies_nothing(tree: Tree) -> bool:
    """Return True if ds-identify, which decides early in a boot, is told to find nothing."""
    policies = re.findall(r"^[ \t]*policy:[ \t]*([^\s#]*)", tree.text(IDENTIFY) or "", re.MULTILINE)
    return bool(policies) and policies[-1].partition(",")[0] == "disabled"


def _without_networks(tree: Tree) -> str | None:
    """Return the file that has cloud-init configure no network; None when none does."""
    decided: str | None = None
    for path, content in _configuration(tree):
        network = content.get("network")
        if isinstance(network, dict):
            decided = path if network.get("config") == "disabled" else None
    return decided


def _configuration(tree: Tree) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Yield cloud-init's files with their content, in the order in which they are merged."""
    for path in ("/etc/cloud/cloud.cfg", *tree.glob("/etc/cloud/cloud.cfg.d", "*.cfg")):
        try:
            content = _yaml(tree, path)
        except yaml.YAMLError:
            continue
        if isinstance(content, dict):
            yield path, content


def datasources(tree: Tree) -> list[str] | None:
    """Return cloud-init's datasource list: the last of its files that has one decides."""
    found: list[str] | None = None
    for _, content in _configuration(tree):
        if isinstance(content.get("datasource_list"), list):
            # Names alone: a list of lists of aliases may be long beyond all measure as text.
            found = [name for name in content["datasource_list"] if isinstance(name, str)]
    return found


class _Loader(yaml.SafeLoader):
    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Leave out merging (`<<`), by which ten lines become more than any memory holds."""


def _yaml(tree: Tree, path: str) -> Any:
    return yaml.load(tree.text(path) or "", _Loader)  # noqa: S506  (it is a SafeLoader)


@rule("no-default-interfaces")
def no_default_interfaces(subject: Subject) -> str:
    """Make sure that only the config drive configures interfaces."""
    tree = subject.tree
    found = [path for path in tree.glob("/etc/netplan", "*.yaml") if _has_text(tree, path)]
    found += [
        path
        for path in tree.glob("/etc/systemd/network", "*.network")
        if re.search(r"^\[Match\]", tree.text(path) or "", re.MULTILINE)
    ]
    for path in ("/etc/network/interfaces", *tree.glob("/etc/network/interfaces.d", "*")):
        text = tree.text(path) or ""
        names = re.findall(r"^[ \t]*(?:iface|auto|allow-hotplug)[ \t]+(\S+)", text, re.MULTILINE)
        if any(name != "lo" for name in names):
            found.append(path)
    if found:
        raise CheckFailedError(f"configured by {', '.join(found)}")
    return "none configured"


def _has_text(tree: Tree, path: str) -> bool:
    try:
        content = _yaml(tree, path)
    except yaml.YAMLError:
        return True
    network = content.get("network") if isinstance(content, dict) else content
    if isinstance(network, dict):
        return any(key not in {"version", "renderer"} for key in network)
    return bool(network)


@rule("resolver")
def resolver(subject: Subject) -> str:
    """Make sure that nothing in an amphora waits for DNS."""
    text = subject.tree.text("/etc/resolv.conf")
    if text is None:
        raise CheckFailedError("/etc/resolv.conf is missing, or a dangling link")
    servers = re.findall(r"^[ \t]*nameserver[ \t]+(\S+)", text, re.MULTILINE)
    if servers != ["127.0.0.1"]:
        raise CheckFailedError(f"/etc/resolv.conf names {', '.join(servers) or 'no server'}")
    hosts = re.search(
        r"^[ \t]*hosts:[ \t]*(.*)$", subject.tree.text("/etc/nsswitch.conf") or "", re.MULTILINE
    )
    if hosts is None:
        raise CheckFailedError("/etc/nsswitch.conf has no hosts line")
    words = re.sub(r"\[[^][]*\]", " ", hosts.group(1).partition("#")[0]).split()
    asking = sorted({"dns", "resolve", "mdns4", "mdns4_minimal"}.intersection(words))
    if asking:
        raise CheckFailedError(f"nsswitch hosts has {', '.join(asking)}")
    return f"127.0.0.1, hosts: {' '.join(words)}"


@rule("network-wait-online")
def network_wait_online(subject: Subject) -> str:
    """Make sure that an IPv6-only management network does not delay the boot (LP 1909976)."""
    waiting = []
    for name in WAIT_ONLINE_UNITS:
        unit = units.find(subject.tree, name)
        if unit is None or unit.masked or not units.wanted_by(subject.tree, name):
            continue
        commands = " ".join(unit.values("Service", "ExecStart"))
        if "--any" in commands or re.search(r"--timeout[= ]?(\d|1\d|2\d|30)\b", commands):
            continue
        waiting.append(name)
    if waiting:
        raise CheckFailedError(f"enabled without a short time limit: {', '.join(waiting)}")
    return "no unit delays the boot"


@rule("ssh")
def ssh(subject: Subject) -> str:
    """Make sure that sshd is gone, or is bound to the management address, as configured."""
    tree = subject.tree
    present = tree.is_executable(SSHD)
    if subject.build.ssh == "remove":
        if present:
            raise CheckFailedError(f"{SSHD} exists, although build.ssh is remove")
        return "removed"
    if not present:
        raise CheckFailedError(f"{SSHD} is missing, and build.ssh is {subject.build.ssh}")
    for directory in SSH_HOOK_DIRECTORIES:
        for path in tree.glob(directory, "*"):
            text = tree.text(path) or ""
            if "ListenAddress" in text or re.search(r"rebind|amphora-ssh", path):
                return path
    raise CheckFailedError("nothing binds sshd to the management address")


@rule("apparmor-rsyslog")
def apparmor_rsyslog(subject: Subject) -> str:
    """Make sure that AppArmor lets rsyslog open the log socket that HAProxy writes to."""
    if subject.tree.text("/etc/apparmor.d/usr.sbin.rsyslogd") is None:
        raise NotApplicableError("no AppArmor profile confines rsyslog")
    for path in (
        "/etc/apparmor.d/local/usr.sbin.rsyslogd",
        *subject.tree.glob("/etc/apparmor.d/rsyslog.d", "*"),
    ):
        if "/run/rsyslog" in (subject.tree.text(path) or "") or "octavia" in (
            subject.tree.text(path) or ""
        ):
            return path
    raise CheckFailedError("the profile of rsyslogd has no rule for /run/rsyslog/octavia/log")
