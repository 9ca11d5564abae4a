"""Juju's side of an action: the four tools that are on PATH while an action runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from retrofit.errors import ConfigError
from retrofit.system import process

KEY = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
"""What action-set takes as a key; a period would nest (juju: runner/jujuc/action-set.go)."""
LONGEST_VALUE = 4000
"""Characters; results go to the controller's database, and long ones have a place in the logs."""
TOOL_TIMEOUT = 60.0
"""Seconds; each call is a request to the unit's agent."""


class NoActionError(ConfigError):
    """Juju's tools cannot be called, so Juju gets no result of the action."""


def parameters() -> dict[str, Any]:
    """Return the action's parameters, with the defaults that charmcraft.yaml gives them."""
    answer = json.loads(_call("action-get", "--format=json") or "null")
    return answer if isinstance(answer, dict) else {}


def log(message: str) -> None:
    """Send a progress message of the action to Juju."""
    # Without the dashes a message that begins with one would be read as an option.
    _call("action-log", "--", _short(message))


def set_results(results: Mapping[str, str]) -> None:
    """Set results of the action, all at once."""
    wrong = [key for key in results if KEY.fullmatch(key) is None]
    if wrong:
        raise ValueError(f"not keys of action results: {', '.join(wrong)}")
    if results:
        _call("action-set", *(f"{key}={_short(value)}" for key, value in results.items()))


def fail(message: str) -> None:
    """Have the action fail with a message."""
    _call("action-fail", "--", _short(message))


def _call(tool: str, *words: str) -> str:
    try:
        return process.run([tool, *words], timeout=TOOL_TIMEOUT).stdout
    except process.CommandError as error:
        raise NoActionError(
            f"Juju's action tools fail: {error.message}",
            hint="only Juju calls this program; on the command line use `retrofit`",
        ) from error


def _short(text: str) -> str:
    # No process can be given a zero byte.
    text = text.replace("\0", "")
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
