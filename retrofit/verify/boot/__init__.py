"""The boot: the image in a machine, used as Octavia would use it."""

from __future__ import annotations

from retrofit.verify.boot.amphora import running
from retrofit.verify.boot.power_cut import certificates_gone
from retrofit.verify.boot.trial import CERTIFICATE, COMPLETE, Trial
from retrofit.verify.examination import Examination
from retrofit.verify.record import Record

__all__ = ["boot"]


def boot(examination: Examination, record: Record) -> tuple[str, dict[str, str]]:
    """Boot the image, put it on trial, and cut its power; return `kvm` or `tcg`, and facts."""
    with running(examination) as amphora:
        trial = Trial(amphora, examination)
        trial.run(record)
        examination.progress("collecting evidence", None)
        trial.collect_evidence(examination.log_dir)
        amphora.machine.cut_power()
        record.attempt(
            "certificates-gone-after-power-cut",
            lambda: certificates_gone(
                amphora.hardware.overlay,
                secret=trial.certificate.key_pem,
                control=amphora.credentials.server.key_pem,
            ),
            needs=(CERTIFICATE, COMPLETE),
        )
        return amphora.hardware.accelerator, trial.facts
