"""Commands inside the booted machine, without any preparation of the image.

The config drive's user data starts, at each boot, a small loop that reads shell scripts from a
virtio port and writes back what they print. It lives in the machine's overlay only: the image is
not changed.
"""

from __future__ import annotations

import base64
import socket
import time

from retrofit.verify.boot.network import Namespace
from retrofit.verify.checks import CheckFailedError

PORT_NAME = "org.retrofit.probe"
READY = b"ready"
LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes, in base64; answers have a few KiB."""

USER_DATA = f"""\
#!/bin/bash
# cloud-init runs user data at the first boot only, and what is in this directory at each.
mkdir -p /var/lib/cloud/scripts/per-boot
cat > /var/lib/cloud/scripts/per-boot/retrofit-probe <<'SCRIPT'
#!/bin/bash
cat > /run/retrofit-probe <<'END'
exec 3<> /dev/virtio-ports/{PORT_NAME}
echo {READY.decode()} >&3
while IFS= read -r script <&3; do
    base64 -d <<< "$script" | bash 2>&1 | base64 -w 0 >&3
    echo >&3
done
END
systemctl --quiet is-active retrofit-probe && exit
systemd-run --quiet --unit=retrofit-probe --description="Verification's questions" \\
    /bin/bash /run/retrofit-probe
SCRIPT
chmod +x /var/lib/cloud/scripts/per-boot/retrofit-probe
/var/lib/cloud/scripts/per-boot/retrofit-probe
""".encode()


class Probe:
    """Our end of the port. QEMU connects to it when it starts, on the namespace's loopback."""

    def __init__(self, namespace: Namespace) -> None:
        self._listener = namespace.listen(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connection: socket.socket | None = None
        self._buffer = b""
        self._ready = False
        self._silent: CheckFailedError | None = None

    def close(self) -> None:
        """Close the connection."""
        self._listener.close()
        if self._connection is not None:
            self._connection.close()

    def poll(self) -> bool:
        """Return True if the guest's loop will answer, without waiting for it."""
        if not self._ready and self._silent is None:
            try:
                self._ready = self._line(0.05) == READY
            except OSError:
                return False
        return self._ready and self._silent is None

    def ask(self, script: str, *, timeout: float = 120.0) -> str:
        """Run a shell script in the guest and return what it printed, errors included.

        Raises CheckFailedError when the guest does not answer within `timeout` seconds; from then
        on at once, because a late answer would be taken for another question's.
        """
        deadline = time.monotonic() + timeout
        while not self.poll():
            if self._silent is not None:
                raise self._silent
            if time.monotonic() > deadline:
                raise CheckFailedError(
                    "cloud-init has not run the config drive's user data, so no command can be run"
                    " inside"
                )
            time.sleep(0.2)
        try:
            self._send(base64.b64encode(script.encode()) + b"\n", timeout)
            answer = self._line(max(1.0, deadline - time.monotonic()))
            return base64.b64decode(answer, validate=True).decode(errors="replace")
        except (OSError, ValueError) as error:
            self._silent = CheckFailedError(f"no answer from inside the machine: {error}")
            raise self._silent from error

    def _send(self, data: bytes, timeout: float) -> None:
        if self._connection is None:
            raise ConnectionError("QEMU has not connected")
        self._connection.settimeout(timeout)
        self._connection.sendall(data)

    def _line(self, timeout: float) -> bytes:
        """Return the next line; TimeoutError when it is not whole in time."""
        deadline = time.monotonic() + timeout
        if self._connection is None:
            self._listener.settimeout(timeout)
            self._connection, _ = self._listener.accept()
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no whole line came in time")
            self._connection.settimeout(left)
            data = self._connection.recv(65536)
            if not data:
                raise ConnectionError("the machine closed the connection")
            self._buffer += data
            if len(self._buffer) > LARGEST_ANSWER:
                raise ConnectionError("the answer has no end")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.strip()
