"""Runs that take seconds: all of them is real but what diskimage-builder and a boot would do."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

from retrofit.model import Check, Outcome, Verdict
from retrofit.verify.mounting import exposed
from tests.faults.builds import Builds
from tests.integration.stage import RETENTION_AT_ONCE, TAG, Stage
from tests.integration.stand_in import stand_in
from tests.unit import disks
from tests.unit.disks import MIB

ROOT_OFFSET = 12 * MIB
SETTINGS = f"{RETENTION_AT_ONCE}keep = 1\n[build]\nfree_space = 64\n"
ONE_BUILD_FOR_TWO = f"""{SETTINGS}
[target.one]
[target.two.publish]
tag = "{TAG}-two"
"""

# Mounts of both kinds, one in the other; a loop device besides; children that wait to be waited
# for, and one that does not; files that grow. disk-image-create does it all, for minutes. Its
# clean-up takes a while, and has to find the directory as the build left it.
BUSY = rf"""
undo=("${{undo[@]}}" 'sleep 0.3' '[ -e "$TMPDIR/mnt" ] || touch "$RECORD/robbed"')
mkdir "$TMPDIR/mnt/inner" "$TMPDIR/root"
mount -t tmpfs stand-in "$TMPDIR/mnt/inner"
undo=('umount "$TMPDIR/mnt/inner"' "${{undo[@]}}")
root=$(losetup --find --show --read-only --offset {ROOT_OFFSET} "$DIB_STOCK_DISK")
undo=('losetup -d "$root"' "${{undo[@]}}")
mount -o ro "$root" "$TMPDIR/root"
undo=('umount "$TMPDIR/root"' "${{undo[@]}}")
setsid bash -c "sleep 100 & wait" $RECORD & disown
for script in 10-first 20-second 30-third 40-fourth; do
    echo "dib-run-parts Running /tmp/in_target.d/install.d/$script"
    head -c 1M /dev/urandom > "$TMPDIR/mnt/inner/$script"
    cp -r "$TMPDIR/root/." "$TMPDIR/mnt/inner/tree-$script"
    bash -c "sleep 0.1 & wait" $RECORD
done
"""


def quick_builds(stage: Stage, settings: str = SETTINGS) -> Builds:
    """Have a stand-in for disk-image-create, and a small disk in the layout of a stock image."""
    stage.toml = settings
    directory = stage.path("stand-in")
    directory.mkdir(parents=True)
    tool = stand_in(directory)
    tool.behaves(BUSY)
    raw = disks.jammy(stage.directory / "stock.raw", size=128 * MIB)
    qcow2 = raw.with_suffix(".qcow2")
    disks.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2)
    return Builds(
        stage=stage,
        stock=qcow2,
        verify=looked_into,
        # A build finds disk-image-create beside the interpreter.
        prepare=partial(setattr, sys, "executable", str(tool.python)),
        robbed=(tool.record / "robbed").exists,
    )


def looked_into(image: Path, *, disk_format: str, work_dir: Path, **_asked: Any) -> Verdict:
    """Verify that the image can be mounted and has a release, and find that it is an amphora."""
    try:
        with exposed(image, disk_format, work_dir / "inside") as found:
            release = (found.root / "usr/lib/os-release").read_text()
    finally:
        shutil.rmtree(work_dir, ignore_errors=True)
    check = Check(name="release", outcome=Outcome.PASSED, detail=release.splitlines()[0])
    return Verdict(checks=(check,), how="offline", facts={"haproxy_version": "2.8.5"})
