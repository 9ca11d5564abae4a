"""What every test may ask for."""

from __future__ import annotations

import signal

# A shell that starts us in the background ignores Ctrl-C for us and all that we start, and a
# program cannot take back what it never gets: tests of interruption need it to arrive.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.devcloud.fixtures"]
