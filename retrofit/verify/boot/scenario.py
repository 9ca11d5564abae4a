"""The machines of a trial: what differs between the two boots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from retrofit.verify.boot.network import Family

Topology = Literal["SINGLE", "ACTIVE_STANDBY"]
Chipset = Literal["q35", "pc"]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One boot: Nova's machine type, Octavia's topology, and the family of the management network.

    Names of network cards, and with them the number of alternative names that breaks the agent's
    netns unit (LP 2027995), depend on machine type and systemd: each type is booted once.
    """

    name: Literal["single", "pair"]
    chipset: Chipset
    """On x86_64; other architectures have one machine type."""
    topology: Topology
    management: Family

    @property
    def suffix(self) -> str:
        """Return the end of this boot's file names: the first one's are those of 0.1.0."""
        return "" if self.name == "single" else f"-{self.name}"


SINGLE = Scenario(name="single", chipset="q35", topology="SINGLE", management="ipv4")
PAIR = Scenario(name="pair", chipset="pc", topology="ACTIVE_STANDBY", management="ipv6")
SCENARIOS = (SINGLE, PAIR)
