"""Promote an image that works where Octavia finds none; and look whether it finds one."""

from __future__ import annotations

from dataclasses import dataclass

from retrofit.cloud import Glance
from retrofit.cloud.requests import impatient
from retrofit.config import Settings, Target
from retrofit.errors import PublishError
from retrofit.notify import NoImage, record_look
from retrofit.observe.target import take_inventory
from retrofit.plan import promoted_image
from retrofit.plan.emergency import Emergency, emergency, paused_emergency
from retrofit.publish import repair as publish
from retrofit.runner import run_action
from retrofit.runs.pauses import pause_of
from retrofit.runs.report import RunReport


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """Whether Octavia finds an image of a target; `missing` is why it does not.

    `candidate` is the image that a repair would promote, None where only a build helps.
    """

    image_id: str | None = None
    missing: str | None = None
    candidate: str | None = None
    paused: bool = False


class Watcher:
    """Looks at one target again and again, by one connection: a request a look."""

    def __init__(self, target: Target, settings: Settings) -> None:
        self._target = target
        self._settings = settings
        self._glance: Glance | None = None

    def look(self) -> Sighting:
        """Ask what Octavia would ask, and where it finds nothing for the reason.

        A change is recorded, and notified. A cloud that hangs is given up as soon as `impatient`
        has it, and asked again by the next look, which connects again. Raises CloudError,
        ConfigError.
        """
        try:
            sighting = self._look()
        except Exception:
            self._glance = None
            raise
        record_look(
            self._target.name,
            self._settings,
            image_id=sighting.image_id,
            missing=None
            if sighting.missing is None
            else NoImage(why=sighting.missing, paused=sighting.paused),
        )
        return sighting

    def _look(self) -> Sighting:
        if self._glance is None:
            self._glance = Glance.connect(impatient(self._target).cloud)
        glance, target = self._glance, self._target
        selected = glance.octavia_image(target.publish.tag, owner=glance.project_id)
        if selected is not None:
            return Sighting(image_id=selected.id)
        inventory = take_inventory(target, glance)
        found = emergency(inventory, target)
        if found is None:
            promoted = promoted_image(inventory, target)
            return Sighting(image_id=None if promoted is None else promoted.id)
        paused = pause_of(inventory, target, self._settings.paths.state) is not None
        return Sighting(
            missing=paused_emergency(found, target) if paused else found.sentence(),
            candidate=found.candidates[0].id if found.candidates else None,
            paused=paused,
        )


def repair(target: Target, settings: Settings) -> RunReport:
    """Promote the newest image that works, where Octavia finds none; build nothing.

    A pause is honoured. It waits for no build. The report has a PublishError where no image may be
    promoted by itself.
    """

    def work(report: RunReport) -> None:
        glance = Glance.connect(target.cloud)
        inventory = take_inventory(target, glance)
        promoted = promoted_image(inventory, target)
        if promoted is not None:
            report.image_id, report.image_created_at = promoted.id, promoted.created_at
        found = emergency(inventory, target)
        pause = pause_of(inventory, target, settings.paths.state)
        if found is not None and pause is not None:
            report.emergency = found.why
            report.outcome = "paused"
            report.reasons.append(pause.phrase(target.name))
            report.notes.append(paused_emergency(found, target))
            return
        if found is not None:
            found = publish.repair(target, glance, report)
        if found is None:
            report.reasons.append("Octavia finds an image: there is nothing to repair")
            report.outcome = "unchanged"
        elif report.promoted:
            report.outcome = "promoted"
        else:
            raise _nothing_to_promote(found, target)

    return run_action(target, settings, "repair", work)


def _nothing_to_promote(found: Emergency, target: Target) -> PublishError:
    which = "; ".join(found.exceptions) or "none has the bytes that were verified"
    return PublishError(
        f"{found.sentence()}, and no image may be promoted by itself: {which}",
        hint=f"`retrofit --target {target.name} run-once` builds one",
    )
