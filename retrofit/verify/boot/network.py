"""The machine's only network: a namespace without uplink, with the verifier inside it.

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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv6Network
from pathlib import Path
from typing import Literal, TypeVar
from weakref import WeakSet

from retrofit.errors import VerifyError
from retrofit.system import process, threads

CLONE_NEWNET = 0x40000000
COMMAND_TIMEOUT = 30.0
TUN = Path("/dev/net/tun")

Family = Literal["ipv4", "ipv6"]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Cable:
    """One network: our end's device and addresses, the machine's MAC and addresses, the prefixes.

    An IPv6 prefix has 64 bits. `theirs6` is the address that Neutron computes of the MAC, and with
    which stateless autoconfiguration (SLAAC) has to come up.
    """

    device: str
    mac: str
    network: str
    prefix: int
    ours: str
    theirs: str
    network6: str
    ours6: str

    @property
    def cidr(self) -> str:
        """Return the IPv4 subnet as the agent wants it."""
        return f"{self.network}/{self.prefix}"

    @property
    def cidr6(self) -> str:
        """Return the IPv6 subnet."""
        return f"{self.network6}/64"

    @property
    def theirs6(self) -> str:
        """Return the machine's IPv6 address: the prefix, and EUI-64 of the MAC (RFC 4291)."""
        mac = bytes.fromhex(self.mac.replace(":", ""))
        host = bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]
        return str(IPv6Network(self.cidr6)[int.from_bytes(host, "big")])

    def ends(self, family: Family) -> tuple[str, str]:
        """Return our address and the machine's."""
        return (self.ours, self.theirs) if family == "ipv4" else (self.ours6, self.theirs6)


# The blocks that RFC 5737, 3849 and 2544 reserve for documentation and tests: no site routes them.
MANAGEMENT = Cable(
    device="management",
    mac="fa:16:3e:00:00:01",
    network="192.0.2.0",
    prefix=24,
    ours="192.0.2.2",
    theirs="192.0.2.10",
    network6="2001:db8:a::",
    ours6="2001:db8:a::2",
)
VIP = Cable(
    device="vip",
    mac="fa:16:3e:00:00:02",
    network="198.51.100.0",
    prefix=24,
    ours="198.51.100.2",
    theirs="198.51.100.10",
    network6="2001:db8:b::",
    ours6="2001:db8:b::2",
)
MEMBER = Cable(
    device="member",
    mac="fa:16:3e:00:00:03",
    network="203.0.113.0",
    prefix=24,
    ours="203.0.113.2",
    theirs="203.0.113.10",
    network6="2001:db8:c::",
    ours6="2001:db8:c::2",
)
CABLES = (MANAGEMENT, VIP, MEMBER)
VIP_ADDRESS = "198.51.100.50"
VIP_ADDRESS6 = "2001:db8:b::50"
ADDITIONAL_NETWORK = "198.18.0.0/24"
"""A further IPv4 subnet of the VIP's network."""
ADDITIONAL_OURS = "198.18.0.2"
ADDITIONAL_ADDRESS = "198.18.0.50"
ADDITIONAL_NETWORK6 = "2001:db8:d::/64"
"""And a further IPv6 one."""
ADDITIONAL_OURS6 = "2001:db8:d::2"
ADDITIONAL_ADDRESS6 = "2001:db8:d::50"
PEER_ADDRESS = "198.51.100.11"
"""The other amphora of a pair, whose part we play on the VIP's network."""
LINK_LOCAL = "fe80::1"
"""Ours on the management network: router advertisements come from such an address."""


