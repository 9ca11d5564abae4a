"""The domain's nouns as types; no I/O."""

from __future__ import annotations

import builtins
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path

from retrofit.times import read_time

DEBIAN_ARCHITECTURES: Mapping[str, str] = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "ppc64le": "ppc64el",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "armv7l": "armhf",
}
"""Glance's `architecture` property -> Debian's name, which simplestreams products carry."""

SERIES_RELEASES: Mapping[str, str] = {
    "focal": "20.04",
    "jammy": "22.04",
    "noble": "24.04",
    "resolute": "26.04",
}
"""Ubuntu LTS series -> release number, as product names and `os_version` carry it."""

RELEASE_SERIES: Mapping[str, str] = {release: name for name, release in SERIES_RELEASES.items()}
"""The same from release numbers to series."""


UNFINISHED = frozenset({"queued", "saving", "uploading", "importing"})
"""Glance's states of an image whose bytes are not complete yet."""

STARTING = frozenset({"BOOTING", "PENDING_CREATE"})
"""Octavia's states of an amphora whose image its API does not show yet."""

DISK_ITEMS = ("disk1.img", "uefi1.img", "disk-kvm.img")
"""Simplestreams' names for the items of a version that are whole disks, the usual one first."""


@dataclass(frozen=True, kw_only=True)
class Product:
    """A simplestreams product name, taken apart: `com.ubuntu.cloud.daily:server:24.04:amd64`."""

    name: str
    stream: str
    variant: str
    release: str
    architecture: str

    @classmethod
    def parse(cls, name: str) -> Product | None:
        """Take a product name apart; None for one that is not of Ubuntu's form."""
        match = re.fullmatch(r"com\.ubuntu\.cloud(?:\.(\w+))?:(\w+):([0-9.]+):(\w+)", name)
        if match is None:
            return None
        stream, variant, release, architecture = match.groups()
        return cls(
            name=name,
            stream=stream or "released",
            variant=variant,
            release=release,
            architecture=architecture,
        )


def version_key(version: str) -> tuple[int, ...]:
    """Order versions by their numbers: `20260911.10` is newer than `20260911.9`.

    What is not digits counts for nothing; a version without any digit is the oldest of all.
    A number of more than 18 digits is cut in pieces: Python refuses to parse very long ones.
    """
    return tuple(int(number) for number in re.findall(r"[0-9]{1,18}", version))


@dataclass(frozen=True, kw_only=True)
class Image:
    """A Glance image as listed: the standard attributes, and every other property as a string."""

    id: str
    name: str
    status: str
    owner: str
    created_at: datetime
    visibility: str = "private"
    disk_format: str | None = None
    size: int | None = None
    virtual_size: int | None = None
    min_disk: int = 0
    checksum: str | None = None
    hash_algo: str | None = None
    hash_value: str | None = None
    hidden: bool = False
    protected: bool = False
    tags: frozenset[str] = frozenset()
    properties: Mapping[str, str] = field(default_factory=dict)
    updated_at: datetime | None = field(default=None, compare=False)

    def property(self, key: str) -> str | None:
        """Return one of the additional properties, or None."""
        return self.properties.get(key)

    def time(self, key: str) -> datetime | None:
        """Return the time that a property holds; None where there is none, or an unreadable one."""
        return read_time(self.properties.get(key))

    @builtins.property
    def hashes(self) -> Mapping[str, str]:
        """Return the digests that Glance computed, in hex by algorithm, the strongest first."""
        known = {self.hash_algo: self.hash_value, "md5": self.checksum}
        return {name: value for name, value in known.items() if name and value}

    @builtins.property
    def is_unfinished(self) -> bool:
        """Return True while an upload or import is still making the image."""
        return self.status in UNFINISHED

    @builtins.property
    def is_snapshot(self) -> bool:
        """Return True for Nova's snapshot of a server: it has the properties of the server's image.

        All three are Nova's (nova/compute/utils.py, get_image_metadata and its callers).
        """
        return self.properties.get("image_type") == "snapshot" or any(
            key in self.properties for key in ("instance_uuid", "base_image_ref")
        )


