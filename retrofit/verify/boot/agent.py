"""The amphora agent's REST API, used as Octavia's controller uses it."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrofit.control_plane.certificates import Client
from retrofit.system.deadline import deadline
from retrofit.verify.boot.certificates import Credentials
from retrofit.verify.boot.client import client_context
from retrofit.verify.boot.config_drive import AGENT_PORT
from retrofit.verify.boot.network import MANAGEMENT, Namespace
from retrofit.verify.checks import CheckFailedError

LARGEST_ANSWER = 1024 * 1024
"""Bytes that are read of an answer; the agent's are smaller."""

REQUEST_TIMEOUT = 120.0
"""Seconds: an emulated machine needs many to start HAProxy, a real one less than one."""

SIGNATURE_REFUSED = frozenset({"TLSV1_ALERT_DECRYPT_ERROR", "SSLV3_ALERT_DECRYPT_ERROR"})
"""Alerts of an agent that accepts a certificate, and finds the signature wrong (RFC 8446, 6.2)."""
DEADLINE_FACTOR = 2
"""Limit of a whole request in multiples of its timeout: a socket's starts anew at each byte."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer of the agent."""

    status: int
    body: bytes
    tls_version: str

    def fields(self) -> dict[str, Any]:
        """Return the JSON object of the body. Raises CheckFailedError when it is none."""
        content = self._content()
        if not isinstance(content, dict):
            raise CheckFailedError(f"the answer is not an object: {self.excerpt}")
        return content

    def entries(self) -> list[dict[str, Any]]:
        """Return the body as a list of JSON objects. Raises CheckFailedError when it is none."""
        content = self._content()
        if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
            raise CheckFailedError(f"the answer is not a list of objects: {self.excerpt}")
        return content

    def _content(self) -> Any:
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise CheckFailedError(f"the answer is not JSON: {self.excerpt}") from None

    @property
    def excerpt(self) -> str:
        """Return the body for a message; of a long one, beginning and end: causes come last."""
        text = self.body.decode(errors="replace").strip()
        return text if len(text) <= 400 else f"{text[:100]} ... {text[-300:]}"


class Agent:
    """A controller's view of one amphora."""

    def __init__(
        self,
        namespace: Namespace,
        credentials: Credentials,
        amphora_id: str,
        work_dir: Path,
        *,
        address: str = MANAGEMENT.theirs,
    ) -> None:
        self._namespace = namespace
        self._address = address
        self._amphora_id = amphora_id
        self._ca = credentials.server_ca.certificate_pem.decode()
        self._client = credentials.client.write(work_dir / "client.pem")
        self._stranger = credentials.stranger.write(work_dir / "stranger.pem")

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        timeout: float = REQUEST_TIMEOUT,
    ) -> Answer:
        """Send a request with the controller's certificate; OSError when there is no answer."""
        return self._send(self._context(self._client), method, path, body, timeout)

    def expect(
        self, method: str, path: str, body: bytes | None = None, *, status: tuple[int, ...] = (200,)
    ) -> Answer:
        """Ask, and raise CheckFailedError unless the answer has one of the statuses."""
        answer = self.ask(method, path, body)
        if answer.status not in status:
            raise CheckFailedError(f"{method} {path}: {answer.status} {answer.excerpt}")
        return answer

    def certificate(self) -> bytes:
        """Return the certificate that the agent shows (DER)."""
        with (
            deadline(DEADLINE_FACTOR * REQUEST_TIMEOUT),
            self._namespace.connect((self._address, AGENT_PORT), REQUEST_TIMEOUT) as raw,
            self._context(self._client).wrap_socket(
                raw, server_hostname=self._amphora_id
            ) as channel,
        ):
            return channel.getpeercert(binary_form=True) or b""

    def refusal(self, *, stranger: bool) -> str | None:
        """Return how the agent refuses a client without certificate, or with a stranger's.

        None when it accepts the client. The request matters: in TLS 1.3 a client sees the refusal
        of its certificate only after the handshake.
        """
        context = self._context(self._stranger if stranger else None)
        try:
            self._send(context, "GET", "/", None, REQUEST_TIMEOUT)
        except (ssl.SSLError, ConnectionError) as error:
            return f"{type(error).__name__}: {getattr(error, 'reason', None) or error}"
        return None

    def refusal_of(self, client: Client) -> str | None:
        """Return how the agent refuses a client; None when it accepts its certificate.

        Raises OSError when there is no answer about the certificate.
        """
        context = client_context(client.shown, self._ca.encode())
        try:
            if client.keyless:
                self._await_alert(context)
            else:
                self._send(context, "GET", "/", None, REQUEST_TIMEOUT)
        except ssl.SSLError as error:
            reason = str(error.reason or error)
            return None if client.keyless and reason in SIGNATURE_REFUSED else reason
        except ConnectionError as error:
            if client.keyless:
                raise
            return f"{type(error).__name__}: {error}"
        return None

    def _await_alert(self, context: ssl.SSLContext) -> None:
        """Shake hands and wait: nobody without the key of its certificate may be served."""
        with (
            deadline(DEADLINE_FACTOR * REQUEST_TIMEOUT),
            self._namespace.connect((self._address, AGENT_PORT), REQUEST_TIMEOUT) as raw,
            context.wrap_socket(raw, server_hostname=self._amphora_id) as channel,
        ):
            # In TLS 1.3 a client sees the refusal of its certificate after the handshake only.
            channel.recv(1)
            raise ConnectionError("the connection ended without an alert")

    def accepts_old_tls(self) -> bool:
        """Return True if the agent accepts TLS 1.1 or older."""
        context = self._context(self._client)
        # Without this our own OpenSSL would refuse, which proves nothing.
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        try:
            self._send(context, "GET", "/", None, REQUEST_TIMEOUT)
        except (ssl.SSLError, ConnectionError):
            return False
        return True

    def _context(self, client: Path | None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self._ca)
        if client is not None:
            context.load_cert_chain(client)
        return context

    def _send(
        self,
        context: ssl.SSLContext,
        method: str,
        path: str,
        body: bytes | None,
        timeout: float,
    ) -> Answer:
        with (
            deadline(DEADLINE_FACTOR * timeout),
            self._namespace.connect((self._address, AGENT_PORT), timeout) as raw,
            # As Octavia compares: the certificate names the amphora, not its address.
            context.wrap_socket(raw, server_hostname=self._amphora_id) as channel,
        ):
            connection = http.client.HTTPConnection(self._address, AGENT_PORT)
            connection.sock = channel
            # Asked now: it is forgotten when the channel is closed.
            tls_version = channel.version() or ""
            headers = {"Connection": "close", "User-Agent": "retrofit-verify"}
            if body is not None:
                headers["Content-Type"] = (
                    "application/json"
                    if body.startswith((b"{", b"["))
                    else "application/octet-stream"
                )
            try:
                connection.request(method, path, body=body, headers=headers)
                response = connection.getresponse()
                return Answer(
                    status=response.status,
                    body=response.read(LARGEST_ANSWER),
                    tls_version=tls_version,
                )
            except http.client.HTTPException as error:
                raise ConnectionError(f"{type(error).__name__}: {error}") from error
