"""Size and architecture: the flavor's disk, free space, machine type."""

from __future__ import annotations

import struct

from retrofit.model import DEBIAN_ARCHITECTURES
from retrofit.system.sizes import GIBIBYTE, MEBIBYTE
from retrofit.verify.checks import CheckFailedError
from retrofit.verify.offline.rules import Subject, rule

SPARE = 0.9
"""Part of build.free_space that must be free: an ext4 of that size holds less than it."""
FEWEST_INODES = 10000

# e_machine of the ELF header, by Debian's architecture.
ELF_MACHINES = {"amd64": 62, "arm64": 183, "ppc64el": 21, "s390x": 22, "riscv64": 243, "armhf": 40}


@rule("virtual-size")
def virtual_size(subject: Subject) -> str:
    """Make sure that the disk fits into the flavor's."""
    limit = subject.build.max_disk
    size = f"{subject.virtual_size / GIBIBYTE:.2f} GiB"
    if limit is not None and subject.virtual_size > limit * GIBIBYTE:
        raise CheckFailedError(f"{size}, and the flavor's disk has {limit} GiB")
    return size


@rule("free-space")
def free_space(subject: Subject) -> str:
    """Make sure that an amphora can write its logs and configuration."""
    free = subject.free // MEBIBYTE
    if free < subject.build.free_space * SPARE:
        raise CheckFailedError(f"{free} MiB free, build.free_space is {subject.build.free_space}")
    if subject.free_inodes < FEWEST_INODES:
        raise CheckFailedError(f"only {subject.free_inodes} inodes are free")
    return f"{free} MiB"


@rule("architecture")
def architecture(subject: Subject) -> str:
    """Compare the architecture of the image's programs with its Glance property."""
    expected = DEBIAN_ARCHITECTURES.get(subject.architecture)
    if expected is None:
        raise CheckFailedError(f"{subject.architecture} is not known")
    dpkg = subject.packages.get("dpkg")
    found = dpkg.architecture if dpkg is not None else "unknown"
    if found != expected:
        raise CheckFailedError(f"the packages are for {found}, expected {expected}")
    machine = _elf_machine(subject)
    if machine is not None and machine != ELF_MACHINES.get(expected):
        raise CheckFailedError(f"/usr/sbin/haproxy is for machine type {machine}")
    return expected


def _elf_machine(subject: Subject) -> int | None:
    program = subject.tree.resolve("/usr/sbin/haproxy")
    if program is None or not program.is_file():
        return None
    with program.open("rb") as stream:
        header = stream.read(20)
    if len(header) < 20 or header[:4] != b"\x7fELF":
        return None
    order = "<" if header[5] == 1 else ">"
    return int(struct.unpack_from(f"{order}H", header, 18)[0])
