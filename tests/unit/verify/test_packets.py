"""Packets that the trial makes and reads: SCTP, VRRP."""

from __future__ import annotations

import struct

import pytest

from retrofit.verify.boot.sctp import INIT, INIT_ACK, Packet, crc32c
from retrofit.verify.boot.vrrp import Advertisement, checksum

IP_HEADER = b"\x45" + bytes(19)


def test_the_checksum_of_sctp_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


@pytest.mark.parametrize("chunk", [INIT, INIT_ACK])
def test_a_packet_of_sctp_is_read_as_it_was_made(chunk: int) -> None:
    packet = Packet(source=40001, destination=7777, tag=5, chunk=chunk, initiate_tag=77)
    data = packet.encoded()
    assert Packet.read(IP_HEADER + data) == packet
    (sent,) = struct.unpack_from("<L", data, 8)
    assert sent == crc32c(data[:8] + bytes(4) + data[12:])
    (length,) = struct.unpack_from("!H", data, 14)
    assert length == len(data) - 12


@pytest.mark.parametrize("data", [b"", IP_HEADER, b"\x4f" + bytes(30), IP_HEADER + bytes(15)])
def test_what_is_no_sctp_is_none(data: bytes) -> None:
    assert Packet.read(data) is None


def test_an_init_without_its_body_is_none() -> None:
    data = Packet(source=1, destination=2, tag=0, chunk=INIT, initiate_tag=9).encoded()
    assert Packet.read(IP_HEADER + data[:20]) is None


ADVERTISED = Advertisement(
    router=1, priority=100, interval=1, addresses=("198.51.100.50",), password="abcdefg"
)


def test_an_advertisement_is_the_one_that_keepalived_sends() -> None:
    message = ADVERTISED.encoded()
    # RFC 3768, 5.3: version 2 and type 1, id, priority, one address, password, one second.
    assert message[:6] == bytes([0x21, 1, 100, 1, 1, 1])
    assert message[8:12] == bytes([198, 51, 100, 50])
    assert message[12:] == b"abcdefg\0"
    assert checksum(message) == 0


def test_an_advertisement_is_read_as_it_was_made() -> None:
    assert Advertisement.read(IP_HEADER + ADVERTISED.encoded()) == ADVERTISED


@pytest.mark.parametrize(
    "packet",
    [b"", IP_HEADER, IP_HEADER + b"\x31" + bytes(30), IP_HEADER + ADVERTISED.encoded()[:15]],
)
def test_what_is_no_advertisement_is_none(packet: bytes) -> None:
    assert Advertisement.read(packet) is None
