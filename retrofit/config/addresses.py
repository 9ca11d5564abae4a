"""Addresses as an operator writes them, taken apart once, at reading: host, port, credentials.

A password with `/`, `?` or `#` ends the host in the middle of it: an address like that leads to
another host, and no masking finds the password. Such characters are written as %2F, %3F and %23.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

HTTP = ("http", "https")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?")
ESCAPE = "in a user or password write / as %2F, ? as %3F, # as %23, @ as %40 and : as %3A"


@dataclass(frozen=True)
class Address:
    """A URL of one of `schemes`, with a host and without what would be read as something else.

    `userinfo` is what to do with credentials where the URL may hold none; empty where it may.
    `query` and `path` are whether it may have these.
    """

    schemes: Collection[str] = HTTP
    userinfo: str = ""
    query: bool = True
    path: bool = True
    example: str = "https://mirror.example.com/path"

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check what pydantic has found to be a string."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def check(self, text: str) -> str:
        """Return the address as it is. Raises ValueError; the message never quotes it."""
        parts = parsed(text, example=self.example)
        if parts.scheme not in self.schemes:
            begins = " or ".join(f"{scheme}://" for scheme in self.schemes)
            raise ValueError(f"expected a URL that begins with {begins}, such as {self.example}")
        if parts.scheme == "file":
            if parts.netloc or not parts.path.startswith("/"):
                raise ValueError(
                    "expected file:// and an absolute path, such as file:///srv/mirror"
                )
        else:
            require_host(parts)
        if self.userinfo and "@" in parts.netloc:
            raise ValueError(self.userinfo)
        if not self.path and parts.path not in {"", "/"}:
            raise ValueError(f"expected a URL that ends after its host and port, as {self.example}")
        if parts.fragment or "#" in text or (not self.query and "?" in text):
            raise ValueError("expected a URL without " + ("#" if self.query else "? and #"))
        return text


def parsed(text: str, *, example: str) -> SplitResult:
    """Return the parts of a URL that nothing can read in two ways. Raises ValueError."""
    if any(not char.isprintable() or char.isspace() or char in '\\"<>^`{}' for char in text):
        raise ValueError("a URL has no blanks, quotes, backslashes and control characters")
    if "://" not in text:
        raise ValueError(f"expected a URL with its scheme, such as {example}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        wrong = "port" if "port" in str(error).lower() else "host"
        raise ValueError(f"the URL's {wrong} cannot be read: {ESCAPE}") from None
    if port == 0:
        raise ValueError("the URL's port is 0, expected 1 to 65535")
    if "@" in parts.path + parts.query + parts.fragment:
        raise ValueError(f"the URL has @ after its host: {ESCAPE}")
    if parts.netloc.count("@") > 1:
        raise ValueError(f"the URL has more than one @ before its host: {ESCAPE}")
    return parts


def require_host(parts: SplitResult) -> None:
    """Raise ValueError for a URL without a host that can be connected to."""
    host = parts.hostname
    if not host:
        raise ValueError("the URL has no host")
    if ":" in host:
        return  # IPv6 in brackets, which urlsplit has parsed
    try:
        ascii_host = host.encode("ascii").decode()
    except UnicodeEncodeError:
        try:
            ascii_host = host.encode("idna").decode()
        except UnicodeError:
            ascii_host = ""
    if not _HOST.fullmatch(ascii_host) or ".." in ascii_host:
        raise ValueError(f"the URL's host cannot be connected to: {ESCAPE}")
    if parts.netloc.endswith(":"):
        raise ValueError("the URL ends its host with : and has no port")
