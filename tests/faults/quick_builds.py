"""Runs that take seconds: all of them is real but what diskimage-builder and a boot would do."""

from __future__ import annotations

import shutil
import sys
from functools import partial

from retrofit.model import Check, Outcome, Verdict
from retrofit.verify.mounting import mounted_image
from retrofit.verify.request import VerifyRequest
from tests.component import disks
from tests.component.disks import MIB
from tests.faults.builds import Builds
from tests.integration.fake_disk_image_create import fake_disk_image_create
from tests.integration.harness import RETENTION_AT_ONCE, TAG, CloudHarness

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


def quick_builds(harness: CloudHarness, settings: str = SETTINGS) -> Builds:
    """Have a stand-in for disk-image-create, and a small disk in the layout of a stock image."""
    harness.toml = settings
    directory = harness.path("stand-in")
    directory.mkdir(parents=True)
    tool = fake_disk_image_create(directory)
    tool.behaves(BUSY)
    raw = disks.jammy(harness.directory / "stock.raw", size=128 * MIB)
    qcow2 = raw.with_suffix(".qcow2")
    disks.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2)
    return Builds(
        harness=harness,
        stock=qcow2,
        verify=looked_into,
        # A build finds disk-image-create beside the interpreter.
        prepare=partial(setattr, sys, "executable", str(tool.python)),
        robbed=(tool.record / "robbed").exists,
    )


def looked_into(request: VerifyRequest) -> Verdict:
    """Verify that the image can be mounted and has a release, and find that it is an amphora."""
    try:
        with mounted_image(
            request.image, request.disk_format, request.work_dir / "inside"
        ) as found:
            release = (found.root / "usr/lib/os-release").read_text()
    finally:
        shutil.rmtree(request.work_dir, ignore_errors=True)
    check = Check(name="release", outcome=Outcome.PASSED, detail=release.splitlines()[0])
    return Verdict(checks=(check,), how="full-tcg", facts={"haproxy_version": "2.8.5"})
