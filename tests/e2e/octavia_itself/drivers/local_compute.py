"""Octavia's compute driver over the local cloud. `nova_driver.py` shows what is expected."""

from __future__ import annotations

import fcntl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import local_cloud
import local_servers
from octavia.common import constants, data_models, exceptions
from octavia.compute import compute_base
from octavia.image.drivers.glance_driver import ImageManager
from octavia.network import data_models as network_models
from oslo_log import log

LOG = log.getLogger(__name__)


class LocalCompute(compute_base.ComputeBase):  # type: ignore[misc, unused-ignore]
    """Servers from the image that Octavia's own Glance driver finds."""

    # `port_ids` is no parameter in the base class, and given by the worker.
    def build(
        self, name="amphora", amphora_flavor=None, image_tag=None, image_owner=None, key_name=None,
        sec_groups=None, network_ids=None, config_drive_files=None, user_data=None, port_ids=None,
        server_group_id=None, availability_zone=None,
    ):  # fmt: skip
        try:
            images = ImageManager()
            image = images.get_image_id_by_tag(image_tag, image_owner)
            return local_servers.start(
                name=name,
                image=image,
                disk=_downloaded(images, image),
                boot_networks=[local_cloud.network(each) for each in network_ids],
                files=config_drive_files or {},
                user_data=user_data,
            )
        except Exception as error:
            LOG.exception("no server")
            raise exceptions.ComputeBuildException(fault=error) from error

    def delete(self, compute_id):
        local_servers.delete(compute_id)

    def status(self, compute_id):
        return constants.UP if local_servers.is_running(compute_id) else constants.DOWN

    def get_amphora(self, compute_id, management_network_id=None):
        with local_cloud.records() as database:
            server = database.execute("SELECT * FROM server WHERE id = ?", (compute_id,)).fetchone()
        runs = local_servers.is_running(compute_id)
        boot = management_network_id or server["network"]
        card = local_cloud.ports(server=compute_id, network=boot)[0]
        amphora = data_models.Amphora(
            compute_id=compute_id,
            # As Nova's ACTIVE: the hypervisor runs it, whether or not anything in it answers.
            status=constants.ACTIVE if runs else constants.ERROR,
            lb_network_ip=card.address,
            image_id=server["image"],
            compute_flavor="local",
            cached_zone="local",
        )
        return amphora, None if runs else "QEMU ended"

    def create_server_group(self, name, policy):
        return SimpleNamespace(id=name.removeprefix("octavia-lb-"))

    def delete_server_group(self, server_group_id):
        """Groups have no meaning on one machine."""

    def attach_network_or_port(self, compute_id, network_id=None, ip_address=None, port_id=None):
        if port_id is None:
            port = local_cloud.make_port(local_cloud.network(network_id), "", ip_address)
        else:
            port = local_cloud.ports(id=port_id)[0]
        return interface(local_servers.plug(compute_id, port))

    def detach_port(self, compute_id, port_id):
        for port in local_cloud.ports(id=port_id, server=compute_id):
            local_servers.unplug(port)

    def validate_flavor(self, flavor_id):
        """Every flavor is the same machine."""

    def validate_availability_zone(self, availability_zone):
        """There is one."""


def interface(port: local_cloud.Port) -> network_models.Interface:
    """A plugged port as Octavia describes it."""
    return network_models.Interface(
        compute_id=port.server,
        network_id=port.network,
        port_id=port.id,
        fixed_ips=fixed_ips(port),
    )


def fixed_ips(port: local_cloud.Port) -> list[network_models.FixedIP]:
    """The one address of a port."""
    where = local_cloud.network(port.network)
    return [network_models.FixedIP(subnet_id=where.subnet, ip_address=port.address)]


def _downloaded(images: Any, image: str) -> Path:
    """The file of an image, downloaded once, as a hypervisor does."""
    file = local_cloud.DIRECTORY / "images" / image
    file.parent.mkdir(exist_ok=True)
    # The two servers of a pair are built at the same moment.
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            partial = file.with_suffix(".partial")
            with partial.open("wb") as stream:
                for chunk in images.manager.data(image):
                    stream.write(chunk)
            partial.rename(file)
    return file
