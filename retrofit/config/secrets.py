"""Which settings hold credentials: their values are in no message, and masked in all output."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from retrofit.redaction import MASK, is_secret_name, redacted_document, redacted_variables

ADDRESSES = (
    ("lock", "url"),
    ("mirror", "url"),
    ("mirror", "proxy"),
    ("build", "archive_mirror"),
    ("build", "security_mirror"),
    ("build", "cloud_archive_mirror"),
    ("build", "python_index"),
    ("build", "http_proxy"),
    ("build", "https_proxy"),
    ("build", "ppas"),
    ("freshness", "advisories"),
)
"""Settings whose addresses may hold a user, a password or a token."""
WEBHOOK = ("notify", "url")
"""Who knows this address can often write to the webhook: all after the host is its secret."""
VARIABLES = ("build", "environment")
PROPERTIES = ("publish", "properties")
"""Properties of images are there to be read, but for one whose name says that it is a secret."""
_SECRET_PROPERTY = re.compile(
    r"(?<![a-z0-9])(pass(word|wd|phrase)?|secret|token|auth|credentials?|api_?key|private_?key)"
    r"(?![a-z0-9])",
    re.IGNORECASE,
)
"""Whole words: `author` is no secret, nor is the method of a signature."""
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")
"""Variables of the environment, in either case, with the address of a proxy."""


def is_secret(keys: Sequence[str]) -> bool:
    """Return True if the value of the setting at `keys` must not be repeated."""
    if tuple(keys[:2]) == PROPERTIES:
        return any(_SECRET_PROPERTY.search(name) for name in keys[2:])
    return tuple(keys[:2]) in {*ADDRESSES, WEBHOOK, VARIABLES}


def credentials_in(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield the credentials of a configuration as it is written, valid or not."""
    tables = content.get("target")
    targets = tables.values() if isinstance(tables, Mapping) else ()
    for sections in (content, *targets):
        if not isinstance(sections, Mapping):
            continue
        for section, key in ADDRESSES:
            yield from _of_addresses(_at(sections, section, key))
        webhook = _at(sections, *WEBHOOK)
        if isinstance(webhook, str):
            yield from _of_webhook(webhook)
        for table, is_secret_one in (
            (_at(sections, *VARIABLES), is_secret_name),
            (_at(sections, *PROPERTIES), _SECRET_PROPERTY.search),
        ):
            for name, value in table.items() if isinstance(table, Mapping) else ():
                if isinstance(value, str) and is_secret_one(str(name)):
                    yield value
                elif isinstance(value, str):
                    yield from credentials_of_address(value)


def is_cloud_secret(name: str) -> bool:
    """Return True for a variable or key of a cloud's credentials that is secret itself."""
    return bool(re.search(r"pass(word|code)|secret|token$", name, re.IGNORECASE))


def credentials_of_environment(environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Yield the credentials of the proxies, and of the cloud, that the environment names."""
    for name, value in environment.items():
        if name.lower() in PROXIES:
            yield from credentials_of_address(value, bare=True)
        elif name.startswith("OS_") and is_cloud_secret(name):
            yield value


def credentials_of_address(text: str, *, bare: bool = False) -> Iterator[str]:
    """Yield user and password, the password, and what parameters with such names hold.

    A password may have every character of an address, unescaped: all before the last @ counts.
    With `bare` the text is an address without its scheme, too.
    """
    scheme, delimiter, rest = text.partition("://")
    if not delimiter or not re.fullmatch(r"\s*[A-Za-z][A-Za-z0-9+.-]*", scheme):
        if not bare:
            return
        rest = text
    userinfo, at, _ = rest.rpartition("@")
    if at:
        yield userinfo
        user, colon, password = userinfo.partition(":")
        yield password if colon else user
        # What reads the address differently repeats a part of it, as a host or a port.
        yield from re.split(r"[/?#@:]", password if colon else user)
    for name, value in parse_qsl(rest.partition("?")[2].partition("#")[0]):
        if is_secret_name(name):
            yield value


def masked(document: dict[str, Any]) -> dict[str, Any]:
    """Return the settings as JSON types with their credentials masked."""
    shown: dict[str, Any] = redacted_document(document)
    for sections in (shown, *shown.get("targets", ())):
        for section, key in ADDRESSES:
            value = _at(sections, section, key)
            if isinstance(value, str):
                sections[section][key] = _masked_address(value)
            elif isinstance(value, list):
                sections[section][key] = [_masked_address(each) for each in value]
        variables = _at(sections, *VARIABLES)
        if isinstance(variables, Mapping):
            sections["build"]["environment"] = redacted_variables(variables)
        properties = _at(sections, *PROPERTIES)
        if isinstance(properties, Mapping):
            sections["publish"]["properties"] = {
                name: MASK if _SECRET_PROPERTY.search(name) else value
                for name, value in properties.items()
            }
    webhook = _at(shown, *WEBHOOK)
    if isinstance(webhook, str):
        scheme, _, rest = webhook.partition("://")
        shown["notify"]["url"] = f"{scheme}://{rest.partition('/')[0].partition('?')[0]}/{MASK}"
    return shown


def _masked_address(address: str) -> str:
    """Mask user and password, and every parameter: the setting is one with credentials."""
    before, query, parameters = address.partition("?")
    scheme, delimiter, rest = before.partition("://")
    _, at, place = rest.rpartition("@")
    shown = f"{scheme}{delimiter}{MASK}@{place}" if at else before
    if not query:
        return shown
    named = (each.partition("=") for each in parameters.split("&"))
    return f"{shown}?" + "&".join(
        f"{name}={MASK if is_secret_name(name) else value}" for name, _, value in named
    )


def _of_addresses(value: Any) -> Iterable[str]:
    """Yield the credentials of addresses; an absolute path, as among advisories, has none."""
    if isinstance(value, str) and not value.lstrip().startswith("/"):
        yield from credentials_of_address(value, bare=True)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _of_addresses(each)


def _of_webhook(address: str) -> Iterator[str]:
    yield from credentials_of_address(address, bare=True)
    rest = address.partition("://")[2].partition("/")[2]
    path, _, query = rest.partition("?")
    if len(path) > 1:
        yield f"/{path}"
        # A token is the last part of the path, as messages of libraries show it.
        yield path.rstrip("/").rpartition("/")[2]
    if query:
        yield query


def _at(sections: Mapping[str, Any], section: str, key: str) -> Any:
    table = sections.get(section)
    return table.get(key) if isinstance(table, Mapping) else None
