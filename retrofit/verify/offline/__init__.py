"""The offline contract: what an amphora image must and must not hold, read from its files."""

from __future__ import annotations

# Imported for the checks that they register; this order is the order of the report.
# isort: off
from retrofit.verify.offline import agent, defects, software, calls, network, leftovers
from retrofit.verify.offline import credentials, size

# isort: on
from retrofit.verify.offline.rules import RULES, Rule, Subject, rule

__all__ = [
    "RULES",
    "Rule",
    "Subject",
    "agent",
    "calls",
    "credentials",
    "defects",
    "leftovers",
    "network",
    "rule",
    "size",
    "software",
]
