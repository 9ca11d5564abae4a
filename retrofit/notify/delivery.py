"""Bring letters to the webhook and to the command; each attempt may fail, none is forgotten."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import requests
import structlog

from retrofit import __version__, process
from retrofit.config import NotifySettings
from retrofit.deadline import deadline
from retrofit.notify.outbox import Letter, Outbox
from retrofit.redaction import MASK, redacted
from retrofit.times import read_time

log = structlog.get_logger(__name__)

FIRST_WAIT = 1.0
LONGEST_WAIT = 3600.0
"""Seconds between two attempts: they double from the first to the longest."""


class UndeliveredError(Exception):
    """The receiver did not take it this time."""


def deliver(
    outbox: Outbox,
    settings: NotifySettings,
    *,
    at_once: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Deliver what waits, target by target in the order of what happened.

    A receiver that fails is asked again after waits that double, up to an hour. This call makes
    `retries` such repetitions; what is left stays for whoever delivers next, and so does
    everything where somebody waits to deliver already. `at_once` tries even what has been tried a
    moment ago.
    Raises OSError when the outbox cannot be used.
    """
    with outbox.alone() as our_turn:
        if not our_turn:
            log.info("left to those who wait to deliver")
            return
        end = now() + timedelta(seconds=patience(settings))
        if at_once:
            for queue in outbox.letters():
                for letter in queue:
                    outbox.replace(letter, next_try=None)
        while True:
            due = [
                at for queue in outbox.letters() if (at := _deliver(queue, outbox, settings, now))
            ]
            if not due or min(due) > end:
                return
            sleep(max(0.0, (min(due) - now()).total_seconds()))


def patience(settings: NotifySettings) -> float:
    """Return how many seconds the waits between all repetitions take."""
    return FIRST_WAIT * float(2**settings.retries - 1)


def _deliver(
    queue: list[Letter], outbox: Outbox, settings: NotifySettings, now: Callable[[], datetime]
) -> datetime | None:
    """Deliver the letters of one target; return when the rest is due, None where all are gone."""
    for letter in queue:
        if _is_too_late(letter, settings, now()):
            log.error("gave up telling", told=letter.id, error=letter.last_error)
            outbox.remove(letter)
            continue
        # Further ahead than any wait is what a clock wrote that was set back since.
        if letter.next_try is not None and (
            timedelta() < letter.next_try - now() <= timedelta(seconds=LONGEST_WAIT)
        ):
            return letter.next_try
        left = _attempt(letter, outbox, settings, now)
        if left is not None:  # what happened later is not told before it
            return left.next_try
    return None


def _attempt(
    letter: Letter, outbox: Outbox, settings: NotifySettings, now: Callable[[], datetime]
) -> Letter | None:
    """Bring a letter to all who do not have it yet; return what is left of it."""
    errors = []
    for name in letter.to:
        try:
            _bring(name, letter, settings)
        except UndeliveredError as error:
            errors.append((name, str(error)))
            log.warning("not told", told=letter.id, to=name, error=str(error))
        else:
            log.info("told", told=letter.id, to=name)
    if not errors:
        outbox.remove(letter)
        return None
    wait = min(FIRST_WAIT * 2 ** min(letter.attempts, 20), LONGEST_WAIT)
    return outbox.replace(
        letter,
        to=tuple(name for name, _ in errors),
        attempts=letter.attempts + 1,
        last_error="; ".join(f"{name}: {said}" for name, said in errors),
        next_try=now() + timedelta(seconds=wait),
    )


def _is_too_late(letter: Letter, settings: NotifySettings, now: datetime) -> bool:
    at = read_time(letter.change.get("at"))
    return at is None or now - at > timedelta(hours=settings.give_up_after)


def _bring(name: str, letter: Letter, settings: NotifySettings) -> None:
    """Make one attempt; a way that is no longer configured wants nothing. Raises it undelivered."""
    if name == "webhook" and settings.url is not None:
        post(settings, letter.change)
    elif name == "command" and settings.command:
        run_command(settings, letter.change)


def post(settings: NotifySettings, change: dict[str, Any]) -> None:
    """Post a change of state to the webhook. Raises UndeliveredError unless it answers 2xx."""
    body = json.dumps(change, sort_keys=True).encode()
    try:
        headers = {**headers_for(change), **_signature(settings, body)}
        # Streamed: only the status of the answer is of interest, however long it is.
        with (
            deadline(settings.timeout),
            requests.post(
                str(settings.url),
                data=body,
                headers=headers,
                timeout=settings.timeout,
                allow_redirects=False,  # a redirected POST becomes a GET: it would be lost
                stream=True,
                verify=str(settings.ca_bundle) if settings.ca_bundle else True,
            ) as answer,
        ):
            status = answer.status_code
    except (OSError, ValueError) as error:  # requests' own errors are OSErrors
        said = _without_path(f"{type(error).__name__}: {error}", settings)
        raise UndeliveredError(said) from error
    if not 200 <= status < 300:
        raise UndeliveredError(f"the receiver answered {status}")


def _without_path(said: str, settings: NotifySettings) -> str:
    """Take the webhook's path out of a message: who knows it can often write to the webhook."""
    parts = urlsplit(str(settings.url))
    for secret in (parts.query, parts.path):
        if len(secret) > 1:
            said = said.replace(secret, MASK)
    return redacted(said)


def _why(error: Exception) -> str:
    """Say what kept a request from being answered, without the address that requests repeats."""
    cause = error.args[0] if error.args else error
    reason = getattr(cause, "reason", None) or error
    return f"{type(error).__name__}: {reason}"


def send_test(settings: NotifySettings) -> dict[str, str | None]:
    """Send a test to everybody who is to be told; say of each what went wrong, None if nothing."""
    now = datetime.now(UTC)
    change = {
        "id": f"{socket.gethostname()}/test/{int(now.timestamp())}",
        "event": "test",
        "at": now.isoformat(timespec="seconds"),
        "target": None,
        "host": socket.gethostname(),
        "summary": "a test of [notify]: nothing has changed",
        "retrofit_version": __version__,
    }
    ways = {
        "webhook": post if settings.url else None,
        "command": run_command if settings.command else None,
    }
    tried: dict[str, str | None] = {}
    for name, send in ways.items():
        if send is None:
            continue
        try:
            send(settings, change)
        except UndeliveredError as error:
            tried[name] = str(error)
        else:
            tried[name] = None
    return tried


def headers_for(change: dict[str, Any]) -> dict[str, str]:
    """Return the headers that tell of a change without looking into it."""
    return {
        "Content-Type": "application/json",
        "User-Agent": f"retrofit/{__version__}",
        "Idempotency-Key": str(change["id"]),
        "X-Retrofit-Event": str(change["event"]),
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


def run_command(settings: NotifySettings, change: dict[str, Any]) -> None:
    """Hand a change of state to the command. Raises UndeliveredError unless it exits with 0."""
    body = json.dumps(change, sort_keys=True).encode() + b"\n"
    try:
        process.run(settings.command, timeout=settings.timeout, stdin=body)
    except process.CommandError as error:
        raise UndeliveredError(error.message) from error
