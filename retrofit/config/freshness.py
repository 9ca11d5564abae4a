"""Settings of `[freshness]`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from retrofit.config.numbers import CENTURY_HOURS, Flag, Within
from retrofit.config.section import Section, Word


def _a_source_of_records(value: str) -> str:
    """Refuse addresses other than of http and https: what is there is read by root."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", value) is None:
        if not Path(value).is_absolute():
            raise ValueError("neither an absolute path nor an address")
    elif re.match(r"https?://[^\s/]", value) is None:
        raise ValueError("no address of http or https")
    return value


class FreshnessSettings(Section):
    """Whether newer packages in the archive are a reason to build."""

    check: Flag = Field(
        True,
        description="Ask the package archive in each run what is newer than in the promoted image.",
    )
    build_for: Literal["security", "any", "never"] = Field(
        "security",
        description="Newer packages that are a reason to build: security fixes, all that a build"
        " would upgrade, or none.",
    )
    at_most_every: Annotated[int, Within(0, CENTURY_HOURS)] = Field(
        7 * 24,
        description="Hours that an image stands before newer packages without a security fix are a"
        " reason to build.",
    )
    gather: Annotated[int, Within(0, CENTURY_HOURS)] = Field(
        24,
        description="Hours to wait, once a newer package without a security fix was seen, for"
        " others to come.",
    )
    advisories: tuple[Annotated[Word, AfterValidator(_a_source_of_records)], ...] = Field(
        (),
        description="Where records of known vulnerabilities are, in the form of OSV: files or"
        " directories (absolute paths) and URLs, of JSON or zip files. With them, updates have CVE"
        " ids before they are built, and whatever fixes one is a security fix.",
    )