@dataclass(frozen=True, kw_only=True)
class StreamItem:
    """One file of one version of a product, as the index of a simplestreams mirror lists it.

    `path` is relative to the mirror, `size` is bytes, the digests are hex. `metadata` is the
    flattened entry, as the synchroniser keeps it with an image in Glance.
    """

    product: str
    version: str
    name: str
    ftype: str
    url: str
    path: str
    size: int
    sha256: str
    md5: str | None = None
    content_id: str = ""
    support_eol: date | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The items of a mirror that are whole disks.

    `signed_by` is the fingerprint of the key that signed all of it, None without a signature.
    `refused` are the entries that must not be used, with the reasons.
    """

    where: str
    items: tuple[StreamItem, ...]
    signed_by: str | None = None
    refused: tuple[Rejection, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source image, from which a build may start: an image in Glance or an item of a mirror.

    Exactly one of `image` and `item` is given.
    """

    product: str
    version: str
    os_distro: str
    os_version: str
    architecture: str
    image: Image | None = None
    item: StreamItem | None = None

    @property
    def id(self) -> str:
        """Return the image's id, or the item's address."""
        return self.image.id if self.image is not None else self._item.url

    @property
    def name(self) -> str:
        """Return a name by which an operator finds it."""
        if self.image is not None:
            return f"{self.image.name or 'unnamed'} ({self.image.id})"
        return f"{self.product} {self.version} {self._item.name}"

    @property
    def disk_format(self) -> str | None:
        """Return the disk format of its record; all whole disks of mirrors are qcow2."""
        return self.image.disk_format if self.image is not None else "qcow2"

    @property
    def size(self) -> int | None:
        """Return its bytes, as far as they are known before a download."""
        return self.image.size if self.image is not None else self._item.size

    @property
    def hashes(self) -> Mapping[str, str]:
        """Return the digests known before a download, by algorithm, the strongest first."""
        if self.image is not None:
            return self.image.hashes
        known = {"sha256": self._item.sha256, "md5": self._item.md5}
        return {algorithm: value for algorithm, value in known.items() if value}

    @property
    def content_hash(self) -> str:
        """Return the bytes' digest: Glance's own `sha512:...`, or a mirror's `sha256:...`."""
        return next((f"{name}:{value}" for name, value in self.hashes.items()), "unknown")

    @property
    def _item(self) -> StreamItem:
        if self.item is None:
            raise ValueError("a source is an image or an item")
        return self.item


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """An image or product that was examined and rejected, and why."""

    subject: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Amphora:
    """A virtual machine of Octavia's, as its API describes it.

    `status` and `role` are Octavia's own words (`ALLOCATED`, `BOOTING`; `STANDALONE`, `MASTER`,
    `BACKUP`). `image_id` is None while it boots, `load_balancer_id` for one without a load
    balancer; `compute_id` is that of its server in Nova, `management_address` that of its port on
    the management network.
    """

    id: str
    status: str
    created_at: datetime
    image_id: str | None = None
    load_balancer_id: str | None = None
    role: str | None = None
    compute_id: str | None = None
    management_address: str | None = None

    @property
    def is_starting(self) -> bool:
        """Return True while it starts: Octavia's API does not show its image yet."""
        return self.status in STARTING


@dataclass(frozen=True, kw_only=True)
class LoadBalancer:
    """A load balancer as Octavia's API describes it; the states are Octavia's own words.

    `updated_at` is when Octavia last changed its record: since when it is in its state.
    """

    id: str
    name: str
    project_id: str
    vip_address: str | None
    provisioning_status: str
    operating_status: str
    provider: str | None = None
    flavor_id: str | None = None
    tags: frozenset[str] = frozenset()
    created_at: datetime | None = None
    updated_at: datetime | None = None
    has_listeners: bool = False
    vip_subnet_id: str | None = None
    vip_network_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Usage:
    """The amphorae of the cloud; `unknown` is the reason why they are not known, else None.

    `required` is whether nothing may be deleted as long as they are not known.
    """

    amphorae: tuple[Amphora, ...] = ()
    unknown: str | None = None
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Everything that Octavia runs; `usage.unknown` is the reason why that is not known, else None.

    `image_tags` maps flavors to the image tag that they name, where they name one, `flavors` the
    ids of flavors to their names; `kinds` maps load balancers, by id, to their kinds
    (`retrofit.control_plane.language`).
    """

    usage: Usage
    load_balancers: tuple[LoadBalancer, ...] = ()
    image_tags: Mapping[str, str] = field(default_factory=dict)
    flavors: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BuiltImage:
    """An amphora image file on local disk, before it is uploaded.

    Sizes are bytes, `min_disk` is GiB as Glance counts it, `sha512` is of the file at `path`.
    `evidence` is a tar file of its packages and their sources, as programs of the image wrote it.
    """

    path: Path
    disk_format: str
    size: int
    virtual_size: int
    min_disk: int
    sha512: str
    manifest: Path | None = None
    evidence: Path | None = None


class Outcome(StrEnum):
    """Outcome of a check."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"
    SKIPPED = "skipped"
    WARNED = "warned"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One named check of a verification, its outcome and finding. `seconds` is its duration."""

    name: str
    outcome: Outcome
    detail: str
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of a verification: every check, the way it was done, and facts read on the way.

    `how` is `offline`, or level and accelerator (`full-kvm`); `facts` become image properties
    (`haproxy_version`, `amphora_agent_version`, `kernel_version`).
    """

    checks: tuple[Check, ...]
    how: str
    facts: Mapping[str, str]

    @property
    def failures(self) -> tuple[Check, ...]:
        """Return the checks that failed, in the order they ran."""
        return tuple(check for check in self.checks if check.outcome is Outcome.FAILED)

    @property
    def passed(self) -> bool:
        """Return True if at least one check ran and none failed."""
        return bool(self.checks) and not self.failures
