"""What every section of the configuration is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from retrofit.model import DEBIAN_ARCHITECTURES, SERIES_RELEASES


def _a_file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    return path


def _a_directory(path: Path) -> Path:
    if not path.is_dir():
        raise ValueError(f"{path} is not a directory")
    return path


def _a_series(name: str) -> str:
    if name not in SERIES_RELEASES:
        raise ValueError(f"unknown series {name!r}; known are {', '.join(SERIES_RELEASES)}")
    return name


def _an_architecture(name: str) -> str:
    if name not in DEBIAN_ARCHITECTURES:
        known = ", ".join(DEBIAN_ARCHITECTURES)
        raise ValueError(f"unknown architecture {name!r}; Glance's names are {known}")
    return name


Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
File = Annotated[Path, AfterValidator(_a_file)]
Directory = Annotated[Path, AfterValidator(_a_directory)]
Series = Annotated[Word, AfterValidator(_a_series)]
Architecture = Annotated[Word, AfterValidator(_an_architecture)]
# A name that becomes part of file names, lock names and image properties.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class Section(BaseModel):
    """A table of the configuration file: unknown keys are refused, values are read-only."""

    model_config = ConfigDict(extra="forbid", frozen=True)
