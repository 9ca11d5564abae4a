"""Credentials masked in all output: messages, logs, reports, status documents.

Two ways, one behind the other. What the configuration and the environment hold as a credential is
remembered and masked wherever it appears, in whatever form a program prints it. And the credentials
of an address are masked by their place in it, whosever the address is.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote

MASK = "***"
# In addresses: the part before the host (RFC 3986, 3.2.1), and the values of such parameters.
# A password may hold an unescaped `@`: the last one before the path ends it.
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30}://)[^\s/?#'\"<>]*@")
_PARAMETER = re.compile(
    r"(?P<name>[?&;](?:password|passwd|secret|token|api[_-]?key|access[_-]?key|signature)=)"
    r"[^\s&;#'\"<>]+",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase|code)?|pwd|secret|token|cred|auth|api_?key|(^|_)key(_|$)|private|bearer"
    r"|cookie|login|signature|(^|_)pin(_|$)",
    re.IGNORECASE,
)
_SWITCH = re.compile(r"[0-9]{1,4}|true|false|yes|no|on|off|", re.IGNORECASE)
SHORTEST = 6
"""Characters of a credential that is masked wherever it appears: shorter ones are in every text."""
LONG = 8
_WORD = re.compile(r"[A-Za-z._-]{1,19}")
"""A password like `octavia` is masked in its place alone: the word has other meanings."""

_known: dict[str, None] = {}
_pattern: re.Pattern[str] | None = None
_changing = threading.Lock()


def remember(credentials: Iterable[str]) -> None:
    """Mask these from now on, in every form in which programs print them."""
    global _pattern  # noqa: PLW0603  (one process has one set of credentials)
    forms = {
        form
        for credential in credentials
        for form in _forms(credential)
        if len(form) >= SHORTEST and not _WORD.fullmatch(form)
    }
    with _changing:
        if forms <= _known.keys():
            return
        _known.update(dict.fromkeys(sorted(forms)))
        longest_first = sorted(_known, key=len, reverse=True)
        _pattern = re.compile("|".join(map(_bounded, longest_first)))


def _forms(credential: str) -> Iterator[str]:
    """Yield a credential as addresses, JSON, Python, HTML, shells and HTTP headers show it."""
    plain = unquote(credential)
    for each in dict.fromkeys((credential, plain)):
        yield each
        yield from (quote(each, safe="", errors="replace"), quote(each, errors="replace"))
        yield from (
            quote_plus(each, errors="replace"),
            quote(quote(each, safe="", errors="replace")),
        )
        yield quote(quote_plus(each, errors="replace"))
        # Within a word that a shell, or its trace, puts into single quotes.
        yield from (each.replace("'", "'\"'\"'"), each.replace("'", "'\\''"))
        yield from (json.dumps(each)[1:-1], json.dumps(each, ensure_ascii=False)[1:-1])
        yield from (repr(each)[1:-1], ascii(each)[1:-1], repr(each.encode(errors="replace"))[2:-1])
        yield from (html.escape(each), html.escape(each, quote=False))
        yield from (shlex.quote(each), re.sub(r"([^A-Za-z0-9_])", r"\\\1", each))
        yield base64.b64encode(each.encode(errors="replace")).decode().rstrip("=")
        # What prints lines, or words, prints its parts.
        yield from each.splitlines()


def _bounded(form: str) -> str:
    """Return a pattern; what is short, or a number, is no part of a longer word or number."""
    if len(form) >= LONG and not form.isdecimal():
        return re.escape(form)
    return rf"(?<![A-Za-z0-9]){re.escape(form)}(?![A-Za-z0-9])"


def redacted(text: str) -> str:
    """Return the text with known credentials, and those of all addresses in it, masked."""
    if _pattern is not None:
        text = _pattern.sub(MASK, text)
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


def is_secret_name(name: str) -> bool:
    """Return True for the name of a variable or key that suggests a secret (`DIB_REPO_AUTH`)."""
    return bool(_SECRET_NAME.search(name))


def redacted_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return variables with their values masked, but for switches and small numbers.

    No name or shape tells which of an operator's own variables is a secret.
    """
    return {
        name: value if _SWITCH.fullmatch(value) and not is_secret_name(name) else MASK
        for name, value in variables.items()
    }


def redact_event(_logger: Any, _method: str, event: Any) -> Any:
    """Mask credentials in an event: a processor of structlog."""
    return redacted_document(event)
