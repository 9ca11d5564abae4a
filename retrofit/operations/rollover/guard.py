"""Ask the operator's own guard whether anything speaks against a failover now."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import requests

from retrofit.config.rollover import GuardSettings
from retrofit.system import process
from retrofit.system.deadline import deadline
from retrofit.system.environment import minimal_environment
from retrofit.system.tied import tied

QUERY = 'ALERTS{alertstate="firing"}'
NAMED = 3
"""Alerts that a reason names; the others are counted."""


def ask_guard(settings: GuardSettings, about: Mapping[str, str]) -> str | None:
    """Return why not to fail over now; None where all is quiet. No answer is a reason.

    `about` are variables of the command's environment, which has nothing else of ours: it gets no
    password of the cloud.
    """
    if settings.command and (reason := _ask_command(settings, about)) is not None:
        return reason
    return None if settings.prometheus is None else _ask_prometheus(settings, settings.prometheus)


def _ask_command(settings: GuardSettings, about: Mapping[str, str]) -> str | None:
    try:
        process.run(
            tied(*settings.command, by="TERM"),
            timeout=settings.timeout,
            env={**minimal_environment(), **about},
        )
    except process.CommandError as error:
        lines = error.stderr.strip().splitlines()
        return f"rollover.guard.command: {lines[-1] if lines else error.message}"
    return None


def _ask_prometheus(settings: GuardSettings, address: str) -> str | None:
    """Return the alerts that fire, as Prometheus's own series ALERTS has them."""
    url = f"{address.rstrip('/')}/api/v1/query"
    try:
        # The timeout of a socket starts again with each byte.
        with deadline(settings.timeout):
            response = requests.get(
                url, params={"query": QUERY}, timeout=settings.timeout, allow_redirects=False
            )
        response.raise_for_status()
        firing = _alerts(response.json())
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        return f"rollover.guard.prometheus {address} cannot be asked ({type(error).__name__})"
    names = sorted({name for name in firing if re.fullmatch(settings.alerts, name)})
    if not names:
        return None
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    word = "alert fires" if len(names) == 1 else "alerts fire"
    return f"{word}: {', '.join(names[:NAMED])}{more} (rollover.guard.alerts)"


def _alerts(answer: Any) -> list[str]:
    if answer["status"] != "success":
        raise ValueError(answer.get("error"))
    return [str(each["metric"]["alertname"]) for each in answer["data"]["result"]]
