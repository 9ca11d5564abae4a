"""Octavia's tables, made and filled through Octavia's own models."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from octavia.common import constants
from octavia.db import api, base_models, models
from oslo_config import cfg
from sqlalchemy import text

LOOKUPS = {
    models.ProvisioningStatus: constants.SUPPORTED_PROVISIONING_STATUSES,
    models.OperatingStatus: constants.SUPPORTED_OPERATING_STATUSES,
    models.HealthMonitorType: constants.SUPPORTED_HEALTH_MONITOR_TYPES,
    models.Algorithm: constants.SUPPORTED_LB_ALGORITHMS,
    models.Protocol: constants.SUPPORTED_PROTOCOLS,
    models.SessionPersistenceType: constants.SUPPORTED_SP_TYPES,
    models.AmphoraRoles: constants.SUPPORTED_AMPHORA_ROLES,
    models.LBTopology: constants.SUPPORTED_LB_TOPOLOGIES,
    models.VRRPAuthMethod: constants.SUPPORTED_VRRP_AUTH,
    models.L7RuleType: constants.SUPPORTED_L7RULE_TYPES,
    models.L7RuleCompareType: constants.SUPPORTED_L7RULE_COMPARE_TYPES,
    models.L7PolicyAction: constants.SUPPORTED_L7POLICY_ACTIONS,
    models.ClientAuthenticationMode: constants.SUPPORTED_CLIENT_AUTH_MODES,
}

OF_LOAD_BALANCERS = (
    models.L7Rule,
    models.L7Policy,
    models.HealthMonitor,
    models.Member,
    models.SessionPersistence,
    models.Listener,
    models.Pool,
)
"""What load balancers have, each before what it belongs to."""


def make_tables() -> None:
    """Make what `octavia-db-manage upgrade head` makes, whose migrations SQLite refuses."""
    base_models.BASE.metadata.create_all(api.get_engine())
    with api.session().begin() as session:
        if session.query(models.Protocol).count():
            return
        for model, names in LOOKUPS.items():
            session.add_all(model(name=name) for name in names)


def add(tables: dict[str, list[dict[str, Any]]]) -> None:
    """Write load balancers and amphorae; what a row does not say is as in a healthy one."""
    make = {"load_balancers": _load_balancer, "amphorae": _amphora}
    with api.session().begin() as session:
        for table, rows in tables.items():
            for row in rows:
                session.add_all(make[table](row))


def _load_balancer(row: dict[str, Any]) -> list[Any]:
    given = {
        "project_id": uuid.uuid4().hex,
        "provisioning_status": constants.ACTIVE,
        "operating_status": constants.ONLINE,
        "topology": constants.TOPOLOGY_SINGLE,
        "enabled": True,
        "provider": "amphora",
        **row,
    }
    vip = models.Vip(
        load_balancer_id=given["id"],
        ip_address="192.0.2.10",
        port_id=str(uuid.uuid4()),
        subnet_id=str(uuid.uuid4()),
        network_id=str(uuid.uuid4()),
        octavia_owned=True,
    )
    return [models.LoadBalancer(**given), vip]


def _amphora(row: dict[str, Any]) -> list[Any]:
    given = {
        "compute_id": str(uuid.uuid4()),
        "status": constants.AMPHORA_ALLOCATED,
        "role": constants.ROLE_STANDALONE,
        "lb_network_ip": "192.0.2.11",
        "vrrp_ip": "192.0.2.12",
        "ha_ip": "192.0.2.10",
        "vrrp_port_id": str(uuid.uuid4()),
        "ha_port_id": str(uuid.uuid4()),
        "cert_expiration": datetime.now(UTC).replace(tzinfo=None) + timedelta(days=30),
        "cert_busy": False,
        **row,
    }
    if given.get("created_at"):
        given["created_at"] = datetime.fromisoformat(given["created_at"])
    return [models.Amphora(**given)]


def mark_deleted(amphorae: list[str]) -> None:
    """Leave the rows, as Octavia does until its housekeeping comes."""
    with api.session().begin() as session:
        session.query(models.Amphora).filter(models.Amphora.id.in_(amphorae)).update(
            {"status": constants.DELETED}
        )


def garble(amphora: str) -> None:
    """Make a row such that Octavia fails over it."""
    with api.session().begin() as session:
        spoil = text("UPDATE amphora SET updated_at = 'recently' WHERE id = :id")
        session.execute(spoil, {"id": amphora})


def clear() -> None:
    """Leave no load balancer, no amphora and no flavor that Octavia would tell of."""
    with api.session().begin() as session:
        for model in OF_LOAD_BALANCERS:
            session.query(model).delete()
        session.query(models.Amphora).update({"status": constants.DELETED})
        session.query(models.LoadBalancer).update(
            {"provisioning_status": constants.DELETED, "flavor_id": None}
        )
        session.query(models.Flavor).delete()
        session.query(models.FlavorProfile).delete()


def limit_pages(rows: int) -> None:
    """Cut listings at so many rows: pagination_max_limit, at once."""
    cfg.CONF.set_override("pagination_max_limit", str(rows), group="api_settings")


def mute(load_balancers: list[str]) -> None:
    """Have the amphorae of these load balancers send no heartbeats, and those of all others."""
    import heartbeats

    heartbeats.muted.clear()
    heartbeats.muted.update(load_balancers)


def set_status(load_balancer: str, columns: dict[str, Any]) -> None:
    """Leave a load balancer as a dead controller does, or mend it as an operator does."""
    with api.session().begin() as session:
        session.query(models.LoadBalancer).filter(models.LoadBalancer.id == load_balancer).update(
            columns
        )


def set_address(amphora: str, address: str) -> None:
    """Have an amphora at another address of the management network."""
    with api.session().begin() as session:
        session.query(models.Amphora).filter(models.Amphora.id == amphora).update(
            {"lb_network_ip": address}
        )


def set_vip(load_balancer: str, columns: dict[str, Any]) -> None:
    """Have the VIP of a load balancer in another network than the one that was made up."""
    with api.session().begin() as session:
        session.query(models.Vip).filter(models.Vip.load_balancer_id == load_balancer).update(
            columns
        )
