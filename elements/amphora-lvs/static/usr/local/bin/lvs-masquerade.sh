#!/bin/sh
# Called by amphora-interface, in the network namespace of the load balancer, whenever an interface
# comes up or goes down:
#
#   lvs-masquerade.sh add|delete ipv4|ipv6 INTERFACE [sriov]
#
# UDP and SCTP that LVS forwards leave with the interface's own address. TCP is HAProxy's alone and
# needs no connection tracking, which would only cost memory and time; on an SR-IOV interface the
# agent has rules of its own for that.
#
# Each interface has a table of its own, so that one which goes down takes no other's rules along.
set -eu

usage() {
    echo "Usage: ${0##*/} add|delete ipv4|ipv6 INTERFACE [sriov]" >&2
    exit 1
}

[ $# -ge 3 ] || usage
action=$1 version=$2 interface=$3 kind=${4:-}
[ -n "$interface" ] || usage

case "$version" in
    ipv4) family=ip ;;
    ipv6) family=ip6 ;;
    *) usage ;;
esac
table="$family octavia-$version-$interface"

case "$action" in
    add | delete) ;;
    *) usage ;;
esac

# One transaction. The first line makes the second possible where there is no table yet.
{
    echo "table $table"
    echo "delete table $table"
    if [ "$action" = add ]; then
        echo "table $table {"
        echo "  chain octavia-masquerade {"
        echo "    type nat hook postrouting priority 100"
        echo "    oifname \"$interface\" meta l4proto { udp, sctp } masquerade"
        echo "  }"
        if [ "$kind" != sriov ]; then
            echo "  chain octavia-received {"
            echo "    type filter hook prerouting priority -300"
            echo "    iifname \"$interface\" meta l4proto tcp notrack"
            echo "  }"
            echo "  chain octavia-sent {"
            echo "    type filter hook output priority -300"
            echo "    oifname \"$interface\" meta l4proto tcp notrack"
            echo "  }"
        fi
        echo "}"
    fi
} | nft -f -