class Namespace:
    """A network namespace, alive as long as its thread, which makes every socket in it."""

    def __init__(self, executor: ThreadPoolExecutor, path: Path) -> None:
        self._executor = executor
        self.path = path
        self.ipv6 = False
        """True where our kernel has IPv6; without it an image can be booted, and asked less."""
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._abandoned = False

    def _within(self, action: Callable[[], T]) -> T:
        return threads.result_in_time(self._executor.submit(action))

    def open_socket(
        self, kind: socket.SocketKind, *, ipv6: bool = False, protocol: int = 0
    ) -> socket.socket:
        """Make a socket that stays in the namespace, whichever thread uses it."""
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        made = self._within(lambda: socket.socket(family, kind, protocol))
        self._sockets.add(made)
        if self._abandoned:
            made.close()
            raise ConnectionAbortedError("the trial was ended")
        return made

    def abandon(self) -> None:
        """End whatever other threads wait for in this namespace, from now on."""
        self._abandoned = True
        for each in list(self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def connect(
        self, address: tuple[str, int], timeout: float, *, source: str | None = None
    ) -> socket.socket:
        """Connect by TCP from inside; `timeout` (seconds) holds for what follows as well."""
        connection = self.open_socket(socket.SOCK_STREAM, ipv6=":" in address[0])
        try:
            connection.settimeout(timeout)
            if source is not None:
                connection.bind((source, 0))
            connection.connect(address)
        except BaseException:
            connection.close()
            raise
        return connection

    def listen(self, address: tuple[str, int]) -> socket.socket:
        """Listen by TCP inside; port 0 takes any."""
        listener = self.open_socket(socket.SOCK_STREAM, ipv6=":" in address[0])
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
        except BaseException:
            listener.close()
            raise
        return listener

    def index_of(self, device: str) -> int:
        """Return the index of a device inside."""
        return self._within(lambda: socket.if_nametoindex(device))

    def configure(self, *lines: str) -> None:
        """Change addresses inside: lines of `ip -batch`."""
        process.run(
            self.command(["ip", "-batch", "-"]),
            timeout=COMMAND_TIMEOUT,
            stdin="".join(f"{line}\n" for line in lines).encode(),
        )

    def command(self, argv: list[str]) -> list[str]:
        """Return `argv` as a command that runs inside."""
        return ["nsenter", f"--net={self.path}", *argv]


def _enter_new_network() -> str:
    """Give the calling thread a network namespace of its own and return the path to it."""
    # os.unshare needs Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"


@contextmanager
def isolated() -> Iterator[Namespace]:
    """Make the namespace with our end of every cable in it.

    Raises VerifyError when this machine does not allow it.
    """
    if not TUN.exists():
        raise VerifyError(
            f"{TUN} is missing, so a machine cannot be given a network of its own",
            hint="load the kernel's tun module, or give the container the device",
        )
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="network") as executor:
        try:
            leaving = threads.start_in_time(lambda: executor.submit(_enter_new_network))
            path = threads.result_in_time(leaving)
            namespace = Namespace(executor, Path(path))
            namespace.configure(*_setup())
            with suppress(process.CommandError):
                namespace.configure(*_setup_ipv6())
                namespace.ipv6 = True
        except (OSError, process.CommandError) as error:
            raise VerifyError(
                f"cannot make a network for the verification: {error}",
                hint="verification by booting needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN)",
            ) from error
        yield namespace


def _setup() -> Iterator[str]:
    yield "link set lo up"
    for cable in CABLES:
        yield f"tuntap add dev {cable.device} mode tap"
        yield f"address add {cable.ours}/{cable.prefix} dev {cable.device}"
        yield f"link set {cable.device} up"
    yield f"address add {ADDITIONAL_OURS}/24 dev {VIP.device}"
    yield f"address add {ADDITIONAL_OURS6}/64 dev {VIP.device} nodad"
    yield f"address add {PEER_ADDRESS}/{VIP.prefix} dev {VIP.device}"


def _setup_ipv6() -> Iterator[str]:
    # Nobody else is there: an address that is being looked for as a duplicate cannot be used.
    for cable in CABLES:
        yield f"address add {cable.ours6}/64 dev {cable.device} nodad"
    yield f"address add {LINK_LOCAL}/64 dev {MANAGEMENT.device} nodad"
