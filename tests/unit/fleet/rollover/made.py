"""Load balancers of a rollover, made up for tests of pure code."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from retrofit.fleet.failover import Stale
from retrofit.fleet.rollover.candidates import Candidate
from retrofit.fleet.rollover.decision import Situation
from retrofit.fleet.rollover.record import Record
from retrofit.model import Amphora, LoadBalancer
from tests.unit.images import NOW

BEGAN = NOW - timedelta(days=10)
LONG_BEFORE = NOW - timedelta(days=100)
ROLES = {"single": ("STANDALONE",), "pair": ("MASTER", "BACKUP")}


def amphorae_of(
    load_balancer: str,
    kind: str = "single",
    *,
    image: str | None = "old",
    created_at: datetime = LONG_BEFORE,
    status: str = "ALLOCATED",
) -> tuple[Amphora, ...]:
    return tuple(
        Amphora(
            id=f"amphora-{load_balancer}-{role}",
            status=status,
            created_at=created_at,
            image_id=image,
            load_balancer_id=load_balancer,
            role=role,
        )
        for role in ROLES[kind]
    )


def balancer(name: str, status: str = "ACTIVE", **fields: Any) -> LoadBalancer:
    return LoadBalancer(
        **{
            "id": name,
            "name": name,
            "project_id": "project",
            "vip_address": "192.0.2.1",
            "provisioning_status": status,
            "operating_status": "ONLINE",
            "provider": "amphora",
            "created_at": LONG_BEFORE,
            "updated_at": LONG_BEFORE,
            **fields,
        }
    )


def candidate(
    name: str,
    kind: str = "single",
    *,
    status: str = "ACTIVE",
    due: str | None = "its image is old",
    created_at: datetime = LONG_BEFORE,
    **fields: Any,
) -> Candidate:
    stale = Stale(
        load_balancer=balancer(name, status),
        amphorae=amphorae_of(name, kind, created_at=created_at),
        oldest=LONG_BEFORE,
    )
    return Candidate(stale=stale, due=due, **fields)


def situation(*candidates: Candidate, **fields: Any) -> Situation:
    return Situation(
        **{
            "now": NOW,
            "promoted": "promoted",
            "record": Record(began_at=BEGAN),
            "soak_from": BEGAN,
            "candidates": candidates,
            **fields,
        }
    )
