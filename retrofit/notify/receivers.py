"""The two kinds of receivers: a webhook gets a POST, a command gets its stdin."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from urllib.parse import urlsplit

import requests

from retrofit import __version__
from retrofit.config import NotifySettings
from retrofit.notify.notification import Notification
from retrofit.redaction import MASK, redacted
from retrofit.system import process
from retrofit.system.deadline import deadline
from retrofit.system.retry import retry_after
from retrofit.system.tied import tied

PASSING = frozenset({408, 425, 429})
"""Refusals (4xx) that another attempt may not meet (RFC 9110, RFC 8470, RFC 6585)."""


class UndeliveredError(Exception):
    """The receiver did not accept a notification this time; `wait` is what it asked for, in
    seconds."""

    def __init__(self, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class RefusedError(UndeliveredError):
    """The receiver refused a notification for good: another attempt would be refused too."""


def send(
    name: str, notification: Notification, settings: NotifySettings, *, timeout: float
) -> None:
    """Make one attempt, of `timeout` seconds at most; what is no longer configured is skipped.

    Raises UndeliveredError, RefusedError.
    """
    if name == "webhook" and settings.url is not None:
        post(settings, notification, timeout=timeout)
    elif name == "command" and settings.command:
        run_command(settings, notification, timeout=timeout)


def post(settings: NotifySettings, notification: Notification, *, timeout: float) -> None:
    """Post a notification to the webhook. Raises UndeliveredError unless it answers 2xx."""
    body = _body(notification)
    try:
        headers = {**headers_for(notification), **_signature(settings, body)}
        # Streamed: only the status of the answer is of interest, however long it is.
        with (
            deadline(timeout),
            requests.post(
                str(settings.url),
                data=body,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,  # a redirected POST becomes a GET: it would be lost
                stream=True,
                verify=str(settings.ca_bundle) if settings.ca_bundle else True,
            ) as answer,
        ):
            status, wait = answer.status_code, answer.headers.get("Retry-After")
    except (OSError, ValueError) as error:  # requests' own errors are OSErrors
        message = f"{type(error).__name__}: {error}"
        raise UndeliveredError(_without_path(message, settings)) from error
    if 400 <= status < 500 and status not in PASSING:
        raise RefusedError(f"the receiver answered {status}")
    if not 200 <= status < 300:
        raise UndeliveredError(f"the receiver answered {status}", wait=retry_after(wait))


def run_command(settings: NotifySettings, notification: Notification, *, timeout: float) -> None:
    """Give a notification to the command on stdin. Raises UndeliveredError unless it exits 0."""
    try:
        # A worker that stops waits for nothing that is slow: the command ends with it.
        words = tied(*settings.command, by="TERM")
        process.run(words, timeout=timeout, stdin=_body(notification) + b"\n")
    except process.CommandError as error:
        raise UndeliveredError(error.message) from error


def _body(notification: Notification) -> bytes:
    return json.dumps(notification.as_dict(), sort_keys=True).encode()


def _without_path(message: str, settings: NotifySettings) -> str:
    """Mask the webhook's path in a message: who knows it can often write to the webhook."""
    parts = urlsplit(str(settings.url))
    for secret in (parts.query, parts.path):
        if len(secret) > 1:
            message = message.replace(secret, MASK)
    return redacted(message)


def headers_for(notification: Notification) -> dict[str, str]:
    """Return the headers by which a receiver sorts notifications without reading them."""
    return {
        "Content-Type": "application/json",
        "User-Agent": f"retrofit/{__version__}",
        "Idempotency-Key": notification.id,
        "X-Retrofit-Event": notification.event,
    }


def _signature(settings: NotifySettings, body: bytes) -> dict[str, str]:
    """Sign time and body: a receiver that looks at both is not fooled by a replay."""
    timestamp = str(int(time.time()))
    headers = {"X-Retrofit-Timestamp": timestamp}
    if settings.secret_file is not None:
        secret = settings.secret_file.read_bytes().strip()
        if not secret:
            raise UndeliveredError(f"{settings.secret_file} is empty")
        digest = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers["X-Retrofit-Signature"] = f"sha256={digest}"
    return headers
