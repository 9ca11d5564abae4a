"""octavia-health-manager on SQLite; OCTAVIA_CONF names the configuration."""

import os
import sys

sys.argv = ["octavia-health-manager", "--config-file", os.environ["OCTAVIA_CONF"]]

import octavia_sqlite  # noqa: E402, F401
from octavia.cmd import health_manager  # noqa: E402

if __name__ == "__main__":
    health_manager.main()
