"""Credentials taken out of what is told: messages, logs, reports, answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
# In addresses: what stands before the host (RFC 3986, 3.2.1), and what parameters of that name say.
# A password may hold an unescaped `@`: the last one before the path ends it.
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30}://)[^\s/?#'\"<>]*@")
_PARAMETER = re.compile(
    r"(?P<name>[?&;](?:password|passwd|secret|token|api[_-]?key|access[_-]?key|signature)=)"
    r"[^\s&;#'\"<>]+",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(r"pass(word|wd|phrase)?|secret|token|credential|api_?key", re.IGNORECASE)


def redacted(text: str) -> str:
    """Mask the credentials in every address that a text has."""
    if "://" not in text:
        return text
    return _PARAMETER.sub(rf"\g<name>{MASK}", _USERINFO.sub(rf"\g<scheme>{MASK}@", text))


def redacted_document(document: Any) -> Any:
    """Return a document of JSON types with the credentials in its strings masked."""
    if isinstance(document, str):
        return redacted(document)
    if isinstance(document, Mapping):
        return {key: redacted_document(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [redacted_document(value) for value in document]
    return document


def redacted_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Mask the values of variables that are secrets by their names, such as `DIB_DEV_PASSWORD`."""
    return {
        name: MASK if _SECRET_NAME.search(name) else redacted(value)
        for name, value in variables.items()
    }


def redact_event(_logger: Any, _method: str, event: Any) -> Any:
    """Mask what an event tells: a processor of structlog."""
    return redacted_document(event)
