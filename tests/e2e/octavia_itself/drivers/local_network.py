"""Octavia's network driver over the local cloud. `allowed_address_pairs.py` shows what is expected.

Bridges let every address through: allowed address pairs and security groups mean nothing here.
"""

from __future__ import annotations

import ipaddress

import local_cloud
import local_servers
from local_compute import fixed_ips, interface
from octavia.common import constants, data_models
from octavia.network import base
from octavia.network import data_models as models


def _as_octavia(port: local_cloud.Port) -> models.Port:
    return models.Port(
        id=port.id,
        name=port.name,
        device_id=port.server,
        device_owner=constants.OCTAVIA_OWNER,
        mac_address=port.mac,
        network_id=port.network,
        status=constants.UP if port.server and port.is_up else constants.DOWN,
        admin_state_up=port.is_up,
        fixed_ips=fixed_ips(port),
    )


def _found(
    where: local_cloud.Network | None, error: type[Exception], key: str
) -> local_cloud.Network:
    if where is None:
        raise error(key)
    return where


class LocalNetwork(base.AbstractNetworkDriver):  # type: ignore[misc, unused-ignore]
    """Networks, subnets and ports as Neutron would show them."""

    sec_grp_enabled = False

    def get_network(self, network_id, context=None):
        where = _found(local_cloud.network(network_id), base.NetworkNotFound, network_id)
        return models.Network(
            id=where.id,
            name=where.bridge,
            subnets=[where.subnet],
            admin_state_up=True,
            mtu=1500,
            # Without it Octavia's API refuses the VIP, with 500.
            port_security_enabled=True,
        )

    def get_subnet(self, subnet_id, context=None):
        where = _found(local_cloud.network(subnet_id), base.SubnetNotFound, subnet_id)
        return models.Subnet(
            id=where.subnet,
            name=where.bridge,
            network_id=where.id,
            gateway_ip=where.ours,
            cidr=where.cidr,
            ip_version=4,
            host_routes=[],
        )

    def get_network_by_name(self, network_name):
        return self.get_network(network_name)

    def get_subnet_by_name(self, subnet_name):
        return self.get_subnet(subnet_name)

    def get_network_ip_availability(self, network):
        where = _found(local_cloud.network(network.id), base.NetworkNotFound, network.id)
        counts = {
            "subnet_id": where.subnet,
            "used_ips": len(local_cloud.ports(network=where.id)),
            "total_ips": ipaddress.ip_network(where.cidr).num_addresses - 2,
        }
        return models.Network_IP_Availability(network_id=where.id, subnet_ip_availability=[counts])

    def _port(self, **wanted):
        for port in local_cloud.ports(**wanted):
            return port
        raise base.PortNotFound(str(wanted))

    def get_port(self, port_id, context=None):
        return _as_octavia(self._port(id=port_id))

    def get_port_by_name(self, port_name):
        return _as_octavia(self._port(name=port_name))

    def get_port_by_net_id_device_id(self, network_id, device_id):
        return _as_octavia(self._port(network=network_id, server=device_id))

    def get_plugged_networks(self, compute_id):
        return [interface(port) for port in local_cloud.ports(server=compute_id)]

    def create_port(
        self, network_id, name=None, fixed_ips=(), secondary_ips=(), security_group_ids=(),
        admin_state_up=True, qos_policy_id=None, vnic_type=constants.VNIC_TYPE_NORMAL,
    ):  # fmt: skip
        where = _found(local_cloud.network(network_id), base.NetworkNotFound, network_id)
        address = next((each.get("ip_address") for each in fixed_ips), None)
        return _as_octavia(local_cloud.make_port(where, name or "", address))

    def delete_port(self, port_id):
        # Octavia asks for it after the server's end, and again.
        for port in local_cloud.ports(id=port_id):
            local_servers.unplug(port)
            local_cloud.forget_port(port_id)

    def set_port_admin_state_up(self, port_id, state):
        port = self._port(id=port_id)
        local_cloud.change_port(port_id, is_up=state)
        if port.server is not None:
            local_cloud.ip(f"link set {port.tap} {'up' if state else 'down'}")

    def plug_port(self, amphora, port):
        return interface(local_servers.plug(amphora.compute_id, self._port(id=port.id)))

    def plug_fixed_ip(self, port_id, subnet_id, ip_address=None):
        raise NotImplementedError("a network has one subnet here")

    def unplug_fixed_ip(self, port_id, subnet_id):
        raise NotImplementedError("a network has one subnet here")

    def unplug_network(self, compute_id, network_id):
        for port in local_cloud.ports(server=compute_id, network=network_id):
            local_servers.unplug(port)

    def allocate_vip(self, load_balancer):
        vip = load_balancer.vip
        # The API allocates it, and the worker again: the same port each time.
        found = local_cloud.ports(id=vip.port_id) if vip.port_id else []
        try:
            port = found[0] if found else local_cloud.make_port(
                _found(local_cloud.network(vip.network_id), base.NetworkNotFound, vip.network_id),
                f"octavia-lb-{load_balancer.id}",
                vip.ip_address,
            )  # fmt: skip
        except local_cloud.TakenError as error:
            raise base.VIPInUseException(str(error)) from error
        made = data_models.Vip(
            ip_address=port.address,
            subnet_id=local_cloud.network(port.network).subnet,
            network_id=port.network,
            port_id=port.id,
            load_balancer_id=load_balancer.id,
            octavia_owned=True,
            sg_ids=vip.sg_ids,
        )
        return made, []

    def deallocate_vip(self, vip):
        for amphora in vip.load_balancer.amphorae if vip.load_balancer else ():
            if amphora.vrrp_port_id:
                self.delete_port(amphora.vrrp_port_id)
        self.delete_port(vip.port_id)

    def plug_aap_port(self, load_balancer, vip, amphora, subnet):
        where = local_cloud.network(subnet.network_id)
        plugged = local_cloud.ports(server=amphora.compute_id, network=where.id)
        port = plugged[0] if plugged else local_servers.plug(
            amphora.compute_id,
            local_cloud.make_port(where, f"octavia-lb-vrrp-{amphora.id}", None),
        )  # fmt: skip
        return data_models.Amphora(
            id=amphora.id,
            compute_id=amphora.compute_id,
            vrrp_ip=port.address,
            ha_ip=vip.ip_address,
            vrrp_port_id=port.id,
            ha_port_id=vip.port_id,
        )

    def unplug_aap_port(self, vip, amphora, subnet):
        for port in local_cloud.ports(server=amphora.compute_id, network=subnet.network_id):
            self.delete_port(port.id)

    def unplug_vip(self, load_balancer, vip):
        subnet = self.get_subnet(vip.subnet_id)
        for amphora in load_balancer.amphorae:
            if amphora.status == constants.AMPHORA_ALLOCATED:
                self.unplug_aap_port(vip, amphora, subnet)

    def get_network_configs(self, load_balancer, amphora=None):
        vip = load_balancer.vip
        configs = {}
        for each in [amphora] if amphora else load_balancer.amphorae:
            if each.status == constants.DELETED or not each.vrrp_port_id:
                continue
            vrrp, ha = self.get_port(each.vrrp_port_id), self.get_port(each.ha_port_id)
            vrrp.network = self.get_network(vrrp.network_id)  # whose MTU the agent is given
            configs[each.id] = models.AmphoraNetworkConfig(
                amphora=each,
                vip_subnet=self.get_subnet(vip.subnet_id),
                vip_port=self.get_port(vip.port_id),
                vrrp_subnet=self.get_subnet(vrrp.network_id),
                vrrp_port=vrrp,
                ha_subnet=self.get_subnet(ha.network_id),
                ha_port=ha,
            )
        return configs

    def update_vip(self, load_balancer, for_delete=False):
        """Neutron's rules for listeners: none here."""

    def failover_preparation(self, amphora):
        """Nothing to prepare."""

    def qos_enabled(self):
        return False

    def apply_qos_on_port(self, qos_id, port_id):
        """No quality of service here."""

    def get_security_group(self, sg_name):
        return None

    def get_security_group_by_id(self, sg_id, context=None):
        raise base.SecurityGroupNotFound(sg_id)

    def update_vip_sg(self, load_balancer, vip):
        return None

    def update_aap_port_sg(self, load_balancer, amphora, vip):
        """No groups here."""
