"""How tests run the elements' scripts: with files and commands of their own, out of harm's way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ELEMENTS = Path(__file__).parents[3] / "elements"
TOOLS = Path(sys.executable).parent
# Where a test's files are seen from inside: the checkout and they may lie below /var themselves.
INSIDE = Path("/mnt")
FAKES = ("systemctl", "apt-get", "install-packages", "add-apt-repository")


def run(*argv: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{TOOLS}:{os.environ['PATH']}"
    return subprocess.run(
        argv,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ELEMENTS.parent,
        env={"PATH": path, "LC_ALL": "C.UTF-8", **environment},
    )


def required(command: str) -> str:
    found = shutil.which(command, path=f"{TOOLS}:{os.environ['PATH']}")
    assert found, f"{command} is needed by this test"
    return found


def within(script: Path, root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script where /etc and /var are those below `root`, in a mount namespace of its own.

    Commands that would reach further are recorded in `root/commands`, and do nothing.
    """
    hooks = root / "hooks"
    copy = hooks / script.parent.name / script.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(script, copy)
    for file in script.parents[1].iterdir():
        if file.is_file():
            shutil.copy(file, hooks)
    fakes = root / "fakes"
    fakes.mkdir(exist_ok=True)
    for name in FAKES:
        if (fakes / name).exists():
            continue
        (fakes / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {INSIDE}/commands\n')
        (fakes / name).chmod(0o755)
    # awk is found by /etc/alternatives.
    for directory in ("etc/alternatives", "var"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    for tool in ELEMENTS.glob("*/bin/*"):
        shutil.copy(tool, fakes)
    mounts = (
        f"mount --bind {root} {INSIDE}",
        f"mount --bind /etc/alternatives {INSIDE}/etc/alternatives",
        f"mount --rbind {INSIDE}/etc /etc",
        f"mount --bind {INSIDE}/var /var",
    )
    namespace = ["unshare", "--mount"]
    if os.geteuid() != 0:
        namespace.append("--map-root-user")
    return run(
        *namespace,
        *("/bin/sh", "-euc", f"{'; '.join(mounts)}; {INSIDE / copy.relative_to(root)}"),
        **{"PATH": f"{INSIDE}/fakes:{os.environ['PATH']}", **environment},
    )


def write_file(root: Path, name: str, text: str) -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file
