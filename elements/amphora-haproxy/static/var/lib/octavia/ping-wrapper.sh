#!/bin/sh
# HAProxy's external check for health monitors of type PING: ping finds out the address family.
# By its whole path: HAProxy calls this with an empty PATH (external-check path is not set).
exec /usr/bin/ping -q -n -w 1 -c 1 "$HAPROXY_SERVER_ADDR" > /dev/null 2>&1
