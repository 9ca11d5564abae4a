"""Requests of a client to the load balancer's VIPs."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from retrofit.system.deadline import deadline
from retrofit.verify.boot.network import VIP_ADDRESS, Namespace

LARGEST_ANSWER = 1024 * 1024
"""Bytes that are read of an answer; the members' and the metrics are smaller."""
FETCH_TIMEOUT = 60.0
DEADLINE_FACTOR = 2
"""Limit of a whole request in multiples of its timeout: a socket's starts anew at each byte."""
HOST = "www.example.org"


@dataclass(frozen=True, kw_only=True)
class Response:
    """A response, with the names of its headers in lower case, and the connection's TLS."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    tls_version: str = ""


def fetch(
    namespace: Namespace,
    port: int,
    path: str = "/",
    context: ssl.SSLContext | None = None,
    *,
    address: str = VIP_ADDRESS,
    host: str = HOST,
    timeout: float | None = None,
) -> Response:
    """Send a request to a VIP as a client does; OSError when there is no answer."""
    timeout = FETCH_TIMEOUT if timeout is None else timeout
    connection = http.client.HTTPConnection(address, port)
    with (
        deadline(DEADLINE_FACTOR * timeout),
        namespace.connect((address, port), timeout) as raw,
    ):
        channel = raw if context is None else context.wrap_socket(raw, server_hostname=HOST)
        connection.sock = channel
        version = channel.version() if isinstance(channel, ssl.SSLSocket) else None
        try:
            connection.request("GET", path, headers={"Host": host})
            response = connection.getresponse()
            return Response(
                status=response.status,
                body=response.read(LARGEST_ANSWER),
                headers={name.lower(): value for name, value in response.getheaders()},
                tls_version=version or "",
            )
        except http.client.HTTPException as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()
