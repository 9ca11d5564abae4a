"""Settings of `[verify]`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from retrofit.config.section import Section


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
