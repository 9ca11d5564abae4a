"""Promote an image that works where Octavia finds none."""

from __future__ import annotations

import structlog

from retrofit.cloud import Glance
from retrofit.config import Target
from retrofit.errors import PublishError
from retrofit.model import Image
from retrofit.observe.target import take_inventory
from retrofit.plan.emergency import Emergency, emergency, reason
from retrofit.publish.rotate import promote, require_octavia_selects
from retrofit.runs.report import RunReport

log = structlog.get_logger(__name__)


def repair(target: Target, glance: Glance, report: RunReport) -> Emergency | None:
    """Look again, and where Octavia still finds no image promote the newest that works.

    Nothing is demoted, rejected or retired. Of what cannot be promoted the report has the reason.
    Return the emergency; None where there is none any more.
    """
    found = emergency(take_inventory(target, glance), target)
    if found is None:
        return None
    log.error("no image promoted", reason=found.why)
    report.emergency = found.why
    report.notes.extend((found.sentence(), *found.exceptions))
    for image in found.candidates:
        if _is_promoted(target, glance, report, image):
            break
    return found


def _is_promoted(target: Target, glance: Glance, report: RunReport, image: Image) -> bool:
    report.reasons.append(reason(image, target))
    try:
        with report.step("repair"):
            _promote(target, glance, report, image)
    except PublishError as error:  # its bytes are gone, or it was deleted: the next one
        report.reasons.pop()
        report.notes.append(error.message)
        return False
    require_octavia_selects(target, glance, report, image)
    return True


def _promote(target: Target, glance: Glance, report: RunReport, image: Image) -> None:
    """Promote an image; a change that Glance refuses is tried a second time.

    Another hand may change the image in the same instant. A next look would find an image that
    was made visible before the refusal, and see nothing to repair.
    """
    try:
        promote(target, glance, report, image)
    except PublishError as refused:
        if refused.__cause__ is None:  # not by Glance: it is the image that is not fit
            raise
        log.info("promoting again", reason=refused.message, image_id=image.id)
        promote(target, glance, report, image)
