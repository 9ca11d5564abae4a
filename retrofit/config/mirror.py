"""Settings of `[mirror]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from retrofit.config.addresses import Address
from retrofit.config.files import TrustedFile
from retrofit.config.numbers import DAY_SECONDS, Flag, Within
from retrofit.config.section import Section, Word

UBUNTU_KEYRING = Path("/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg")
"""Key that signs Ubuntu's cloud images, from Ubuntu's package ubuntu-keyring."""


Url = Annotated[
    Word,
    Address(
        schemes=("http", "https", "file"),
        userinfo="put credentials into ~/.netrc, not into the URL",
        query=False,
    ),
]
Proxy = Annotated[
    Word,
    Address(
        userinfo="put credentials into the environment (https_proxy), not into the URL",
        query=False,
        path=False,
        example="http://proxy.example.com:3128",
    ),
]


class MirrorSettings(Section):
    """The simplestreams mirror that source images come from or are compared with."""

    url: Url | None = Field(
        None, description="URL of the simplestreams mirror: http, https or file."
    )
    keyring: TrustedFile | None = Field(
        None,
        description="File with the public keys of which one must have signed the mirror's"
        " index. Unset: Ubuntu's cloud image key, where the system has it.",
    )
    allow_unsigned: Flag = Field(
        False,
        description="Accept an index without a signature. A wrong signature is always refused.",
    )
    ca_bundle: TrustedFile | None = Field(
        None, description="File with the CA certificates for https, instead of the system's."
    )
    proxy: Proxy | None = Field(
        None,
        description="URL of the proxy for the mirror. Unset: `https_proxy` and `http_proxy` of"
        " the environment.",
    )
    timeout: Annotated[int, Within(1, DAY_SECONDS)] = Field(
        60, description="Seconds without progress after which a transfer counts as stalled."
    )
    retries: Annotated[int, Within(0, 20)] = Field(
        4,
        description="Number of retries in a row when the connection or the mirror fails.",
    )
    cache_size: Annotated[int, Within(0, 1 << 20)] = Field(
        5, description="Size in GiB of the downloaded source images kept under `paths.cache`."
    )

    @property
    def effective_keyring(self) -> Path | None:
        """Return the keyring to check signatures with, or None where there is none."""
        if self.keyring is not None:
            return self.keyring
        return UBUNTU_KEYRING if UBUNTU_KEYRING.is_file() else None
