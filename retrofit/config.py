"""TOML file and environment -> validated Settings; every problem at once, each with its key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from retrofit.model import DEBIAN_ARCHITECTURES, SERIES_RELEASES

OWN_VARIABLES = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "LANG", "TERM", "TMPDIR", "TMP_DIR", "ELEMENTS_PATH",
        "DISTRO_NAME", "DEBIAN_FRONTEND", "DIB_RELEASE", "DIB_LOCKFILES", "DIB_PYTHON_EXEC",
        "DIB_IMAGE_CACHE", "DIB_APT_LOCAL_CACHE", "DIB_DISABLE_APT_CLEANUP", "DIB_MIN_TMPFS",
        "DIB_NO_TMPFS", "DIB_DISTRIBUTION_MIRROR", "DIB_BLOCK_DEVICE_CONFIG",
    }
)  # fmt: skip
"""Variables of a build that a setting or the build itself decides."""

OWN_PROPERTIES = frozenset(
    {
        "architecture", "amphora_agent_version", "haproxy_version", "kernel_version", "os_distro",
        "os_type", "os_version", "source_product_name", "source_version_name",
        # With these the synchroniser would take the image for its own, and rotate it away.
        "content_id", "source_content_id", "product_name", "version_name", "item_name",
        "checksum", "container_format", "created_at", "disk_format", "file", "id", "locations",
        "min_disk", "min_ram", "name", "os_hash_algo", "os_hash_value", "os_hidden", "owner",
        "protected", "schema", "self", "size", "status", "stores", "tags", "updated_at",
        "virtual_size", "visibility",
    }
)  # fmt: skip
"""Image properties and attributes that are not the operator's to choose by `publish.properties`."""


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


def _a_free_variable(name: str) -> str:
    """Refuse what retrofit sets itself: a value that is overridden in silence helps nobody."""
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        raise ValueError(f"{name!r} is not the name of an environment variable")
    if name.startswith(("DIB_STOCK_", "DIB_AMPHORA_")) or name in OWN_VARIABLES:
        raise ValueError(f"{name} is set by retrofit; use the setting that it stands for")
    return name


def _a_free_property(name: str) -> str:
    if name in OWN_PROPERTIES or name.startswith("retrofit_"):
        raise ValueError(f"property {name} is set by retrofit or by Glance")
    return name


Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
File = Annotated[Path, AfterValidator(_a_file)]
Directory = Annotated[Path, AfterValidator(_a_directory)]
Series = Annotated[Word, AfterValidator(_a_series)]
Property = Annotated[Word, AfterValidator(_a_free_property)]
Variable = Annotated[str, AfterValidator(_a_free_variable)]
Architecture = Annotated[Word, AfterValidator(_an_architecture)]
# A name that becomes part of file names, lock names and image properties.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class Section(BaseModel):
    """A table of the configuration file: unknown keys are refused, values are read-only."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CloudSettings(Section):
    """Which cloud, and how to reach it."""

    name: Word | None = Field(
        None, description="Cloud in clouds.yaml; without it OS_CLOUD or the OS_* variables decide."
    )
    clouds_yaml: File | None = Field(
        None, description="A clouds.yaml to read instead of those in the usual places."
    )
    region: Word | None = Field(None, description="Region whose Glance is used.")
    interface: Literal["public", "internal", "admin"] | None = Field(
        None, description="Endpoint interface to use."
    )
    connect_retries: int = Field(3, ge=0, le=20, description="Retries of a failed connection.")
    timeout: int = Field(120, ge=1, description="Seconds without an answer before a request fails.")


class SourceSettings(Section):
    """Which stock image a build starts from."""

    series: tuple[Series, ...] = Field(
        ("noble", "jammy"),
        min_length=1,
        description="Ubuntu series that may be used, the preferred one first.",
    )
    architecture: Architecture = Field("x86_64", description="Architecture as Glance names it.")
    stream: Literal["released", "daily"] | None = Field(
        None, description="Only this stream; without it the newest version of any."
    )
    variants: tuple[Word, ...] = Field(
        ("server",), min_length=1, description="Product variants, the preferred one first."
    )
    owners: tuple[Word, ...] = Field(
        (),
        description="Ids of projects whose images are trusted besides our own.",
    )
    image: Word | None = Field(None, description="Id of one image to use instead of choosing.")
    allow_os_mismatch: bool = Field(
        False,
        description="Accept a source whose os-release is not what its product name says.",
    )


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


class VerifySettings(Section):
    """How an image proves itself before it is published."""

    level: Literal["boot", "offline"] = Field(
        "boot", description="Boot the image and use it, or only look inside."
    )
    accelerator: Literal["auto", "kvm", "tcg"] = Field(
        "auto", description="QEMU accelerator; `auto` tries KVM and falls back to TCG."
    )
    firmware: Literal["auto", "bios", "uefi"] = Field(
        "auto", description="Firmware to boot with; `auto` takes BIOS on x86_64, UEFI elsewhere."
    )
    memory: int = Field(1024, ge=512, description="MiB of memory of the virtual machine.")
    cpus: int = Field(2, ge=1, description="Processors of the virtual machine.")
    timeout: int = Field(
        900, ge=60, description="Seconds from power-on until the agent must have answered."
    )


class PublishSettings(Section):
    """How amphora images appear in Glance, and how long they stay."""

    tag: Word = Field(
        "octavia-amphora", description="Tag by which Octavia finds the image (`amp_image_tag`)."
    )
    visibility: Literal["private", "shared", "public"] = Field(
        "private", description="Visibility of the images; Octavia sees our project's private ones."
    )
    keep: int = Field(2, ge=1, description="Amphora images to keep, the promoted one included.")
    retire_after: int = Field(
        7 * 24,
        ge=0,
        description="Hours that an image stays after a newer one was created, whatever `keep` says:"
        " amphorae may still run on it.",
    )
    hide: bool = Field(True, description="Hide demoted images from default image lists.")
    properties: dict[Property, str] = Field(
        default_factory=dict, description="Further properties to set on the images."
    )


class LockSettings(Section):
    """What keeps two runs of one target apart."""

    url: Word | None = Field(
        None,
        description="tooz coordination URL; without it a file lock under `paths.state`.",
    )


class PathSettings(Section):
    """Where things are kept on this machine; all of it may be deleted between runs."""

    state: Path = Field(Path("/var/lib/retrofit"), description="Lock files.")
    cache: Path = Field(Path("/var/cache/retrofit"), description="Downloaded packages.")
    work: Path = Field(
        Path("/var/lib/retrofit/work"),
        description="Disks being built; needs about 10 GiB. Emptied of what dead runs left.",
    )
    logs: Path = Field(Path("/var/log/retrofit"), description="A directory of logs for each run.")
    keep_logs: int = Field(50, ge=1, description="Runs whose logs are kept.")


class Target(Section):
    """One image to keep current: everything a run needs to know but local paths and the lock."""

    name: Name = "default"
    cloud: CloudSettings = Field(default_factory=CloudSettings)
    source: SourceSettings = Field(default_factory=SourceSettings)
    build: BuildSettings = Field(default_factory=BuildSettings)
    verify: VerifySettings = Field(default_factory=VerifySettings)
    publish: PublishSettings = Field(default_factory=PublishSettings)


class Settings(Section):
    """The whole configuration, validated."""

    targets: tuple[Target, ...]
    lock: LockSettings = Field(default_factory=LockSettings)
    paths: PathSettings = Field(default_factory=PathSettings)
