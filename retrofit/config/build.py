"""Settings of `[build]`."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from retrofit.config.addresses import Address
from retrofit.config.files import ElementDirectory, TrustedFile
from retrofit.config.numbers import CENTURY_DAYS, DAY_SECONDS, Flag, Period, Within
from retrofit.config.section import Section, Word

OWN_VARIABLES = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "LANG", "TERM", "TMPDIR", "TMP_DIR", "ELEMENTS_PATH",
        "DISTRO_NAME", "DEBIAN_FRONTEND", "DIB_RELEASE", "DIB_LOCKFILES", "DIB_PYTHON_EXEC",
        "DIB_IMAGE_CACHE", "DIB_APT_LOCAL_CACHE", "DIB_DISABLE_APT_CLEANUP", "DIB_MIN_TMPFS",
        "DIB_NO_TMPFS", "DIB_DISTRIBUTION_MIRROR", "DIB_BLOCK_DEVICE_CONFIG",
    }
)  # fmt: skip
"""Variables of a build that retrofit sets, from a setting or by itself."""


def _a_free_variable(name: str) -> str:
    """Refuse a variable that retrofit sets itself: it would override the value silently."""
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        raise ValueError(f"{name!r} is not the name of an environment variable")
    if name.startswith(("DIB_STOCK_", "DIB_AMPHORA_")) or name in OWN_VARIABLES:
        raise ValueError(f"{name} is set by retrofit; use its setting instead")
    return name


def _a_variables_value(value: str) -> str:
    if "\0" in value:
        raise ValueError("has a null character, which no variable can hold")
    return value


def _as_word(value: object) -> object:
    """Read what the setting took before there were words for it: a boolean in any spelling."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return "packages" if TypeAdapter(bool).validate_python(value) else "none"
    except ValidationError:
        return value


Upgrade = Annotated[Literal["packages", "all", "none"], BeforeValidator(_as_word)]
Variable = Annotated[str, AfterValidator(_a_free_variable)]
VariableValue = Annotated[str, AfterValidator(_a_variables_value)]
ElementName = Annotated[Word, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$")]
PackageName = Annotated[Word, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9+.:~=/*_-]*$")]
Mirror = Annotated[Word, Address(query=False, example="http://archive.example.com/ubuntu")]
Index = Annotated[Word, Address(query=False, example="https://pypi.example.com/simple")]
Proxy = Annotated[Word, Address(query=False, path=False, example="http://proxy.example.com:3128")]
VersionNumber = Annotated[
    Word, StringConstraints(pattern=r"^[0-9]{1,9}([.!+-][A-Za-z0-9*]|[A-Za-z0-9])*$")
]
YEAR_MINUTES = 366 * 24 * 60


class BuildSettings(Section):
    """What goes into an amphora image, and how it is built."""

    agent: Literal["distro", "pypi"] = Field(
        "distro", description="Origin of the amphora agent: the distribution's packages, or PyPI."
    )
    agent_version: VersionNumber | None = Field(
        None, description="Version of octavia to install from PyPI. Unset: the newest."
    )
    agent_constraints: TrustedFile | None = Field(
        None,
        description="pip constraints file for the agent's virtual environment; used with `pypi`.",
    )
    cloud_archive: Word | None = Field(
        None, description="Pocket of the Ubuntu Cloud Archive to enable, such as `caracal`."
    )
    cloud_archive_mirror: Mirror | None = Field(
        None, description="URL to use instead of the Ubuntu Cloud Archive."
    )
    cloud_archive_key: TrustedFile | None = Field(
        None,
        description="File with the public key that signs `cloud_archive_mirror`, binary or ASCII."
        " Unset: Ubuntu's key of the Cloud Archive.",
    )
    ppas: tuple[Word, ...] = Field((), description="PPAs to enable, such as `ppa:team/name`.")
    packages: tuple[PackageName, ...] = Field((), description="Further packages to install.")
    elements: tuple[ElementName, ...] = Field(
        (), description="Further diskimage-builder elements to use."
    )
    element_paths: tuple[ElementDirectory, ...] = Field(
        (), description="Directories that hold further elements."
    )
    environment: dict[Variable, VariableValue] = Field(
        default_factory=dict,
        description="Environment variables for further elements, such as `DIB_FOO`.",
    )
    upgrade: Upgrade = Field(
        "packages",
        description="Upgrade the packages of the source image: `packages` are all but kernel and"
        " boot loader, `all` includes the kernel, `none` leaves them as they are. `true` and"
        " `false` are read as `packages` and `none`.",
    )
    ssh: Literal["rebind", "remove"] = Field(
        "rebind",
        description="Bind sshd to the management address only (`rebind`), or remove it.",
    )
    format: Literal["qcow2", "raw"] = Field(
        "qcow2", description="Disk format of the published image."
    )
    compression: Literal["zstd", "zlib"] = Field("zstd", description="Compression of qcow2 images.")
    free_space: Annotated[int, Within(64, 1 << 20)] = Field(
        512, description="Space in MiB to leave free on the image's root filesystem."
    )
    max_disk: Annotated[int, Within(1, 1 << 14)] | None = Field(
        None,
        description="Disk size in GiB of the amphora flavor, which the image must fit into."
        " Unset: no limit.",
    )
    timeout: Annotated[int, Within(60, 7 * DAY_SECONDS)] = Field(
        3600, description="Seconds after which a build is stopped."
    )
    tmpfs: Flag = Field(True, description="Build in memory where there is enough of it.")
    archive_mirror: Mirror | None = Field(
        None, description="URL of the package archive to use during the build."
    )
    security_mirror: Mirror | None = Field(
        None, description="URL of the security archive to use during the build."
    )
    apt_sources: TrustedFile | None = Field(
        None,
        description="apt sources file (one-line or deb822 style) to use during the build only.",
    )
    ca_bundle: TrustedFile | None = Field(
        None,
        description="File with CA certificates to trust during the build, besides the image's own.",
    )
    http_proxy: Proxy | None = Field(None, description="Proxy for http during the build.")
    https_proxy: Proxy | None = Field(None, description="Proxy for https during the build.")
    no_proxy: Word | None = Field(
        None, description="Comma-separated hosts to reach without the proxy during the build."
    )
    python_index: Index | None = Field(
        None, description="URL of the package index for the agent's virtual environment."
    )
    max_age: Annotated[Period, Within(1, CENTURY_DAYS, never=True)] | None = Field(
        None,
        description="Age in days at which an image is rebuilt even if source and recipe are"
        " unchanged, to bring in newer packages. Unset, or `never`: not for its age alone.",
    )
    retry_after: Annotated[int, Within(1, YEAR_MINUTES)] = Field(
        15,
        description="Minutes before a failed build is retried. Doubles with each failure of the"
        " same source and recipe.",
    )
    retry_max: Annotated[int, Within(1, YEAR_MINUTES)] = Field(
        24 * 60,
        description="Longest wait in minutes between two attempts of a build that keeps failing.",
    )
