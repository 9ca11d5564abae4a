"""Settings of `[mirror]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from retrofit.config.section import File, Section, Word

UBUNTU_KEYRING = Path("/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg")
"""Where Ubuntu's package ubuntu-keyring keeps the key that signs its cloud images."""


def _an_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https", "file"}:
        raise ValueError("expected an address that begins with http://, https:// or file://")
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise ValueError("expected file:// and an absolute path, such as file:///srv/mirror")
    if parts.scheme != "file" and not parts.hostname:
        raise ValueError("the address names no host")
    if parts.username or parts.password:
        raise ValueError("credentials belong into ~/.netrc, not into the address")
    if parts.query or parts.fragment or any(not char.isprintable() for char in text):
        raise ValueError("expected a plain address, without ? and #")
    return text


def _a_proxy(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("expected the address of a proxy, such as http://proxy.example.com:3128")
    if parts.username or parts.password:
        raise ValueError("credentials belong into the environment (https_proxy), not in here")
    return text


class MirrorSettings(Section):
    """The simplestreams mirror that sources come from or are compared with."""

    url: Annotated[Word, AfterValidator(_an_address)] | None = Field(
        None, description="Address of the simplestreams mirror: http, https or file."
    )
    keyring: File | None = Field(
        None,
        description="Public keys, one of which must have signed the mirror's index; without it"
        " Ubuntu's cloud image key where the system has that.",
    )
    allow_unsigned: bool = Field(
        False, description="Use a mirror whose index has no signature; a wrong one is refused."
    )
    ca_bundle: File | None = Field(
        None, description="CA certificates for https, instead of the system's."
    )
    proxy: Annotated[Word, AfterValidator(_a_proxy)] | None = Field(
        None, description="Proxy for the mirror; without it the environment's (`https_proxy`, ...)."
    )
    timeout: int = Field(
        60, ge=1, description="Seconds without any progress after which the mirror has stalled."
    )
    retries: int = Field(
        4, ge=0, le=20, description="Retries in a row when the connection or the mirror fails."
    )
    cache_size: int = Field(
        5, ge=0, description="GiB of downloaded sources that are kept under `paths.cache`."
    )

    @property
    def effective_keyring(self) -> Path | None:
        """Return the keyring to check signatures with, or None where there is none."""
        if self.keyring is not None:
            return self.keyring
        return UBUNTU_KEYRING if UBUNTU_KEYRING.is_file() else None
