"""Settings of `[build]`."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from retrofit.config.section import Directory, File, Section, Word

OWN_VARIABLES = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "LANG", "TERM", "TMPDIR", "TMP_DIR", "ELEMENTS_PATH",
        "DISTRO_NAME", "DEBIAN_FRONTEND", "DIB_RELEASE", "DIB_LOCKFILES", "DIB_PYTHON_EXEC",
        "DIB_IMAGE_CACHE", "DIB_APT_LOCAL_CACHE", "DIB_DISABLE_APT_CLEANUP", "DIB_MIN_TMPFS",
        "DIB_NO_TMPFS", "DIB_DISTRIBUTION_MIRROR", "DIB_BLOCK_DEVICE_CONFIG",
    }
)  # fmt: skip
"""Variables of a build that a setting or the build itself decides."""


def _a_free_variable(name: str) -> str:
    """Refuse what retrofit sets itself: a value that is overridden in silence helps nobody."""
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        raise ValueError(f"{name!r} is not the name of an environment variable")
    if name.startswith(("DIB_STOCK_", "DIB_AMPHORA_")) or name in OWN_VARIABLES:
        raise ValueError(f"{name} is set by retrofit; use the setting that it stands for")
    return name


Variable = Annotated[str, AfterValidator(_a_free_variable)]


class BuildSettings(Section):
    """What goes into an amphora image and how it is made."""

    agent: Literal["distro", "pypi"] = Field(
        "distro", description="Take the agent from the distribution's packages or from PyPI."
    )
    agent_version: Word | None = Field(
        None, description="Version of octavia from PyPI; without it the newest."
    )
    agent_constraints: File | None = Field(
        None, description="Constraints file for the agent's virtual environment."
    )
    cloud_archive: Word | None = Field(
        None, description="Ubuntu Cloud Archive pocket, such as `caracal`."
    )
    cloud_archive_mirror: Word | None = Field(
        None, description="URL to use instead of the Ubuntu Cloud Archive."
    )
    ppas: tuple[Word, ...] = Field((), description="PPAs to enable, such as `ppa:team/name`.")
    packages: tuple[Word, ...] = Field((), description="Further packages to install.")
    elements: tuple[Word, ...] = Field((), description="Further diskimage-builder elements.")
    element_paths: tuple[Directory, ...] = Field((), description="Directories that hold them.")
    environment: dict[Variable, str] = Field(
        default_factory=dict,
        description="Environment variables for further elements, such as `DIB_FOO`.",
    )
    upgrade: bool = Field(
        True, description="Upgrade the source's packages (kernel and boot loader excepted)."
    )
    ssh: Literal["rebind", "remove"] = Field(
        "rebind",
        description="Keep sshd on the management address only, or remove it.",
    )
    format: Literal["qcow2", "raw"] = Field("qcow2", description="Disk format to publish.")
    compression: Literal["zstd", "zlib"] = Field("zstd", description="Compression of qcow2.")
    free_space: int = Field(
        512, ge=64, description="MiB that must be free on the image's root filesystem."
    )
    max_disk: int | None = Field(
        None, ge=1, description="GiB of the amphora flavor's disk, which the image must fit into."
    )
    timeout: int = Field(3600, ge=60, description="Seconds that a build may take.")
    tmpfs: bool = Field(True, description="Build in memory where there is enough of it.")
    archive_mirror: Word | None = Field(None, description="URL of the package archive.")
    security_mirror: Word | None = Field(None, description="URL of the security archive.")
    apt_sources: File | None = Field(
        None,
        description="An apt sources file (one-line or deb822) used during the build only.",
    )
    ca_bundle: File | None = Field(
        None, description="CA certificates trusted during the build, on top of the image's own."
    )
    http_proxy: Word | None = Field(None, description="Proxy for http during the build.")
    https_proxy: Word | None = Field(None, description="Proxy for https during the build.")
    no_proxy: Word | None = Field(None, description="Hosts reached without the proxy.")
    python_index: Word | None = Field(
        None, description="URL of the package index for the agent's virtual environment."
    )
    max_age: int | None = Field(
        None,
        ge=1,
        description="Days after which an image is built anew though nothing else asks for it:"
        " the packages inside age.",
    )
    retry_after: int = Field(
        15, ge=1, description="Minutes until a failed build is tried again; doubles each time."
    )
    retry_at_most: int = Field(
        24 * 60, ge=1, description="Minutes that a build which keeps failing waits at most."
    )
