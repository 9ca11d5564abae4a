#!/bin/sh
# HAProxy's external check for health monitors of type PING: ping finds out the address family.
exec ping -q -n -w 1 -c 1 "$HAPROXY_SERVER_ADDR" > /dev/null 2>&1
