"""Notifications to systemd from a service of Type=notify, see sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

import structlog

log = structlog.get_logger(__name__)


class Notifier:
    """The connection to the service manager; it does nothing when none started us.

    It is for this process alone: `NOTIFY_SOCKET` is removed from the environment, so that no
    child sends notifications in our name.
    """

    def __init__(self, address: str | None, *, watchdog: float | None = None) -> None:
        self._address = address
        self.watchdog = watchdog
        """Seconds within which the manager expects a sign of life; None when it expects none."""

    @classmethod
    def from_environment(cls) -> Notifier:
        """Read the variables of the service manager, and remove them from the environment."""
        watchdog = _watchdog_seconds(os.environ)
        for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
            os.environ.pop(name, None)
        return cls(os.environ.pop("NOTIFY_SOCKET", None) or None, watchdog=watchdog)

    def ready(self, status: str) -> None:
        """Notify that start or reload has ended."""
        self._send("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """Notify that the configuration is being read again; `ready` ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, status: str) -> None:
        """Notify that the service is stopping."""
        self._send("STOPPING=1", f"STATUS={status}")

    def alive(self) -> None:
        """Reset the watchdog."""
        if self.watchdog is not None:
            self._send("WATCHDOG=1")

    def _send(self, *fields: str) -> None:
        if self._address is None:
            return
        # A leading @ means the zero byte of an abstract address, see unix(7).
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.connect(address)
                out.sendall("\n".join(fields).encode())
        except OSError as error:
            log.warning("sd_notify failed", message=fields[0], error=str(error))


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """Read the watchdog's time as sd_watchdog_enabled(3) does."""
    pid = environment.get("WATCHDOG_PID")
    if pid and pid != str(os.getpid()):
        return None
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return None
    return microseconds / 1e6 or None
