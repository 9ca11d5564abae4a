"""The base of every section of the configuration, and types that several share."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from retrofit.config.addresses import Address
from retrofit.model import DEBIAN_ARCHITECTURES, SERIES_RELEASES


def _printable(text: str) -> str:
    if any(not char.isprintable() for char in text):
        raise ValueError("has a control character, such as a line break")
    return text


def _a_series(name: str) -> str:
    if name not in SERIES_RELEASES:
        raise ValueError(f"unknown series {name!r}; known are {', '.join(SERIES_RELEASES)}")
    return name


def _an_architecture(name: str) -> str:
    if name not in DEBIAN_ARCHITECTURES:
        known = ", ".join(DEBIAN_ARCHITECTURES)
        raise ValueError(f"unknown architecture {name!r}; Glance's names are {known}")
    return name


Word = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1),
    AfterValidator(_printable),
]
WebAddress = Annotated[
    Word,
    Address(
        userinfo="put credentials into ~/.netrc, not into the URL",
        example="https://alerts.example.com/retrofit",
    ),
]
Series = Annotated[Word, AfterValidator(_a_series)]
Architecture = Annotated[Word, AfterValidator(_an_architecture)]
# A name that becomes part of file names, lock names and image properties.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class Section(BaseModel):
    """A table of the configuration file: unknown keys are refused, values are read-only."""

    model_config = ConfigDict(extra="forbid", frozen=True)
