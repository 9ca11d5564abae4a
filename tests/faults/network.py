"""What networks, load balancers and servers do to a request on bad days."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus

from tests.faults.wire import BLOCK, Exchange

TRICKLE = 0.2
"""Seconds between two bytes."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Deals with an exchange in its own way; afterwards its connections are closed."""

    name: str
    meet: Callable[[Exchange], None]


def status(code: int, retry_after: int | None = None) -> Fault:
    """Answer in the server's place once the request was read, which the server never sees."""

    def meet(exchange: Exchange) -> None:
        exchange.read_body()
        _refuse(exchange, code, retry_after)

    return Fault(name=f"status {code}", meet=meet)


def status_early(code: int) -> Fault:
    """Answer in the server's place at once, whatever of the request is still to come."""

    def meet(exchange: Exchange) -> None:
        _refuse(exchange, code)
        # A hang-up with bytes unread would reset the connection under the answer.
        exchange.idle(1.0)

    return Fault(name=f"status {code} early", meet=meet)


def status_late(code: int) -> Fault:
    """Let the server do what was asked, and say that it did not."""

    def meet(exchange: Exchange) -> None:
        _work(exchange)
        _refuse(exchange, code)

    return Fault(name=f"status {code} late", meet=meet)


def delayed(seconds: float) -> Fault:
    """Pass the request on later, if the client is still there then."""

    def meet(exchange: Exchange) -> None:
        if exchange.idle(seconds):
            exchange.relay()

    return Fault(name="delayed", meet=meet)


def cut_before() -> Fault:
    """Reset the connection before the server hears of the request."""
    return Fault(name="cut before", meet=lambda exchange: exchange.end(rudely=True))


def cut_request() -> Fault:
    """Reset both connections in the middle of the request: of its body, else of its head."""

    def meet(exchange: Exchange) -> None:
        head = exchange.forwarded_head
        exchange.to_server(head if exchange.has_body else head[: len(head) // 2])
        for block in _half_of_request(exchange):
            exchange.to_server(block)
        exchange.arrived()
        exchange.end(rudely=True)

    return Fault(name="cut request", meet=meet)


def cut_after() -> Fault:
    """Let the server do what was asked, and reset the connection instead of saying so."""

    def meet(exchange: Exchange) -> None:
        _work(exchange)
        exchange.end(rudely=True)

    return Fault(name="cut after", meet=meet)


def stall(seconds: float) -> Fault:
    """Take the request and answer nothing; the server never sees it."""

    def meet(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.idle(seconds)

    return Fault(name="stall", meet=meet)


def stall_after(seconds: float) -> Fault:
    """Let the server do what was asked, and keep the answer back."""

    def meet(exchange: Exchange) -> None:
        _work(exchange)
        exchange.idle(seconds)

    return Fault(name="stall after", meet=meet)


def stall_body(seconds: float) -> Fault:
    """Pass half of the answer's body on, then nothing any more."""

    def meet(exchange: Exchange) -> None:
        _half_an_answer(exchange)
        exchange.idle(seconds)

    return Fault(name="stall body", meet=meet)


def truncate() -> Fault:
    """Announce the whole body of the answer, send half of it and hang up."""
    return Fault(name="truncate", meet=_half_an_answer)


def trickle(seconds: float) -> Fault:
    """Pass the answer's body on byte by byte for so long, so that no read ever times out."""

    def meet(exchange: Exchange) -> None:
        exchange.forward()
        head, body = exchange.answer()
        exchange.to_client(head.raw)
        left = seconds
        for block in body:
            for number, byte in enumerate(block):
                if left <= 0:
                    exchange.to_client(block[number:])
                    break
                exchange.to_client(bytes([byte]))
                if not exchange.idle(TRICKLE):
                    return
                left -= TRICKLE

    return Fault(name="trickle", meet=meet)


def corrupt() -> Fault:
    """Flip one bit in the middle of the answer's body."""

    def meet(exchange: Exchange) -> None:
        exchange.forward()
        head, body = exchange.answer()
        exchange.to_client(head.raw)
        passed = 0
        for block in body:
            middle = (head.length or len(block)) // 2 - passed
            passed += len(block)
            if 0 <= middle < len(block):
                flipped = bytes([block[middle] ^ 1])
                exchange.to_client(block[:middle] + flipped + block[middle + 1 :])
            else:
                exchange.to_client(block)

    return Fault(name="corrupt", meet=meet)


def garbage() -> Fault:
    """Answer as a captive portal or a load balancer without servers does: 200, and HTML."""

    def meet(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.reply(200, b"<html><body>Welcome</body></html>\n", Content_Type="text/html")

    return Fault(name="garbage", meet=meet)


def stop_reading(seconds: float) -> Fault:
    """Read no more of a body after its first 64 KiB; the kernel's buffers fill up after that."""

    def meet(exchange: Exchange) -> None:
        exchange.to_server(exchange.forwarded_head)
        for block in _first(exchange.body(), BLOCK):
            exchange.to_server(block)
        exchange.idle(seconds)
        exchange.end(rudely=True)

    return Fault(name="stop reading", meet=meet)


def _work(exchange: Exchange) -> None:
    """Have the server do what was asked, to the end of its answer."""
    exchange.forward()
    _head, body = exchange.answer()
    for _block in body:
        pass


def _refuse(exchange: Exchange, code: int, retry_after: int | None = None) -> None:
    phrase = HTTPStatus(code).phrase
    said: dict[str, object] = {"code": code, "title": phrase, "message": "the tests want it so"}
    if exchange.request.service == "keystone":
        said = {"error": said}
    wish = {} if retry_after is None else {"Retry_After": str(retry_after)}
    exchange.reply(code, json.dumps(said).encode(), Content_Type="application/json", **wish)


def _half_an_answer(exchange: Exchange) -> None:
    exchange.forward()
    head, body = exchange.answer()
    exchange.to_client(head.raw)
    for block in _half(body, head.length):
        exchange.to_client(block)


def _half_of_request(exchange: Exchange) -> Iterator[bytes]:
    announced = exchange.head.fields.get("x-openstack-image-size")
    length = int(announced) if announced else exchange.head.length
    return _half(exchange.body(), length)


def _half(blocks: Iterator[bytes], length: int | None) -> Iterator[bytes]:
    """Yield the first half; of what comes first, where nobody knows how much there is."""
    if length is not None:
        yield from _first(blocks, length // 2)
        return
    for block in blocks:
        yield block[: len(block) // 2]
        return


def _first(blocks: Iterator[bytes], amount: int) -> Iterator[bytes]:
    while amount > 0 and (block := next(blocks, b"")):
        yield block[:amount]
        amount -= len(block)
