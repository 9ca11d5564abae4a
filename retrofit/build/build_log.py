"""The output of disk-image-create: its phases, and the lines with the reason of a failure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from retrofit.redaction import redacted
from retrofit.system.causes import causes
from retrofit.system.progress import Progress

# Phase as disk-image-create announces it -> how far the whole of it is then, as measured.
PHASES = {
    "root": ("copying the source's files", 0.05),
    "extra-data": ("copying the source's files", 0.12),
    "pre-install": ("preparing package installation", 0.14),
    "install": ("installing packages", 0.2),
    "post-install": ("configuring", 0.65),
    "post-root": ("configuring", 0.8),
    "block-device": ("making filesystems", 0.82),
    "pre-finalise": ("finishing", 0.9),
    "finalise": ("finishing", 0.9),
    "cleanup": ("cleaning up", 0.95),
}
_TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \|(?: |$)")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SCRIPT = re.compile(r"dib-run-parts Running \S*/([^/]+)\.d/(\S+)")
_HOOKS = re.compile(r"Running hooks from \S*/([^/]+)\.d$")
# Making the filesystems and copying the tree into them has no hook to announce it.
_CREATE = re.compile(r"block_device\.blockdevice \[-\] create\(\) called$")

# As elements/stock-image prints it.
_SETTINGS_LOST = r"^stock-image: settings did not reach the chroot: "

# What our own elements print is the cause, whatever else there is.
_OWN_REASONS = tuple(re.compile(pattern) for pattern in (_SETTINGS_LOST, r"stock_disk: "))
# Lines that name a reason, the best first, where no program is known to have printed them.
_REASONS = tuple(
    re.compile(pattern)
    for pattern in (
        r"^(?:> )?(?:E|Err\S*): ",
        r"^dpkg: error ",
        r"^(?:error|× ?|  [╰├]─▶)",  # noqa: RUF001  uv's errors
        r"\b[Ee]rror: |^ERROR\b|\bERROR: ",
        r"command not found|No such file or directory|[Pp]ermission denied",
        r"\b(?:fatal|failed|Failed|cannot|Could not|unable to|Unable to)\b",
    )
)
# Noise of the clean-up that follows every failure, and of the shell's traces.
_NOISE = re.compile(
    r"^\+|^Unmount /|^\*\*\* .* is not a directory|State already cleaned|Pickle file not found"
    r"|^Traceback|^  File \"|^INFO |^umount: |^rmdir: |^Killing chroot process"
    r"|debconf: (?:unable to initialize|falling back|\()|dpkg-preconfigure"
)
KEPT = 400
LONGEST = 500
SHOWN = 8
PIECE = 1024 * 1024
"""Characters of a line that are read at a time."""


class PhaseReader:
    """Follows the lines of a build, reports its phases, and remembers the running script."""

    def __init__(self, progress: Progress, *, begin: float, end: float) -> None:
        self._progress = progress
        self._begin = begin
        self._span = end - begin
        self._phase = ""
        self.script: str | None = None

    def __call__(self, line: str) -> None:
        """Take the next line."""
        text = plain(line)
        script = _SCRIPT.search(text)
        if script:
            self.script = f"{script[1]}.d/{script[2]}"
        hooks = script or _HOOKS.search(text)
        phase = hooks[1] if hooks else "block-device" if _CREATE.search(text) else ""
        if phase in PHASES and phase != self._phase:
            self._phase = phase
            phrase, fraction = PHASES[phase]
            self._progress(phrase, self._begin + self._span * fraction)


def plain(line: str) -> str:
    """Return a line without its timestamp and without control sequences."""
    return _CONTROL.sub("", _TIMESTAMP.sub("", line))


def failure_lines(log_file: Path) -> list[str]:
    """Return the few sentences or lines, in their order, that show why a build failed."""
    with log_file.open(errors="replace") as log:
        tail = deque((plain(line[:LONGEST].rstrip()) for line in _pieces(log)), maxlen=KEPT)
    shown = [line for line in tail if line.strip() and not _NOISE.search(line)]
    found = _first(_OWN_REASONS, shown) or causes(shown) or _first(_REASONS, shown)
    return found[-SHOWN:] or shown[-SHOWN:]


def _first(reasons: Iterable[re.Pattern[str]], shown: Sequence[str]) -> list[str]:
    """Return the lines that match the first reason which any line matches."""
    for reason in reasons:
        found = [at for at, line in enumerate(shown) if reason.search(line)]
        if found:
            return list(_unique(shown[at] for at in found))
    return []


def settings_lost(reasons: Iterable[str]) -> str:
    """Return the names of the settings that an element found missing, empty for another reason."""
    found = (re.match(f"{_SETTINGS_LOST}(.*)", line) for line in reasons)
    return next((match[1] for match in found if match), "")


def redact(log_file: Path) -> None:
    """Mask the credentials in addresses that a build's programs printed. Raises OSError."""
    partial = log_file.with_name(f"{log_file.name}.partial")
    try:
        with log_file.open(errors="surrogateescape", newline="") as log:
            if not any(redacted(piece) != piece for piece in _pieces(log)):
                return
            log.seek(0)
            with partial.open("w", errors="surrogateescape", newline="") as kept:
                kept.writelines(redacted(piece) for piece in _pieces(log))
        partial.replace(log_file)
    finally:
        partial.unlink(missing_ok=True)


def _pieces(file: TextIO) -> Iterator[str]:
    """Yield the lines of a file, one without end in pieces: cut at blanks, which addresses lack."""
    rest = ""
    while piece := rest + file.readline(PIECE):
        blank = piece.rfind(" ") + 1
        whole = piece.endswith("\n") or len(piece) < PIECE or not blank
        cut = len(piece) if whole else blank
        yield piece[:cut]
        rest = piece[cut:]


def _unique(lines: Iterator[str]) -> Iterator[str]:
    seen = set()
    for line in lines:
        if line not in seen:
            seen.add(line)
            yield line
