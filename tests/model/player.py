"""Plays the steps of a history: commands of retrofit, changes of its configuration and machines."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from retrofit import pipeline
from retrofit.errors import RetrofitError
from retrofit.operations import manual, pause
from retrofit.operations.adopt import Wanted, adopt
from retrofit.runs.report import RunReport
from tests.model.expectations import Expectations
from tests.model.installations import Installation, Site
from tests.model.processes import Process
from tests.model.scenario import CLOCKS, Scene
from tests.model.step import Step
from tests.model.strangers import pick

PREFERRED = "24.04"
ENDLESS = datetime.max.replace(tzinfo=UTC)


class Player:
    """Plays the steps of a history in its scene."""

    def __init__(self, scene: Scene, play: Callable[[Player, Step], None]) -> None:
        self.scene = scene
        self._play = play
        self.world = scene.world
        self.expectations = Expectations(scene)
        self.absent: list[Any] = []
        self.depth = 0
        self.serials = 0

    def begin(self) -> None:
        """Begin with a source of each series."""
        self.scene.strangers.release(release="22.04")
        self.scene.strangers.release(release=PREFERRED)

    def play(self, step: Step) -> None:
        """Do one step; half a minute passes between two."""
        self.world.pass_time(seconds=30)
        self._play(self, step)

    # Who.

    def installation(self, step: Step) -> Installation:
        found = self.scene.installations
        return found[step.numbers[0] % len(found)]

    def site(self, step: Step, installation: Installation) -> Site:
        return installation.sites[step.numbers[1] % len(installation.sites)]

    # Processes.

    def process(
        self, step: Step, action: str, work: Callable[[Process], Any], **more: Any
    ) -> tuple[Process, bool]:
        """Run one; return it, and whether anything came between its calls."""
        installation = self.installation(step)
        site = self.site(step, installation)
        came_between = False

        def others(number: int) -> None:
            nonlocal came_between
            for at, act in step.acts:
                if at == number and self.depth < 2:
                    came_between = True
                    self._play(self, act)

        def guarded(process: Process) -> Any:
            try:
                return work(process)
            except (RetrofitError, KeyboardInterrupt) as error:
                return error

        self.depth += 1
        try:
            process = self.scene.processes.run(
                installation, site, action, guarded, others=others, fault=step.fault, **more
            )
        finally:
            self.depth -= 1
        return process, came_between or self.depth > 0

    def run_once(self, step: Step, *, force: bool = False) -> tuple[Process, bool]:
        """Run the pipeline, and judge how it ended."""

        def work(process: Process) -> RunReport:
            return pipeline.run_once(
                process.installation.target,
                process.installation.settings(process.site),
                force=force,
                build=self.scene.processes.build,
                verify=self.scene.processes.verify,
            )

        process, disturbed = self.process(step, "forced run" if force else "run", work)
        self.expectations.after_run(process, disturbed=disturbed or step.fault is not None)
        return process, disturbed

    def run_twice(self, step: Step) -> None:
        """A second run finds nothing to do where the first one ended well."""
        process, disturbed = self.run_once(step)
        report = process.result
        if isinstance(report, RunReport) and report.error is None and self.depth == 0:
            self.world.pass_time(seconds=30)
            calm = Step(what=step.what, numbers=step.numbers)
            again, _ = self.run_once(calm)
            if not disturbed and step.fault is None:
                self.expectations.after_second_run(process, again)

    def by_hand(self, step: Step, action: str) -> None:
        """Promote or roll back to an image, mostly one of the installation's own."""
        installation = self.installation(step)
        own = self.scene.witness.images_of(installation)
        others = self.scene.strangers.amphora_images()
        chosen = pick(own if step.numbers[2] % 4 else others, step.numbers[2] // 4)
        if chosen is None:
            return
        named = None if action == "rollback" and step.numbers[2] % 2 else chosen.id

        def work(process: Process) -> RunReport:
            target, settings = installation.target, installation.settings(process.site)
            if action == "rollback":
                wanted = manual.preview_rollback(target, named)
                return manual.rollback(target, settings, wanted.image.id)
            return manual.promote(target, settings, chosen.id)

        process, disturbed = self.process(step, action, work)
        self.expectations.after_promotion(process, disturbed=disturbed)

    def adopt(self, step: Step) -> None:
        """Take an image over by name, or what 0.1.0 left and no proof attributes."""
        installation = self.installation(step)
        chosen = pick(self.scene.strangers.amphora_images(), step.numbers[2] // 2)
        if chosen is None:
            return
        wanted = Wanted() if step.numbers[2] % 2 else Wanted(image_ids=(chosen.id,))
        self.process(
            step,
            "adopt",
            lambda process: adopt(installation.target, installation.settings(process.site), wanted),
        )

    def retire(self, step: Step) -> None:
        installation = self.installation(step)
        self.process(
            step,
            "retire",
            lambda process: manual.retire(installation.target, installation.settings(process.site)),
        )

    def pause(self, step: Step) -> None:
        installation = self.installation(step)
        until = (None, None, self.world.now + timedelta(hours=50))[step.numbers[2] % 3]

        def order(process: Process) -> Any:
            settings = installation.settings(process.site)
            return pause.pause(
                [installation.target], settings, reason="a change", until=until, by="operator"
            )

        process, _ = self.process(step, "pause", order)
        if isinstance(process.result, list):
            installation.paused_until, installation.paused_at = until or ENDLESS, process.site
            installation.pause_carriers = {
                each.id for each in self.scene.witness.images_of(installation)
            }
            installation.paused_sites[process.site] = frozenset(installation.pause_carriers)

    def resume(self, step: Step) -> None:
        installation = self.installation(step)
        process, _ = self.process(
            step,
            "resume",
            lambda process: pause.resume(
                [installation.target], installation.settings(process.site)
            ),
        )
        if isinstance(process.result, list):
            installation.paused_until = installation.paused_at = None
            installation.paused_sites.pop(process.site, None)

    # Configurations and machines.

    def rename(self, step: Step, *, announced: bool) -> None:
        """Give a target another name, with `formerly` or without."""
        installation = self.installation(step)
        self.serials += 1
        name = f"renamed-{self.serials}"
        if announced:
            installation.formerly = (*installation.formerly, installation.target_name)
            installation.target_name = name
        else:
            self._another(installation, target_name=name)

    def move_tag(self, step: Step, *, announced: bool) -> None:
        """Let Octavia find the images by another tag, with `former_tags` or without."""
        installation = self.installation(step)
        self.serials += 1
        tag = f"octavia-amphora-v{self.serials}"
        if announced:
            installation.former_tags = (*installation.former_tags, installation.tag)
            installation.tag = tag
        else:
            self._another(installation, tag=tag)

    def _another(self, installation: Installation, **changed: str) -> None:
        """Without an announcement it is another installation, on the same machines."""
        place = self.scene.installations.index(installation)
        self.scene.installations[place] = Installation(
            name=f"{installation.name}, renamed",
            tag=changed.get("tag", installation.tag),
            target_name=changed.get("target_name", installation.target_name),
            sites=installation.sites,
            lock_url=installation.lock_url,
            exclude_0_1=installation.exclude_0_1,
            trust=installation.trust,
            level=installation.level,
            packages=installation.packages,
            # The record of a pause has no tag: a machine keeps it for a target of that name.
            paused_sites=dict(installation.paused_sites),
            publish=installation.publish,
            properties=installation.properties,
            query=installation.query,
        )

    def demand(self, step: Step) -> None:
        """Demand more, or less, of sources and verifications."""
        installation = self.installation(step)
        installation.trust, installation.level = step.numbers[1] % 2, step.numbers[2] % 2

    def change_recipe(self, step: Step) -> None:
        installation = self.installation(step)
        installation.packages = () if installation.packages else ("tcpdump",)

    def empty_a_state_directory(self, step: Step) -> None:
        """A container is made anew: the same machine for its operators, without any memory."""
        installation = self.installation(step)
        site = self.site(step, installation)
        site.empty()
        again = Site(name=site.name, host=site.host, directory=site.directory, clock=site.clock)
        for each in self.scene.installations:
            each.sites = [again if one is site else one for one in each.sites]

    def set_a_clock(self, step: Step) -> None:
        installation = self.installation(step)
        clock = CLOCKS[step.numbers[2] % len(CLOCKS)]
        self.site(step, installation).clock = timedelta(hours=clock)

    # The rest of the world.

    def preferred_sources_come_and_go(self, _step: Step) -> None:
        strangers = self.scene.strangers
        if self.absent:
            strangers.put_back(self.absent)
            self.absent = []
        else:
            self.absent = strangers.take_sources_away(PREFERRED)

    def boot(self, step: Step) -> None:
        tag = self.installation(step).tag
        self.scene.strangers.boot(tag, volume=step.numbers[1] % 3 == 0)

    def octavia_comes_and_goes(self, _step: Step) -> None:
        self.world.octavia_answers = not self.world.octavia_answers

    def time_passes(self, step: Step) -> None:
        self.world.pass_time(hours=(1, 20, 100)[step.numbers[0] % 3])

    def old_machine_runs(self, step: Step) -> None:
        if self.scene.old:
            machine = self.scene.old[step.numbers[0] % len(self.scene.old)]
            machine.dies = step.numbers[1] % 5 == 0
            machine.run()

    def release_and_run(self, step: Step) -> None:
        self.scene.strangers.release()
        self.run_once(step)
