"""What must not be done to an image, as the witness knows who made it; no plan takes part in that.

Ours is what we made, or adopted. What carries another tag stays where it is. No tag that found an
image is ever without one by our doing. Nobody cleans up what another machine may still be making. A
run goes neither back, nor against what a person wanted, nor below what is demanded.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from retrofit.model import Image
from retrofit.plan import CHARM_TAG, is_eligible, octavia_order
from tests.model.installations import LEVELS, TRUST, Installation
from tests.model.made import Made, Old, rank
from tests.model.processes import Process
from tests.model.witness import Witness, is_evidence


class Judge(Witness):
    """A witness who judges."""

    def judge(self, process: Process, what: str, before: Image | None, after: Image | None) -> None:
        """Judge one change by a process of ours, which has just been made."""
        image = before or after
        if image is None:
            return
        self._judge_whose(process, what, image)
        if before is None:
            return
        self._judge_other_tags(process, what, before, after)
        self._judge_the_gap(process, what, before, after)
        if what == "tag" and after is not None:
            self.require(not is_evidence(after), f"tagged {after.id}, which is evidence")
            self._judge_promotion(process, after)
        if what == "delete" and not is_evidence(before):
            self._judge_deletion(process, before)

    def _judge_whose(self, process: Process, what: str, image: Image) -> None:
        """An image is ours to change if we made it; another one takes an explicit command."""
        made = self.made.get(image.id) or Made(by=None, how="nobody's")
        installation = process.installation
        if process.action == "adopt":
            self._adopts(installation, image.id, made)
        if self.is_of(image.id, installation):
            return
        if CHARM_TAG in image.tags and what == "untag":
            return  # with publish.replace_charm_images
        if is_evidence(image) and self.is_of(
            image.property("retrofit_evidence_of") or "", installation
        ):
            return  # it changed hands with its image
        old = self._as_old(made)
        if old is not None and self._takes_over(process, image.id, old):
            return
        self.broken.append(
            f"{installation.name} changed ({what}) image {image.id}, which is {made.how}"
        )

    def _adopts(self, installation: Installation, image_id: str, made: Made) -> None:
        """Let an image change hands, as an operator ordered by name."""
        self.made[image_id] = replace(
            made,
            by=installation,
            copy_of=None,
            old=made.by if isinstance(made.by, Old) else made.old,
            trust=len(TRUST) - 1,
            level=len(LEVELS) - 1,
        )
        for each in self.installations:
            each.adopted.discard(image_id)

    def _as_old(self, made: Made) -> Old | None:
        """Return which installation of 0.1.0 made an image, or the original of a copy that is gone.

        Of a lone copy nobody can know any more that it is one: it is all that 0.1.0 left.
        """
        while made.copy_of is not None and made.copy_of not in self.world.images:
            made = self.made[made.copy_of]
        return made.by if isinstance(made.by, Old) else made.old

    def _takes_over(self, process: Process, image_id: str, old: Old) -> bool:
        """Take an image of 0.1.0 over where no other installation of it can be meant."""
        installation = process.installation
        if old.target_name not in installation.target_names:
            return False
        if process.action != "adopt":
            # An image says nothing of its tag once it is demoted: only others like it show that.
            shown = self._shown(process, old.target_name)
            if shown:
                return False
        installation.adopted.add(image_id)
        return True

    def _shown(self, process: Process, target_name: str) -> list[str]:
        """Return the images by which 0.1.0 with another tag shows itself among those of a name."""
        return [
            image.id
            for image in self.world.images.values()
            if image.id in self.made
            and isinstance(by := self.made[image.id].by, Old)
            and by.target_name == target_name
            and by.tag not in process.installation.tags
            and by.tag in image.tags
            and not self.is_news_of(process, image.id, by.tag)
        ]

    def _judge_other_tags(
        self, process: Process, what: str, before: Image, after: Image | None
    ) -> None:
        """Another tag is somebody's reason to keep an image where it is."""
        others = {
            tag
            for tag in before.tags - process.installation.tags - {CHARM_TAG}
            if not self.is_news_of(process, before.id, tag)
        }
        hidden = after is not None and after.hidden and not before.hidden
        if others and (what in {"untag", "delete"} or hidden):
            self.broken.append(
                f"{what} image {before.id}, which carries {', '.join(sorted(others))} as well"
            )

    def _judge_the_gap(
        self, process: Process, what: str, before: Image, after: Image | None
    ) -> None:
        for tag in before.tags:
            if is_eligible(before, tag) and not (after is not None and is_eligible(after, tag)):
                self.require(
                    self.could_take(tag)
                    or self.others_took(process, tag)
                    or self.is_news_of(process, before.id, tag),
                    f"{what} {before.id}: Octavia finds nothing by {tag} any more",
                )

    def _judge_promotion(self, process: Process, image: Image) -> None:
        made = self.made.get(image.id)
        # What stood while it ran may have its tag again: others left Octavia with nothing.
        stood = image.id in process.stood or self.left_with.get(image.id, -1) >= process.began
        lost = self.world.lost.get(image.id)
        self.require(
            lost is None or lost >= process.began or stood,
            f"promoted {image.id}, of which the store has lost bytes",
        )
        if made is None or process.action != "run" or stood:
            return
        self.require(
            made.rejected is None or made.rejected >= process.began,
            f"a run promoted {image.id}, which a person rejected",
        )
        if isinstance(made.by, Installation) and image.id not in process.made:
            wants = process.installation
            self.require(
                made.trust >= wants.trust,
                f"promoted {image.id} of trust {TRUST[made.trust]}: {TRUST[wants.trust]} is wanted",
            )
            self.require(
                made.level >= wants.level,
                f"promoted {image.id}, verified {LEVELS[made.level]}: {LEVELS[wants.level]} is"
                " wanted",
            )
        before = self.world.images.get(process.stood_first or "")
        if before is not None and is_eligible(before, process.installation.tag):
            self.require(
                rank(image) >= rank(before),
                f"a run went back by itself, from {rank(before)} to {rank(image)}",
            )

    def _judge_deletion(self, process: Process, image: Image) -> None:
        made = self.made.get(image.id)
        if made is None or image.id in process.made:
            return
        if made.process is not None and made.process is not process:
            self.require(
                made.process not in self.alive, f"deleted {image.id} while its run makes it"
            )
        if image.is_unfinished:
            common = process.installation.lock_url is not None
            self.require(
                common or made.site is process.site,
                f"cleaned up {image.id} of another machine without a common lock",
            )
            return
        self._judge_retirement(process, image)

    def _judge_retirement(self, process: Process, image: Image) -> None:
        installation = process.installation
        rules = installation.target.publish
        self.require(not image.protected, "retired a protected image")
        if not self.others_took(process, installation.tag):
            standing = (
                image
                for image in self.images_of(installation)
                if any(is_eligible(image, tag) for tag in installation.tags)
            )
            newest = max(standing, key=octavia_order, default=None)
            self.require(newest is not None, "retired with nothing promoted")
            if newest is not None:
                self.require(
                    octavia_order(image) < octavia_order(newest), f"retired {image.id}, the newer"
                )
        self.require(image.id not in process.running, f"retired {image.id}, an amphora runs on it")
        left = max(self.left_at.get(image.id, image.created_at), image.created_at)
        hours = rules.retire_after
        usage = process.usage
        unknown = (
            usage is None
            or usage.unknown
            or any(
                each.image_id is None and not each.is_starting and each.created_at <= left
                for each in usage.amphorae
            )
        )
        if unknown:
            hours = max(hours, rules.retire_after_unknown)
        self.require(
            image.id in self.lent
            or left + timedelta(hours=hours) <= self.world.now + timedelta(seconds=1),
            f"retired {image.id} before {hours} hours had passed since Octavia could take it",
        )
