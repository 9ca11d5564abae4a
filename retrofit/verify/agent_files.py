"""Paths and units of an amphora's agent, the same in every image."""

AGENT_CONF = "/etc/octavia/amphora-agent.conf"
SERVER_PEM = "/etc/octavia/certs/server.pem"
CLIENT_CA_PEM = "/etc/octavia/certs/client_ca.pem"
CERTIFICATE_DIRECTORY = "/var/lib/octavia/certs"
"""Certificates of load balancers, which the agent gets from Octavia; it has to be on RAM."""

AGENT_UNITS = ("amphora-agent.service", "octavia-agent.service")
"""Octavia's own name, and that of Debian's and Ubuntu's package."""
