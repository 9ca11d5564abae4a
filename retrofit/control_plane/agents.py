"""What releases of the amphora agent can do, and what they do wrong: facts with their sources.

Each has a mark in the agent's own files, found by comparing Octavia's packages from 10.0.0 to
19.0.0 (`tests/component/control_plane/test_agents.py` compares them anew). An image is judged by
the mark: patches of a distribution count. Versions are for what is not built yet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from retrofit.control_plane.releases import ControlPlane, Version

SERVER = "amphorae/backends/agent/api_server/server.py"
PLUG = "amphorae/backends/agent/api_server/plug.py"
NETNS = "amphorae/backends/agent/api_server/templates/amphora-netns.systemd.j2"
TESTED_DISTANCE = 2
"""Releases that an agent may be older than its control plane: grenade's skip-level upgrade."""
SERIES_AGENTS: Mapping[str, int] = {"focal": 6, "jammy": 10, "noble": 14, "resolute": 18}
"""Major version of `amphora-agent` in Ubuntu's archive."""
CLOUD_ARCHIVE_AGENTS: Mapping[str, int] = {
    "yoga": 10,
    "zed": 11,
    "antelope": 12,
    "bobcat": 13,
    "caracal": 14,
    "dalmatian": 15,
    "epoxy": 16,
    "flamingo": 17,
    "gazpacho": 18,
}


@dataclass(frozen=True, kw_only=True)
class Trait:
    """Something that agents do since a version.

    `first` maps major versions to the first of theirs; majors before have it not, later ones do.
    `mark` stands in `file`, below the package octavia, exactly where an agent has it.
    """

    name: str
    first: Mapping[int, Version]
    file: str
    mark: str
    source: str

    @property
    def since(self) -> int:
        """Return the first major version that has it."""
        return min(self.first)

    def is_in(self, agent: Version) -> bool:
        """Return True if a version of the agent has it."""
        begins = self.first.get(agent[0])
        return agent >= begins if begins is not None else agent[0] > max(self.first)


@dataclass(frozen=True, kw_only=True)
class Feature(Trait):
    """Something that a control plane asks of agents, from its major version `asked_from` on.

    `kind` is that of load balancers with it, `seen_by` how the API shows them.
    """

    kind: str
    asked_from: int
    seen_by: str
    without: str


@dataclass(frozen=True, kw_only=True)
class Defect(Trait):
    """Something that agents did wrong before they had the trait.

    `answer` names the checks, or the element, that find or cure it; `fatal` is whether an amphora
    is of no use with it. It concerns Pythons from `python` on, all where that is None,
    and agents from the major version `begins` on.
    """

    harm: str
    answer: tuple[str, ...]
    fatal: bool = False
    python: tuple[int, int] | None = None
    begins: int = 0

    def came_before(self, agent: Version) -> bool:
        """Return True if a version of the agent is not older than the defect."""
        return agent[0] >= self.begins

    def concerns(self, agent: Version) -> bool:
        """Return True if a version of the agent has the defect, as far as that tells."""
        return self.came_before(agent) and not self.is_in(agent)


ADDITIONAL_VIPS = Feature(
    name="additional VIPs",
    first={11: (11, 0, 0)},
    file=PLUG,
    mark="additional_vips",
    source="octavia 11.0.0 (Zed), release note additional-vips",
    kind="additional-vips",
    asked_from=11,
    seen_by="additional_vips",
    without="further VIPs of a load balancer get no address",
)
INTERFACE_RULES = Feature(
    name="rules of interfaces",
    first={14: (14, 0, 0)},
    file=SERVER,
    mark="/interface/<ip_addr>/rules",
    source="octavia 14.0.0 (2024.1), PUT /interface/<ip>/rules in api_server/server.py",
    kind="sr-iov-vip",
    asked_from=14,
    seen_by="vip_vnic_type direct",
    without="VIPs on SR-IOV ports get no firewall, and the controller's request answers 404",
)
FEATURES = (ADDITIONAL_VIPS, INTERFACE_RULES)

