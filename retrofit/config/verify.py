"""Settings of `[verify]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from retrofit.config.numbers import DAY_SECONDS, Within
from retrofit.config.section import Section


class VerifySettings(Section):
    """How an image is verified before it is published."""

    level: Literal["full", "boot", "offline"] = Field(
        "full",
        description="Boot the image twice and ask of it all that load balancers ask (`full`), boot"
        " it once and ask for HTTP and HTTPS (`boot`), or only inspect its files (`offline`).",
    )
    accelerator: Literal["auto", "kvm", "tcg"] = Field(
        "auto", description="QEMU accelerator. `auto` tries KVM and falls back to TCG."
    )
    firmware: Literal["auto", "bios", "uefi"] = Field(
        "auto", description="Firmware to boot with. `auto` uses BIOS on x86_64 and UEFI elsewhere."
    )
    memory: Annotated[int, Within(512, 1 << 20)] = Field(
        1024, description="Memory of the virtual machine in MiB."
    )
    cpus: Annotated[int, Within(1, 255)] = Field(
        2, description="Number of processors of the virtual machine."
    )
    timeout: Annotated[int, Within(60, DAY_SECONDS)] = Field(
        900, description="Seconds from power-on until the amphora agent must answer."
    )
