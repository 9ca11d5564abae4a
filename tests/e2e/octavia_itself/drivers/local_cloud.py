"""One machine as a cloud, for Octavia's drivers of these tests: networks and ports, in one file.

A network is a bridge, a port is a tap. Octavia makes its drivers anew for each task, in several
processes and threads, so nothing is kept in memory: the file is SQLite's.
"""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path(os.environ["LOCAL_CLOUD"])
"""State of the cloud. A short path: a socket's in it has 107 bytes at most."""
FIRST_FREE = 10
"""Number of the first address in a network that a port gets; those below are ours."""
TABLES = """
CREATE TABLE IF NOT EXISTS server (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, image TEXT NOT NULL, network TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS port (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, network TEXT NOT NULL, mac TEXT NOT NULL UNIQUE,
    address TEXT NOT NULL, of_nova INTEGER NOT NULL, is_up INTEGER NOT NULL DEFAULT 1,
    server TEXT, slot INTEGER, UNIQUE (network, address), UNIQUE (server, slot)
);
"""


class TakenError(Exception):
    """The address that was asked for belongs to another port."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network with one subnet; `ours` is the address of this machine in it."""

    bridge: str
    cidr: str
    ours: str

    @property
    def id(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"network.{self.bridge}"))

    @property
    def subnet(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"subnet.{self.bridge}"))

    @property
    def prefix(self) -> int:
        return ipaddress.ip_network(self.cidr).prefixlen


@dataclass(frozen=True, kw_only=True)
class Port:
    """A port; `of_nova` are those that a server was started with, which end with it."""

    id: str
    name: str
    network: str
    mac: str
    address: str
    of_nova: bool
    is_up: bool
    server: str | None
    slot: int | None

    @property
    def tap(self) -> str:
        # A device's name has 15 characters at most.
        return f"tap{self.id[:11]}"


def networks() -> list[Network]:
    """The networks of networks.json, which is there before any driver is."""
    return [Network(**each) for each in json.loads((DIRECTORY / "networks.json").read_text())]


def network(key: str) -> Network | None:
    """The network with this id, name or subnet id."""
    return next((n for n in networks() if key in (n.id, n.subnet, n.bridge)), None)


@contextmanager
def records() -> Iterator[sqlite3.Connection]:
    """A transaction that nobody else's comes between."""
    database = sqlite3.connect(DIRECTORY / "cloud.db", timeout=60, isolation_level=None)
    database.row_factory = sqlite3.Row
    try:
        database.executescript(TABLES)
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")
    finally:
        database.close()


def ip(*lines: str) -> None:
    """Change devices: lines of `ip -batch`."""
    subprocess.run(
        ["ip", "-batch", "-"],
        input="".join(f"{line}\n" for line in lines),
        text=True,
        check=True,
        capture_output=True,
    )


def make_bridges() -> None:
    """Make the device of each network, with our address."""
    ip("link set lo up")
    for number, each in enumerate(networks()):
        # A bridge without an address of its own has that of one of its taps, and another when that
        # one goes: nobody would reach us for half a minute after each deletion of an amphora.
        ip(
            f"link add {each.bridge} address fa:16:3e:00:01:0{number} type bridge forward_delay 0",
            f"address add {each.ours}/{each.prefix} dev {each.bridge}",
            f"link set {each.bridge} up",
        )


def ports(**wanted: object) -> list[Port]:
    """The ports whose columns have these values."""
    condition = " AND ".join(f"{column} = ?" for column in wanted) or "1"
    with records() as database:
        # Columns are words of this module's callers, and no input.
        rows = database.execute(
            f"SELECT * FROM port WHERE {condition}",  # noqa: S608
            tuple(wanted.values()),
        ).fetchall()
    return [
        Port(**{**dict(row), "of_nova": bool(row["of_nova"]), "is_up": bool(row["is_up"])})
        for row in rows
    ]


def make_port(where: Network, name: str, address: str | None, *, of_nova: bool = False) -> Port:
    """Make a port with this address, or with any. Raises TakenError."""
    made = str(uuid.uuid4())
    mac = "fa:16:3e:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))
    with records() as database:
        rows = database.execute("SELECT address FROM port WHERE network = ?", (where.id,))
        taken = {where.ours, *(row["address"] for row in rows)}
        free = map(str, list(ipaddress.ip_network(where.cidr).hosts())[FIRST_FREE - 1 :])
        chosen = address or next(each for each in free if each not in taken)
        if chosen in taken:
            raise TakenError(f"{chosen} is taken")
        database.execute(
            "INSERT INTO port (id, name, network, mac, address, of_nova) VALUES (?, ?, ?, ?, ?, ?)",
            (made, name, where.id, mac, chosen, of_nova),
        )
    return ports(id=made)[0]


def change_port(port_id: str, **columns: object) -> None:
    """Set columns of a port."""
    changes = ", ".join(f"{column} = ?" for column in columns)
    with records() as database:
        database.execute(
            f"UPDATE port SET {changes} WHERE id = ?",  # noqa: S608
            (*columns.values(), port_id),
        )


def forget_port(port_id: str) -> None:
    """Delete the record of a port; one that is not there is no error."""
    with records() as database:
        database.execute("DELETE FROM port WHERE id = ?", (port_id,))


def make_tap(port: Port) -> None:
    """Make the device of a port, on its network's bridge."""
    where = network(port.network)
    assert where is not None
    ip(
        f"tuntap add dev {port.tap} mode tap",
        f"link set {port.tap} master {where.bridge}",
        f"link set {port.tap} {'up' if port.is_up else 'down'}",
    )
