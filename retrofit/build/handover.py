"""Files for a build's processes: their environment, a sudo, and a list of settings to compare.

None of it goes by way of sudo's policy: sudo-rs has no -E, and secure_path replaces PATH. Values
with credentials are in no argv: the environment is a file that supervise reads and deletes.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from retrofit.build.command import BuildPaths, BuildPlan
from retrofit.build.recipe import Recipe
from retrofit.errors import BuildError
from retrofit.system import process

SUDO = Path(__file__).parent.parent / "dib" / "sudo"
DECIDED_LATER = frozenset({"DIB_NO_TMPFS", "DIB_MIN_TMPFS", "DIB_IMAGE_SIZE", "DIB_CHECKSUM"})
"""Variables that disk-image-create itself may set to another value."""
OTHERS = ("DISTRO_NAME", "http_proxy", "https_proxy", "no_proxy")


def hand_over(plan: BuildPlan, recipe: Recipe, paths: BuildPaths) -> None:
    """Write the files that a build's processes begin with. Raises BuildError."""
    try:
        paths.programs.mkdir()
        provide_sudo(paths.programs)
        _write(paths.settings, listing(plan.environment, recipe).encode(), mode=0o644)
        words = (f"{name}={value}" for name, value in plan.environment.items())
        _write(paths.environment, os.fsencode("\0".join(words)), mode=0o600)
    except OSError as error:
        raise BuildError(
            f"cannot write {error.filename}: {error.strerror}",
            hint="paths.work must be writable, and the installation of retrofit complete",
        ) from error


def provide_sudo(directory: Path) -> None:
    """Put the sudo of a build into a directory of its own; raises BuildError.

    A process of its own writes it: whoever starts a program while a thread of ours writes has our
    descriptor for a moment, and as long as anybody may write to a program, it cannot be run
    (ETXTBSY, execve(2)).
    """
    try:
        process.run(("install", "--mode=0755", SUDO, directory / "sudo"), timeout=30)
    except process.CommandError as error:
        raise BuildError(
            f"cannot write the build's own sudo: {error}",
            hint=f"see that {directory.parent} can be written, or install retrofit again",
        ) from error


def listing(environment: Mapping[str, str], recipe: Recipe) -> str:
    """Return a salt, and a line with name and salted SHA-256 for each setting of a build.

    An element compares them inside the chroot with what arrived there.
    """
    salt = secrets.token_hex(16)
    lines = [salt]
    for name in sorted(_settings(environment, recipe)):
        digest = hashlib.sha256(f"{salt}{environment[name]}".encode()).hexdigest()
        lines.append(f"{name} {digest}")
    return "\n".join((*lines, ""))


def _settings(environment: Mapping[str, str], recipe: Recipe) -> Iterator[str]:
    for name in environment:
        sent = name.startswith("DIB_") or name in OTHERS or name in recipe.environment
        if sent and name not in DECIDED_LATER:
            yield name


def _write(path: Path, content: bytes, *, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:  # noqa: PTH123 -- of a descriptor
        os.fchmod(descriptor, mode)
        file.write(content)
