"""Every kind of step that a history may have, how often it is drawn, and what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.model.player import Player
from tests.model.step import Step


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of step: how often it is drawn, and whether it is a process of ours."""

    play: Callable[[Player, Step], object]
    weight: float = 1
    is_process: bool = False


def play_step(player: Player, step: Step) -> None:
    """Do one step."""
    STEPS[step.what].play(player, step)


def _stranger(what: str) -> Callable[[Player, Step], None]:
    return lambda player, step: player.scene.strangers.act(what, step.numbers[2])


def _to_evidence(what: str) -> Callable[[Player, Step], None]:
    return lambda player, step: player.scene.strangers.act_on_evidence(what, step.numbers[2])


BY_HAND = (
    "untag by hand", "tag by hand", "tag for a flavor", "hide by hand", "show by hand", "protect",
    "unprotect", "delete by hand", "deactivate", "reactivate",
)  # fmt: skip
COPIES = (
    "copy by way of a volume", "copy by a replicator", "save and create", "snapshot by Nova",
    "plant a look-alike",
)  # fmt: skip
TO_EVIDENCE = ("delete by hand", "tag for a flavor", "protect", "copy by a replicator")
STEPS: dict[str, Kind] = {
    "run": Kind(play=lambda p, s: p.run_once(s), weight=16, is_process=True),
    "run twice": Kind(play=Player.run_twice, weight=8, is_process=True),
    "release and run": Kind(play=Player.release_and_run, weight=14, is_process=True),
    "forced run": Kind(play=lambda p, s: p.run_once(s, force=True), weight=1, is_process=True),
    "promote": Kind(play=lambda p, s: p.by_hand(s, "promote"), weight=3, is_process=True),
    "rollback": Kind(play=lambda p, s: p.by_hand(s, "rollback"), weight=4, is_process=True),
    "retire": Kind(play=Player.retire, weight=3, is_process=True),
    "adopt": Kind(play=Player.adopt, weight=1, is_process=True),
    "pause": Kind(play=Player.pause, weight=2),
    "resume": Kind(play=Player.resume, weight=3),
    "rename": Kind(play=lambda p, s: p.rename(s, announced=True), weight=1.5),
    "rename silently": Kind(play=lambda p, s: p.rename(s, announced=False), weight=0.3),
    "move the tag": Kind(play=lambda p, s: p.move_tag(s, announced=True), weight=1.5),
    "move the tag silently": Kind(play=lambda p, s: p.move_tag(s, announced=False), weight=0.5),
    "demand": Kind(play=Player.demand, weight=2),
    "change the recipe": Kind(play=Player.change_recipe, weight=1),
    "empty a state directory": Kind(play=Player.empty_a_state_directory, weight=1),
    "set a clock": Kind(play=Player.set_a_clock, weight=1),
    "release": Kind(play=lambda p, _: p.scene.strangers.release(), weight=4),
    "release of an older series": Kind(
        play=lambda p, _: p.scene.strangers.release(release="22.04"), weight=1
    ),
    "preferred sources come and go": Kind(play=Player.preferred_sources_come_and_go, weight=2),
    "copy of a source, raw": Kind(
        play=lambda p, _: p.scene.strangers.copy_a_source("raw"), weight=0.5
    ),
    "copy of a source": Kind(
        play=lambda p, _: p.scene.strangers.copy_a_source("qcow2"), weight=0.5
    ),
    "boot": Kind(play=Player.boot, weight=4),
    "an amphora comes up or goes": Kind(
        play=lambda p, s: p.scene.strangers.come_up_or_stop(s.numbers[0]), weight=4
    ),
    "Octavia comes and goes": Kind(play=Player.octavia_comes_and_goes, weight=2),
    "time passes": Kind(play=Player.time_passes, weight=6),
    "0.1.0 runs": Kind(play=Player.old_machine_runs, weight=3),
    **{what: Kind(play=_stranger(what), weight=1) for what in BY_HAND},
    **{f"{what}, to evidence": Kind(play=_to_evidence(what), weight=0.5) for what in TO_EVIDENCE},
    **{what: Kind(play=_stranger(what), weight=1) for what in COPIES},
    "lose the bytes": Kind(play=_stranger("lose the bytes"), weight=0.5),
    "lose the last bytes": Kind(play=_stranger("lose the last bytes"), weight=0.5),
}
"""Every kind of step, by the name that a failed history shows."""
WEIGHTS = [kind.weight for kind in STEPS.values()]
INTERFERENCE = (
    "run", "run", "run", "run", "promote", "release", "boot", "0.1.0 runs", *BY_HAND, *COPIES,
)  # fmt: skip
"""What may happen between two calls of a process."""
