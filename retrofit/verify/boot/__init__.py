"""The boot: the image in a machine, used as Octavia would use it."""

from __future__ import annotations

from pathlib import Path

from retrofit.config import BuildSettings, VerifySettings
from retrofit.progress import Progress
from retrofit.verify.boot.amphora import running
from retrofit.verify.boot.trial import COMPLETE, Trial, certificates_gone
from retrofit.verify.record import CheckFailedError, Record

__all__ = ["boot"]


def boot(
    image: Path,
    record: Record,
    *,
    disk_format: str,
    settings: VerifySettings,
    build: BuildSettings,
    architecture: str,
    work_dir: Path,
    log_dir: Path,
    progress: Progress,
) -> tuple[str, dict[str, str]]:
    """Boot the image, put it on trial, and cut its power; return `kvm` or `tcg`, and facts."""
    with running(
        image,
        disk_format=disk_format,
        settings=settings,
        architecture=architecture,
        work_dir=work_dir,
        log_dir=log_dir,
        progress=progress,
    ) as amphora:
        trial = Trial(amphora, settings, ssh=build.ssh, progress=progress)
        trial.run(record)
        progress("collecting evidence", None)
        try:
            trial.collect_evidence(log_dir)
            trial.settle()
        except CheckFailedError as silence:
            (log_dir / "journal-of-failed.log").write_text(f"{silence}\n")
        amphora.machine.cut_power()
        record.attempt(
            "certificates-gone-after-power-cut",
            lambda: certificates_gone(trial),
            needs=("certificate-uploaded", COMPLETE),
        )
        return amphora.hardware.accelerator, trial.facts
