"""Every check of a running amphora, in the order in which Octavia asks."""

from __future__ import annotations

from retrofit.control_plane.agents import ADDITIONAL_VIPS, INTERFACE_RULES
from retrofit.control_plane.certificates import CHECK as CERTIFICATES_CHECK
from retrofit.verify.boot.checks import (
    agent,
    balancer,
    control_plane,
    logs,
    lvs,
    monitors,
    pair,
    power,
    traffic,
)
from retrofit.verify.boot.registry import BootCheck
from retrofit.verify.boot.scenario import PAIR

ANSWERS = "agent-answers"
PLUGGED = "vip-plugged"
MEMBER_PLUGGED = "member-network-plugged"
CERTIFICATE = "certificate-uploaded"
CONFIGURED = "load-balancer-configured"
STARTED = "load-balancer-started"
UDP_STARTED, SCTP_STARTED = "udp-listener-started", "sctp-listener-started"
COMPLETE = "boot-complete"
INFO = "agent-info"
ASKED = "control-plane-asked"
RECEIVED = "log-receivers"
IPV6, PAIR_PLUGGED, PAIR_STARTED = "management-ipv6", "pair-vip-plugged", "pair-started"
MASTER = "vrrp-master"

CHECKS: tuple[BootCheck, ...] = (
    BootCheck(name=RECEIVED, run=logs.receive_logs),
    BootCheck(name=ANSWERS, run=agent.answers, level="boot"),
    BootCheck(
        name="agent-refuses-no-certificate",
        run=agent.refuses_no_certificate,
        needs=(ANSWERS,),
        level="boot",
    ),
    BootCheck(
        name="agent-refuses-foreign-certificate",
        run=agent.refuses_foreign_certificate,
        needs=(ANSWERS,),
        level="boot",
    ),
    BootCheck(name="agent-tls-version", run=agent.tls_version, needs=(ANSWERS,), level="boot"),
    BootCheck(name="agent-api-version", run=agent.api_version, needs=(ANSWERS,), level="boot"),
    BootCheck(name=INFO, run=agent.info, needs=(ANSWERS,), level="boot"),
    BootCheck(name="heartbeat", run=agent.heartbeat, needs=(ANSWERS,), level="boot"),
    BootCheck(name="management-ipv4", run=agent.management, needs=(ANSWERS,)),
    BootCheck(name=PLUGGED, run=balancer.plugs_vip, needs=(ANSWERS,), level="boot"),
    BootCheck(name=MEMBER_PLUGGED, run=balancer.plugs_member_network, needs=(PLUGGED,)),
    BootCheck(name=CERTIFICATE, run=balancer.takes_certificate, needs=(ANSWERS,), level="boot"),
    BootCheck(
        name="certificates-on-ram",
        run=balancer.certificates_on_ram,
        needs=(CERTIFICATE,),
        level="boot",
    ),
    BootCheck(
        name=CONFIGURED,
        run=balancer.takes_configuration,
        needs=(INFO, PLUGGED, MEMBER_PLUGGED, CERTIFICATE),
        level="boot",
    ),
    BootCheck(name=STARTED, run=balancer.starts_balancer, needs=(CONFIGURED,), level="boot"),
    BootCheck(
        name="listeners-active", run=balancer.listeners_active, needs=(STARTED,), level="boot"
    ),
    BootCheck(name="http-through-haproxy", run=traffic.serves_http, needs=(STARTED,), level="boot"),
    BootCheck(
        name="https-through-haproxy", run=traffic.serves_https, needs=(STARTED,), level="boot"
    ),
    BootCheck(
        name="prometheus-metrics", run=traffic.serves_metrics, needs=(STARTED,), level="boot"
    ),
    BootCheck(name=UDP_STARTED, run=lvs.starts_udp, needs=(STARTED,)),
    BootCheck(name=SCTP_STARTED, run=lvs.starts_sctp, needs=(STARTED,)),
    BootCheck(name="http-over-ipv6-vip", run=traffic.serves_ipv6_vip, needs=(STARTED,)),
    BootCheck(
        name="additional-vip",
        run=traffic.serves_additional_vip,
        needs=(STARTED,),
        features=(ADDITIONAL_VIPS,),
    ),
    BootCheck(name="member-network", run=traffic.uses_member_network, needs=(STARTED,)),
    BootCheck(name="ipv6-member", run=traffic.uses_ipv6_member, needs=(STARTED,)),
    BootCheck(name="l7-policy", run=traffic.follows_policies, needs=(STARTED,)),
    BootCheck(name="tls", run=traffic.terminates_tls, needs=(STARTED,)),
    BootCheck(name="http2-alpn", run=traffic.negotiates_h2, needs=(STARTED,)),
    BootCheck(name="client-authentication", run=traffic.authenticates_clients, needs=(STARTED,)),
    BootCheck(name="backend-re-encryption", run=traffic.encrypts_to_members, needs=(STARTED,)),
    BootCheck(name="proxy-protocol", run=traffic.sends_proxy_header, needs=(STARTED,)),
    BootCheck(name="http-monitor", run=monitors.sees_http, needs=(STARTED,)),
    BootCheck(name="tcp-monitor", run=monitors.sees_tcp, needs=(STARTED,)),
    BootCheck(name="ping-monitor", run=monitors.sees_ping, needs=(STARTED,)),
    BootCheck(name="udp-connect-monitor", run=monitors.sees_udp, needs=(UDP_STARTED,)),
    BootCheck(name="sctp-monitor", run=monitors.sees_sctp, needs=(SCTP_STARTED,)),
    BootCheck(name="udp-through-lvs", run=lvs.carries_udp, needs=(UDP_STARTED,)),
    BootCheck(name="sctp-through-lvs", run=lvs.carries_sctp, needs=(SCTP_STARTED,)),
    BootCheck(
        name="heartbeat-reports-listeners",
        run=balancer.heartbeat_reports_listeners,
        needs=(STARTED,),
        level="boot",
    ),
    BootCheck(
        name="statistics-in-heartbeats",
        run=balancer.statistics_in_heartbeats,
        needs=(STARTED,),
    ),
    BootCheck(name="log-offloading", run=logs.offloads_logs, needs=(RECEIVED, STARTED)),
    BootCheck(name="agent-details", run=agent.details, needs=(STARTED,), level="boot"),
    BootCheck(name=COMPLETE, run=agent.boot_completes, needs=(ANSWERS,), level="boot"),
    BootCheck(name="no-failed-unit", run=agent.no_failed_unit, needs=(COMPLETE,), level="boot"),
    BootCheck(
        name="ssh-on-management-only",
        run=agent.ssh_on_management_only,
        needs=(COMPLETE,),
        level="boot",
    ),
    BootCheck(name=ASKED, run=control_plane.is_asked, needs=(ANSWERS,), level="boot"),
    BootCheck(
        name="certificates-of-the-charm-guide",
        run=control_plane.judges_guides_certificates,
        needs=(ANSWERS,),
        level="boot",
    ),
    BootCheck(
        name=CERTIFICATES_CHECK,
        run=control_plane.judges_control_planes_certificate,
        needs=(ANSWERS,),
        level="boot",
    ),
    BootCheck(name="certificate-rotation", run=agent.rotates_certificate, needs=(ANSWERS,)),
    BootCheck(name="listener-deleted", run=balancer.deletes_listeners, needs=(UDP_STARTED,)),
    BootCheck(name="vip-after-reboot", run=power.survives_reboot, needs=(STARTED, COMPLETE)),
    BootCheck(
        name="certificates-gone-after-power-cut",
        run=power.certificates_are_gone,
        needs=(CERTIFICATE, COMPLETE),
        level="boot",
    ),
    BootCheck(name=IPV6, run=agent.management_over_slaac, scenario=PAIR),
    BootCheck(name=PAIR_PLUGGED, run=balancer.plugs_vip, needs=(IPV6,), scenario=PAIR),
    BootCheck(name=PAIR_STARTED, run=pair.starts_pair, needs=(PAIR_PLUGGED,), scenario=PAIR),
    BootCheck(name=MASTER, run=pair.becomes_master, needs=(PAIR_STARTED,), scenario=PAIR),
    BootCheck(
        name="interface-rules",
        run=pair.follows_rules,
        needs=(MASTER,),
        scenario=PAIR,
        features=(INTERFACE_RULES,),
    ),
    BootCheck(name="vrrp-yields", run=pair.yields, needs=(MASTER,), scenario=PAIR),
    BootCheck(name="vrrp-returns", run=pair.returns, needs=("vrrp-yields",), scenario=PAIR),
    BootCheck(
        name="vip-after-power-cut", run=power.survives_power_cut, needs=(MASTER,), scenario=PAIR
    ),
)
