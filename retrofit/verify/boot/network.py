"""The only network the machine has: a namespace without uplink, with the verifier inside it.

Frames that the guest sends end here: nothing is forwarded, because there is nowhere to forward to.
The namespace belongs to a thread and has no name, so that nothing is left even after a kill.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from retrofit import process, threads
from retrofit.errors import VerifyError

CLONE_NEWNET = 0x40000000
COMMAND_TIMEOUT = 30.0
TUN = Path("/dev/net/tun")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Cable:
    """One network: our end's device and address, the machine's MAC and address, the prefix."""

    device: str
    mac: str
    network: str
    prefix: int
    ours: str
    theirs: str

    @property
    def cidr(self) -> str:
        """Return the subnet as the agent wants it."""
        return f"{self.network}/{self.prefix}"


# The blocks that RFC 5737 sets aside for documentation: no site routes them.
MANAGEMENT = Cable(
    device="management",
    mac="fa:16:3e:00:00:01",
    network="192.0.2.0",
    prefix=24,
    ours="192.0.2.2",
    theirs="192.0.2.10",
)
VIP = Cable(
    device="vip",
    mac="fa:16:3e:00:00:02",
    network="198.51.100.0",
    prefix=24,
    ours="198.51.100.2",
    theirs="198.51.100.10",
)
VIP_ADDRESS = "198.51.100.50"


class Namespace:
    """A network namespace, alive as long as its thread, which makes every socket in it."""

    def __init__(self, executor: ThreadPoolExecutor, path: Path) -> None:
        self._executor = executor
        self.path = path

    def _within(self, action: Callable[[], T]) -> T:
        return threads.answered(self._executor.submit(action))

    def open_socket(self, kind: socket.SocketKind) -> socket.socket:
        """Make an IPv4 socket that stays in the namespace, whichever thread uses it."""
        return self._within(lambda: socket.socket(socket.AF_INET, kind))

    def connect(self, address: tuple[str, int], timeout: float) -> socket.socket:
        """Connect by TCP from inside; `timeout` (seconds) holds for what follows as well."""
        connection = self.open_socket(socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(address)
        except BaseException:
            connection.close()
            raise
        return connection

    def listen(self, address: tuple[str, int]) -> socket.socket:
        """Listen by TCP inside; port 0 takes any."""
        listener = self.open_socket(socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
        except BaseException:
            listener.close()
            raise
        return listener

    def command(self, argv: list[str]) -> list[str]:
        """Return `argv` as a command that runs inside."""
        return ["nsenter", f"--net={self.path}", *argv]


def _leave_the_hosts_network() -> str:
    """Give the calling thread a network namespace of its own and return the path to it."""
    # os.unshare needs Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"


@contextmanager
def isolated() -> Iterator[Namespace]:
    """Make the namespace with both cables' ends in it.

    Raises VerifyError when this machine does not let us.
    """
    if not TUN.exists():
        raise VerifyError(
            f"{TUN} is missing, so a machine cannot be given a network of its own",
            hint="load the kernel's tun module, or give the container the device",
        )
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="network") as executor:
        try:
            leaving = threads.begun(lambda: executor.submit(_leave_the_hosts_network))
            path = threads.answered(leaving)
            namespace = Namespace(executor, Path(path))
            process.run(
                namespace.command(["ip", "-batch", "-"]),
                timeout=COMMAND_TIMEOUT,
                stdin=_setup().encode(),
            )
        except (OSError, process.CommandError) as error:
            raise VerifyError(
                f"cannot make a network of the test's own: {error}",
                hint="verification by booting needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN)",
            ) from error
        yield namespace


def _setup() -> str:
    lines = ["link set lo up"]
    for cable in (MANAGEMENT, VIP):
        lines += [
            f"tuntap add dev {cable.device} mode tap",
            f"address add {cable.ours}/{cable.prefix} dev {cable.device}",
            f"link set {cable.device} up",
        ]
    return "\n".join(lines) + "\n"