CONFIGURATION_UPDATE = Defect(
    name="configuration-update",
    first={15: (15, 1, 0), 16: (16, 0, 1), 17: (17, 0, 0)},
    file=SERVER,
    mark=".put('reload')",
    source="LP 2121691; octavia 15.1.0, 16.0.1 and 17.0.0",
    harm="heartbeats go on to the old controllers after `openstack loadbalancer amphora"
    " configure`: fail amphorae over when addresses of health managers change",
    answer=("agent-known-defects",),
)
FORKED_SENDER = Defect(
    name="mute-heartbeats",
    first={18: (18, 0, 1)},
    file="cmd/agent.py",
    mark='get_context("fork")',
    source="octavia 04d4817c2 (2026-07), 18.0.1 and 19.0.0; What's New In Python 3.14,"
    " multiprocessing",
    harm="on Python 3.14 it sends no heartbeats, and the health manager replaces the amphora"
    " again and again: take octavia 18.0.1 or newer (build.agent_version, build.cloud_archive)",
    answer=("agent-known-defects", "heartbeat"),
    fatal=True,
    python=(3, 14),
)
ALTERNATIVE_NAMES = Defect(
    name="netns-alternative-names",
    first={18: (18, 0, 1)},
    file=NETNS,
    mark="ip -br link",
    source="LP 2027995; octavia 18.0.1 and 19.0.0",
    harm="the VIP is lost at a reboot where a card has an alternative name: the element"
    " amphora-agent-service mends it, build the image anew",
    answer=("amphora-agent-service", "vip-after-reboot"),
)
BRACKETS = Defect(
    name="controllers-in-brackets",
    first={10: (10, 1, 0), 11: (11, 0, 1), 12: (12, 0, 1), 13: (13, 0, 0)},
    file="amphorae/backends/health_daemon/health_sender.py",
    mark="ip[0] == '['",
    source="octavia 10.1.0, 11.0.1, 12.0.1 and 13.0.0, health_daemon/health_sender.py",
    harm="it sends no heartbeats where controller_ip_port_list has an IPv6 address in brackets:"
    " write it without them (2001:db8::1:5555), as all agents read it",
    answer=("agent-known-defects",),
)
LVS_OF_BOTH_FAMILIES = Defect(
    name="lvs-of-both-families",
    first={12: (12, 0, 1), 13: (13, 0, 0)},
    file="amphorae/backends/utils/keepalivedlvs_query.py",
    mark="if listener_ipport not in scur_res",
    source="octavia 12.0.1 and 13.0.0, utils/keepalivedlvs_query.py",
    harm="it sends no heartbeats, and the health manager replaces the amphora again and again,"
    " while a UDP or SCTP listener on VIPs of IPv4 and IPv6 has a running member of one family"
    " alone; with members of both it reports some of them as down: take octavia 12.0.1 or newer"
    " for such load balancers",
    answer=("agent-known-defects",),
    begins=11,
)
DEFECTS = (CONFIGURATION_UPDATE, FORKED_SENDER, ALTERNATIVE_NAMES, BRACKETS, LVS_OF_BOTH_FAMILIES)


def agent_version(text: str) -> Version | None:
    """Return the numbers at the beginning of an agent's version; None without any."""
    # No epoch, and no number that is no release's.
    found = re.match(r"\d{1,4}(\.\d{1,4}){0,3}(?![0-9!:])", text)
    return None if found is None else tuple(map(int, found[0].split(".")))


def distance(plane: ControlPlane, agent: int) -> str | None:
    """Return why agent and control plane are further apart than tested; None where they are not.

    Octavia upgrades the control plane first, and its gate runs older agents only.
    """
    if not plane.releases:
        return None
    oldest, newest = plane.releases[0].major, plane.releases[-1].major
    if agent > newest:
        return (
            f"agent {agent} is newer than octavia {plane}: Octavia is tested with older agents"
            " alone, upgrade the control plane first (its upgrade guide)"
        )
    if oldest - agent > TESTED_DISTANCE:
        return (
            f"agent {agent} is {oldest - agent} releases older than octavia {plane}: upgrades are"
            f" tested over {TESTED_DISTANCE}; take a newer agent (build.cloud_archive,"
            " build.agent_version)"
        )
    return None


def asked(plane: ControlPlane) -> tuple[Feature, ...]:
    """Return the features that a control plane may ask of agents."""
    majors = [release.major for release in plane.releases]
    return tuple(each for each in FEATURES if majors and max(majors) >= each.asked_from)


def planned_agent(
    series: str, *, agent: str, agent_version: str | None, cloud_archive: str | None
) -> int | None:
    """Return the major version of the agent that a build will install; None where not known."""
    if agent == "pypi":
        major = re.match(r"[0-9]{1,4}(?![0-9!])", agent_version or "")
        return int(major[0]) or None if major else None
    if cloud_archive is not None:
        return CLOUD_ARCHIVE_AGENTS.get(cloud_archive.partition("-")[0])
    return SERIES_AGENTS.get(series)


def forecast(plane: ControlPlane, agent: int | None) -> list[str]:
    """Return what is known of an agent that is not built yet, by its major version."""
    if agent is None:
        return []
    apart = distance(plane, agent)
    found = [] if apart is None else [apart]
    return found + [
        f"agent {agent} has no {each.name} ({each.source}): {each.without}"
        for each in asked(plane)
        if agent < each.since
    ]
