"""The offline contract: what an amphora image must and must not hold, read from its files."""

from __future__ import annotations

# Imported for the checks that they register; this order is the order of the report.
from retrofit.verify.offline import agent, software, network, leftovers, room  # isort: skip
from retrofit.verify.offline.subject import RULES, Rule, Subject, rule

__all__ = [
    "RULES",
    "Rule",
    "Subject",
    "agent",
    "leftovers",
    "network",
    "room",
    "rule",
    "software",
]
