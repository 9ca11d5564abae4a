"""Nova's tables, made and filled through Nova's own models and objects.

There is one cell, whose database is Nova's own, and neither a conductor nor a scheduler: what
nova-api tells of servers and hypervisors it reads from these tables.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from nova import context, objects
from nova.db.api import api as shared_api
from nova.db.api import models as api_models
from nova.db.main import api as main_api
from nova.db.main import models
from nova.network.model import NetworkInfo
from oslo_config import cfg
from oslo_utils import timeutils
from sqlalchemy import create_engine

CELL = "5e3d0f0a-4d3c-4c43-9d0c-0d5d3f5c5e11"
FAILING_CELL = "8b2f6a52-5f0b-4c0e-8a0e-4b7a1f6f3c22"
OF_THE_CLOUD = (
    api_models.InstanceGroupMember,
    api_models.InstanceGroupPolicy,
    api_models.InstanceGroup,
    api_models.InstanceMapping,
    api_models.RequestSpec,
    api_models.HostMapping,
    api_models.Quota,
)
OF_THE_CELL = (
    models.InstanceExtra,
    models.InstanceInfoCache,
    models.InstanceSystemMetadata,
    models.InstanceMetadata,
    models.Instance,
    models.ComputeNode,
)
"""Tables, each before what it belongs to."""


def make_tables(directory: Path) -> None:
    """Make what `nova-manage db sync` and `api_db sync` make; in a fraction of their time."""
    for name, base in (("api", api_models.BASE), ("cell", models.BASE)):
        engine = create_engine(f"sqlite:///{directory}/{name}.db?timeout=30")
        base.metadata.create_all(engine)
        engine.dispose()


def make_cell() -> None:
    """Map the one cell, once."""
    admin = context.get_admin_context()
    if not objects.CellMappingList.get_all(admin):
        objects.CellMapping(
            admin,
            uuid=CELL,
            name="cell1",
            transport_url="fake://",
            database_connection=cfg.CONF.database.connection,
        ).create()


def clear() -> None:
    """Leave no servers, groups, hypervisors and quotas."""
    admin = context.get_admin_context()
    with shared_api.context_manager.writer.using(admin):
        for model in OF_THE_CLOUD:
            admin.session.query(model).delete()
        failing = api_models.CellMapping.uuid == FAILING_CELL
        admin.session.query(api_models.CellMapping).filter(failing).delete()
    with main_api.context_manager.writer.using(admin):
        for model in OF_THE_CELL:
            admin.session.query(model).delete()
        computes = models.Service.binary == "nova-compute"
        admin.session.query(models.Service).filter(computes).delete()


@contextmanager
def in_the_cell() -> Iterator[tuple[Any, Any, Any]]:
    """Give an administrator's context, the cell, and a context in it."""
    admin = context.get_admin_context()
    cell = objects.CellMapping.get_by_uuid(admin, CELL)
    with context.target_cell(admin, cell) as inside:
        yield admin, cell, inside


def hypervisors(rows: list[dict[str, Any]]) -> None:
    """Have compute services with a hypervisor each: `host`, and whether it is `up`, `enabled`."""
    for row in rows:
        with in_the_cell() as (admin, cell, inside):
            service = objects.Service(
                inside,
                host=row["host"],
                binary="nova-compute",
                topic="compute",
                report_count=1,
                disabled=not row.get("enabled", True),
                last_seen_up=timeutils.utcnow() - timedelta(seconds=0 if row["up"] else 3600),
            )
            service.create()
            objects.ComputeNode(
                inside,
                uuid=str(uuid.uuid4()),
                service_id=service.id,
                host=row["host"],
                hypervisor_hostname=row["host"],
                vcpus=16,
                vcpus_used=0,
                memory_mb=65536,
                memory_mb_used=0,
                local_gb=500,
                local_gb_used=0,
                free_disk_gb=500,
                free_ram_mb=65536,
                running_vms=0,
                current_workload=0,
                hypervisor_type="QEMU",
                hypervisor_version=9000000,
                cpu_info="{}",
                mapped=1,
            ).create()
            objects.HostMapping(admin, host=row["host"], cell_mapping=cell).create()


def flavor_of(vcpus: int, ram: int) -> Any:
    return objects.Flavor(
        id=1,
        flavorid="amphora",
        name="amphora",
        vcpus=vcpus,
        memory_mb=ram,
        root_gb=2,
        ephemeral_gb=0,
        swap=0,
        rxtx_factor=1.0,
        extra_specs={},
        disabled=False,
        is_public=True,
    )


def servers(rows: list[dict[str, Any]]) -> None:
    """Have servers that run: `id`, `project`, `host`, and of their flavor `vcpus` and `ram`."""
    for row in rows:
        flavor = flavor_of(row["vcpus"], row["ram"])
        owner = {"project_id": row["project"], "user_id": "octavia"}
        with in_the_cell() as (admin, cell, inside):
            objects.Instance(
                inside,
                uuid=row["id"],
                **owner,
                host=row["host"],
                node=row["host"],
                compute_id=objects.ComputeNode.get_by_host_and_nodename(
                    inside, row["host"], row["host"]
                ).id,
                display_name=f"amphora-{row['id']}",
                vm_state="active",
                vcpus=row["vcpus"],
                memory_mb=row["ram"],
                root_gb=2,
                ephemeral_gb=0,
                instance_type_id=1,
                flavor=flavor,
                old_flavor=None,
                new_flavor=None,
                system_metadata={},
                info_cache=objects.InstanceInfoCache(
                    instance_uuid=row["id"], network_info=NetworkInfo()
                ),
                metadata={},
                image_ref="",
            ).create()
            objects.InstanceMapping(
                admin,
                instance_uuid=row["id"],
                **owner,
                cell_mapping=cell,
                queued_for_delete=False,
            ).create()


def lose(*server_ids: str) -> None:
    """Have these servers in a cell whose database does not answer.

    Nova shows what its own database has of them: the request that they were built for.
    """
    admin = context.get_admin_context()
    cell = objects.CellMapping(
        admin,
        uuid=FAILING_CELL,
        name="cell2",
        transport_url="fake://",
        database_connection="sqlite:////nonexistent/cell.db",
    )
    cell.create()
    for server_id in server_ids:
        mapping = objects.InstanceMapping.get_by_instance_uuid(admin, server_id)
        mapping.cell_mapping = cell
        mapping.save()
        objects.RequestSpec(
            admin,
            instance_uuid=server_id,
            project_id=mapping.project_id,
            user_id="octavia",
            flavor=flavor_of(1, 1024),
            num_instances=1,
            image=objects.ImageMeta(id=str(uuid.uuid4())),
            availability_zone=None,
        ).create()


def join(group: str, members: list[str]) -> None:
    """Have servers in a server group, as a scheduler does when they are built."""
    objects.InstanceGroup.add_members(context.get_admin_context(), group, members)
