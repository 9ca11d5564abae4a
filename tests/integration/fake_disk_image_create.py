"""A disk-image-create that mounts, attaches and prints as the real one does, and does as told."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# Takes what disk-image-create takes, and says on the way what it says. A behaviour that does more
# which has to be undone puts that in front of `undo`.
SCRIPT = r"""
undo=()
clean_up() {
    r=$?
    echo "Unmount everything"
    for each in "${undo[@]}"; do eval "$each"; done
    exit $r
}
trap clean_up EXIT
env > "$RECORD/environment"
echo "$@" > "$RECORD/arguments"
mkdir "$TMPDIR/mnt"
mount -t tmpfs stand-in "$TMPDIR/mnt"
undo=('umount "$TMPDIR/mnt"')
loop=$(losetup --find --show "$DIB_STOCK_DISK")
undo=('losetup -d "$loop"' "${undo[@]}")
echo "2026-11-22 19:04:16.411 | Running hooks from /x/hooks/root.d"
echo "dib-run-parts Running /tmp/in_target.d/install.d/50-x"
touch "$RECORD/running"
BEHAVIOUR
while [ "$1" != -o ]; do shift; done
echo packages > "$DIB_STOCK_MANIFEST"
mv "$DIB_STOCK_DISK" "$2"
"""


@dataclass(frozen=True, kw_only=True)
class FakeDiskImageCreate:
    """The directory of its commands, and what it recorded of its last run."""

    tools: Path
    record: Path

    @property
    def python(self) -> Path:
        """An interpreter beside it, by which a build finds it: its `sys.executable`."""
        return self.tools / "python"

    def behaves(self, behaviour: str = "") -> Path:
        """Have it do this, in bash, once everything is mounted; returns the directory."""
        script = SCRIPT.replace("BEHAVIOUR", behaviour).replace("$RECORD", str(self.record))
        tool = self.tools / "disk-image-create"
        tool.write_text(f"#!/bin/bash\nset -eE\n{script}")
        tool.chmod(0o755)
        return self.tools

    def alive(self) -> list[str]:
        """Commands of it that still run."""
        found = subprocess.run(
            ["ps", "-eo", "args"], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        return [line for line in found if str(self.tools) in line]


def fake_disk_image_create(directory: Path) -> FakeDiskImageCreate:
    """Put one into a directory, with nothing more to do than to leave the disk as the image."""
    made = FakeDiskImageCreate(tools=directory / "tools", record=directory / "record")
    made.tools.mkdir()
    made.record.mkdir()
    made.python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    made.python.chmod(0o755)
    made.behaves()
    return made
