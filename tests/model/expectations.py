"""How a command has to end where nobody came between: the other half of what the witness says.

The witness says what must not be done to an image; here is what must not be left undone.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from retrofit.errors import RetrofitError
from retrofit.plan import CHARM_TAG, octavia_order
from retrofit.plan.identity import installation_id
from retrofit.plan.pause import PROPERTY as PAUSED
from retrofit.runs.report import RunReport
from tests.model.installations import TRUST, Installation, Site
from tests.model.processes import Process
from tests.model.scenario import Scene
from tests.model.strangers import STOCK, copy_of
from tests.model.witness import is_evidence
from tests.unit.images import OWN


class Expectations:
    """Compares how processes ended with how things stand in the world."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.world = scene.world
        self.witness = scene.witness

    def require(self, holds: Any, promise: str, process: Process) -> None:
        if not holds:
            at = f"{process.action} of {process.installation.name} on {process.site.name}"
            self.witness.broken.append(f"{at}: {promise}")

    def after_run(self, process: Process, *, disturbed: bool) -> None:
        """Judge how a run ended; `disturbed` is whether anything came between or failed."""
        report = process.result
        if process.installation.paused_until is not None:
            self._keeps_the_pause(process)  # however it ended
        for content in process.built_from:
            self._built_from_a_source(process, content)
        if not isinstance(report, RunReport):
            self.require(
                report is None or isinstance(report, KeyboardInterrupt),
                f"raised {report!r}",
                process,
            )
            return
        self._no_bug(process, report)
        if report.outcome == "locked":
            self._was_locked_out(process)
            return
        if disturbed:
            return
        self._pause(process, report)
        if report.outcome == "paused":
            return
        if report.error is not None:
            self._had_to_fail(process, report)
            return
        self._stands_alone(process, report)
        self._meets_the_demands(process, report)
        self._cleaned_up(process)
        lost = self.world.lost.get(report.image_id or "")
        self.require(
            lost is None, f"{report.image_id} is called current, and its bytes are lost", process
        )

    def _built_from_a_source(self, process: Process, content: bytes) -> None:
        """A copy that is alone counts as a source where its owner is all the proof demanded."""
        alone = not any(
            content == copy_of(image.id)
            for image in self.scene.strangers.sources()
            if image.id not in self.world.lost
        )
        by_owner = TRUST[process.installation.trust] == "owner"
        self.require(
            content.startswith(STOCK) or (alone and by_owner),
            "built from what is no source",
            process,
        )

    def _meets_the_demands(self, process: Process, report: RunReport) -> None:
        """An image that is proven less than is wanted now is not called current in silence."""
        made = self.witness.made.get(report.image_id or "")
        wanted = process.installation
        if report.outcome != "unchanged" or made is None or made.by is None:
            return
        if made.trust < wanted.trust or made.level < wanted.level:
            said = [each for each in report.notes if "trusted as" in each or "verified as" in each]
            self.require(said, f"{report.image_id} falls short of what is wanted", process)

    def after_second_run(self, first: Process, second: Process) -> None:
        """A run that follows a good one has nothing to do, and does nothing."""
        was, now = first.result, second.result
        self.require(
            now.outcome == ("paused" if was.outcome == "paused" else "unchanged"),
            f"the second of two runs ended with {now.outcome}: {now.reasons} {now.error}",
            second,
        )
        # Once the original is retired, nobody can know a copy of an image of 0.1.0 as one.
        changes = [
            each
            for each in second.changes
            if (made := self.witness.made.get(each.split()[-1])) is None or made.copy_of is None
        ]
        self.require(not changes, f"the second of two runs did {changes}", second)

    def after_promotion(self, process: Process, *, disturbed: bool) -> None:
        """Judge how a promotion by hand ended: the image stands, or an error names the reason."""
        report = process.result
        if not isinstance(report, RunReport):
            return
        self._no_bug(process, report)
        if report.error is not None or disturbed:
            return
        standing = self._standing(process)
        self.require(
            standing == [report.image_id], f"{standing} stand after {report.outcome}", process
        )

    def _no_bug(self, process: Process, report: RunReport) -> None:
        if report.error is not None:
            self.require(report.exit_code != 1, f"a bug: {report.error.message}", process)

    def _was_locked_out(self, process: Process) -> None:
        holder, wanted = process.held_up_by, process.installation
        # The lock of 0.1.0 is named after the target, whatever its cloud and tag.
        same_name = holder is not None and (
            holder.installation.target_name == wanted.target_name and wanted.exclude_0_1
        )
        self.require(
            holder is not None and (holder.installation is wanted or same_name),
            "locked out by a run of another installation",
            process,
        )

    # Pauses.

    def _pause(self, process: Process, report: RunReport) -> None:
        holds = self._is_paused(process.installation, process.site)
        if report.error is not None and report.error.code == "config":
            return  # it refuses to do anything: a pause is one more reason
        if holds is not None:
            self.require(
                (report.outcome == "paused") is holds,
                f"ended with {report.outcome}, and is {'' if holds else 'not '}paused",
                process,
            )
        if report.outcome == "paused":
            self._keeps_the_pause(process)
            changed = [each for each in process.changes if not each.startswith("update")]
            self.require(not changed, f"changed {changed} in a pause", process)

    def _keeps_the_pause(self, process: Process) -> None:
        carriers = frozenset(process.installation.pause_carriers)
        process.installation.paused_sites[process.site] = carriers

    def _is_paused(self, installation: Installation, site: Site) -> bool | None:
        """Return whether the operators paused it; None where that cannot be known here."""
        carried = self._left(installation.pause_carriers, installation)
        handed_over = any(
            image.id not in installation.pause_carriers and image.property(PAUSED)
            for image in self.world.images.values()
            if image.property("retrofit_target") in installation.target_names
            and (
                self.witness.is_of(image.id, installation)
                or "retrofit_image_id" not in image.properties
            )
        )
        if handed_over:
            # An adopted image brings the pause that it carries, and what 0.1.0 left unfinished has
            # no tag to know it by.
            return None
        kept = installation.paused_sites.get(site)
        unended = None if kept is not None and not self._left(kept, installation) else False
        until = installation.paused_until
        if until is None:
            return unended
        if abs(until - self.world.now) < timedelta(hours=1):
            return None
        if until < self.world.now:
            return False if site is installation.paused_at else unended
        return True if carried or site is installation.paused_at else None

    def _left(self, carriers: Iterable[str], installation: Installation) -> list[str]:
        """Return which of the images that carried a pause show what became of it."""
        return [
            number
            for number in carriers
            if self.witness.is_of(number, installation)
            and number in self.world.images
            and not self.world.images[number].is_unfinished
        ]

    # What stands.

    def _standing(self, process: Process) -> list[str]:
        """Return what stands of the installation, but for what others have a tag on."""
        installation = process.installation
        return [
            image.id
            for image in self.witness.standing(installation)
            if image.id == getattr(process.result, "image_id", None)
            or not image.tags - installation.tags - {CHARM_TAG}
        ]

    def _stands_alone(self, process: Process, report: RunReport) -> None:
        standing = self._standing(process)
        wanted = [] if report.image_id is None else [report.image_id]
        self.require(
            standing == wanted, f"{standing} stand after {report.outcome} of {wanted}", process
        )

    def _cleaned_up(self, process: Process) -> None:
        left = [
            image.id
            for image in self.witness.images_of(process.installation)
            if image.is_unfinished
            and not image.protected
            and not image.tags - process.installation.tags
            and image.id in self.witness.made
            and self.witness.made[image.id].site is process.site
        ]
        self.require(not left, f"left {left} unfinished", process)
        identities = {installation_id(OWN, tag) for tag in process.installation.tags}
        evidence = [
            record
            for record in self.world.images.values()
            if is_evidence(record)
            and self.witness.is_of(record.id, process.installation)
            and record.property("retrofit_installation") in identities
            and record.property("retrofit_evidence_target") in process.installation.target_names
            and record.property("retrofit_image_id") == record.id
            and not record.protected
            and not record.tags
        ]
        of = {record.id: record.property("retrofit_evidence_of") or "" for record in evidence}
        outlived = [number for number, image in of.items() if image not in self.world.images]
        self.require(not outlived, f"left the evidence {outlived} of no image", process)
        # An unfinished image keeps its former name: another machine may be at work on it.
        images = self.witness.images_of(process.installation)
        ours = {image.id for image in images if not image.is_unfinished}
        present = (installation_id(OWN, process.installation.tag), process.installation.target_name)
        late = [
            record.id
            for record in evidence
            if of[record.id] in ours
            and present
            != (
                record.property("retrofit_installation"),
                record.property("retrofit_evidence_target"),
            )
        ]
        self.require(not late, f"left the evidence {late} with a former name", process)

    def _had_to_fail(self, process: Process, report: RunReport) -> None:
        """A run ends with an error only for a reason that is there."""
        error = report.error
        assert error is not None
        reason = self._reason_to_fail(process, error)
        self.require(
            reason is not None, f"failed for no reason: {error.code} {error.message}", process
        )

    def _reason_to_fail(self, process: Process, error: RetrofitError) -> str | None:
        installation = process.installation
        usable = [
            image
            for image in self.scene.strangers.sources()
            if image.status == "active" and image.id not in self.world.lost
        ]
        if not usable:
            return "there is no source"
        standing = self.witness.standing(installation)
        unproven = self._unproven(installation)
        if error.code == "config" and unproven:
            return f"nobody can know whose {unproven[0]} is"
        lost = [number for number in self.world.lost if f"bytes of image {number}" in error.message]
        if error.code == "publish" and lost:
            return f"{lost[0]} was read whole before its promotion, and is damaged"
        in_the_way = [
            image
            for tag in sorted(installation.tags)
            for image in self.world.eligible(tag)
            if image.owner == OWN
            and not self.witness.is_of(image.id, installation)
            and (not standing or octavia_order(image) > octavia_order(standing[0]))
        ]
        return f"{in_the_way[0].id} is in the way" if in_the_way else None

    def _unproven(self, installation: Installation) -> list[str]:
        """Return the images of 0.1.0's form that carry our tag, where others have some as well."""
        forms = [
            image
            for image in self.world.images.values()
            if image.property("retrofit_target") in installation.target_names
            and image.owner == OWN
            and not image.is_snapshot
        ]
        old = [image for image in forms if "retrofit_image_id" not in image.properties]
        others = [image for image in forms if not self.witness.is_of(image.id, installation)]
        tagged = [image.id for image in old if image.tags & installation.tags]
        return tagged if others else []
