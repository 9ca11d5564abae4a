"""How long a whole trial takes in emulation: the median of three, on an idle machine."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest

from retrofit.config import VerifySettings
from retrofit.system.progress import silent
from retrofit.verify.request import VerifyRequest
from retrofit.verify.verify import verify
from tests.e2e.amphora_images import amphora_image, build_settings

WITHIN = 12 * 60
ROUNDS = 3


@pytest.mark.root
@pytest.mark.slow
def test_a_whole_trial_takes_less_than_twelve_minutes_in_emulation(tmp_path: Path) -> None:
    image, seconds = amphora_image("distro", "noble"), []
    for number in range(ROUNDS):
        began = time.monotonic()
        verdict = verify(
            VerifyRequest(
                image=image,
                disk_format="qcow2",
                settings=VerifySettings(level="full", accelerator="tcg"),
                build=build_settings("distro"),
                architecture="x86_64",
                work_dir=tmp_path / f"work-{number}",
                log_dir=tmp_path / f"logs-{number}",
                progress=silent,
            )
        )
        seconds.append(time.monotonic() - began)
        print(f"{seconds[-1]:.0f} s: {verdict.how}, {len(verdict.checks)} checks")
        assert verdict.failures == ()
    print(f"median {statistics.median(seconds):.0f} s")
    assert statistics.median(seconds) < WITHIN
