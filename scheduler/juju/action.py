"""`retrofit-charm-action`: an action of a Juju charm, by the pipeline that everybody uses.

Juju calls it, or a charm does, with the name of the action in JUJU_ACTION_NAME and its four tools
on PATH. It ends with exit code 0 once Juju has been told how it went, failures too: any other exit
code makes Juju replace the message of the failure by the number.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from retrofit.config import Settings, Target
from retrofit.errors import ConfigError, InterruptedRunError, RetrofitError, error_of
from retrofit.interrupts import interruptible
from retrofit.report import RunReport
from scheduler import juju
from scheduler.action_log import progress_logged, story_to_juju
from scheduler.action_results import Facts, joined, of_pause, of_report, of_status

PR_SET_PDEATHSIG = 1
"""See prctl(2)."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """The parameters of an action, read as what they have to be. Raises ConfigError."""

    action: str
    values: Mapping[str, Any]

    def only(self, *known: str) -> None:
        """Refuse parameters that nothing would come of."""
        unknown = sorted(self.values.keys() - set(known))
        if unknown:
            raise ConfigError(
                f"action {self.action} has no parameter {', '.join(unknown)}",
                hint=f"it has: {', '.join(known) or 'none'}",
            )

    def flag(self, name: str) -> bool:
        """Return a boolean; false where nothing is given."""
        value = self.values.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise self._wrong(name, "true or false")

    def text(self, name: str) -> str | None:
        """Return a string; None where nothing is given, or an empty one."""
        value = self.values.get(name)
        if value is None or isinstance(value, str):
            return (value or "").strip() or None
        raise self._wrong(name, "a string")

    def image_id(self, name: str) -> str | None:
        """Return the id of an image as Glance writes it; None where nothing is given."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return str(uuid.UUID(text))
        except ValueError:
            raise self._wrong(name, "the id of an image in Glance") from None

    def _wrong(self, name: str, expected: str) -> ConfigError:
        return ConfigError(
            f"parameter {name} of action {self.action} is {self.values[name]!r}, expected"
            f" {expected}",
            hint=f"juju show-action {_application()} {self.action}",
        )


@dataclass(frozen=True, kw_only=True)
class Result:
    """What an action did, and what of it failed."""

    facts: Facts
    error: RetrofitError | None = None


def retrofit_image(given: Given) -> Result:
    """Bring every target up to date; `source-image` is used instead of choosing a source."""
    given.only("source-image", "force", "target")
    from retrofit import pipeline  # noqa: PLC0415  (what is imported late: see retrofit.cli)

    settings, targets = _configured(given)
    image = given.image_id("source-image")
    if image is not None:
        targets = [_with_source(_the_only(targets, "source-image"), image)]
    with progress_logged() as progress:
        reports = list(
            pipeline.run_targets(targets, settings, force=given.flag("force"), progress=progress)
        )
    return _reported(reports)


def status(given: Given) -> Result:
    """Say which image Octavia takes, how old it is, and how the last run ended."""
    given.only("target")
    from retrofit import overview  # noqa: PLC0415

    settings, targets = _configured(given)
    documents = overview.standings(targets, settings)
    silent = [each["cloud_error"] for each in documents if each["cloud_error"]]
    return Result(
        facts=joined([of_status(document) for document in documents]),
        error=error_of(**silent[0]) if silent else None,
    )


def rollback(given: Given) -> Result:
    """Go back to the image before the promoted one, or to an older one by its id."""
    given.only("image", "target")
    from retrofit import by_hand  # noqa: PLC0415

    settings, targets = _configured(given)
    target = _the_only(targets, "rollback")
    wanted = by_hand.preview_rollback(target, given.image_id("image"))
    report = by_hand.promote_by_hand(target, settings, wanted.image.id, action="rollback")
    return _reported([report])


def pause(given: Given) -> Result:
    """Stop all runs, on every unit, until a time or until `resume`."""
    given.only("reason", "until", "target")
    from retrofit.cli.until import end_of_pause  # noqa: PLC0415
    from retrofit.cloud import Glance  # noqa: PLC0415
    from retrofit.pausing import write_pause  # noqa: PLC0415
    from retrofit.plan import Pause  # noqa: PLC0415
    from retrofit.survey import take_inventory  # noqa: PLC0415

    settings, targets = _configured(given)
    reason, until = given.text("reason"), given.text("until")
    if reason is None:
        raise ConfigError(
            "a pause needs a reason",
            hint=f'juju run {_application()}/leader pause reason="moving racks"',
        )
    now = datetime.now(UTC)
    try:
        end = None if until is None else end_of_pause(until, now)
    except ValueError as error:
        raise ConfigError(f"until: {error}", hint="such as 12h, 3d, 2026-12-24T18:00") from error
    unit = os.environ.get("JUJU_UNIT_NAME", "Juju")
    ordered = Pause(reason=reason, since=now, by=f"{unit}@{socket.gethostname()}", until=end)
    facts = []
    for target in targets:
        glance = Glance.connect(target.cloud)
        inventory = take_inventory(target, glance)
        shared = write_pause(glance, inventory, target, settings.paths.state, ordered)
        where = "all machines" if shared else "this machine (no image carries it yet)"
        document = {"target": target.name, "paused": ordered.as_dict(), "seen_by": where}
        facts.append(of_pause(document))
    return Result(facts=joined(facts))


def resume(given: Given) -> Result:
    """End a pause: the next run does what there is to do."""
    given.only("target")
    from retrofit.cloud import Glance  # noqa: PLC0415
    from retrofit.pausing import pause_of, remove_pause  # noqa: PLC0415
    from retrofit.survey import take_inventory  # noqa: PLC0415

    settings, targets = _configured(given)
    facts = []
    for target in targets:
        glance = Glance.connect(target.cloud)
        inventory = take_inventory(target, glance)
        before = pause_of(inventory, target, settings.paths.state)
        remove_pause(glance, inventory, target, settings.paths.state)
        was = None if before is None else before.as_dict()
        facts.append(of_pause({"target": target.name, "paused": None, "was": was}))
    return Result(facts=joined(facts))


ACTIONS: Mapping[str, Callable[[Given], Result]] = {
    "retrofit-image": retrofit_image,
    "status": status,
    "rollback": rollback,
    "pause": pause,
    "resume": resume,
}


def main() -> None:
    """Do the action that Juju names, and tell Juju how it went."""
    _end_with_whoever_called()
    try:
        act(os.environ.get("JUJU_ACTION_NAME", ""))
    except RetrofitError as error:  # of Juju's own tools: only stderr is left to tell
        sys.stderr.write(f"error: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"hint: {error.hint}\n")
        sys.exit(error.exit_code)


def act(name: str) -> None:
    """Do an action and tell Juju. Raises NoActionError where Juju cannot be told."""
    try:
        with interruptible(), story_to_juju():
            result = _done(name, juju.parameters())
    except juju.NoActionError:
        raise
    except RetrofitError as error:
        result = _failed(error)
    except KeyboardInterrupt:
        result = _failed(InterruptedRunError("the action was interrupted", hint="run it again"))
    except Exception as error:  # a bug: Juju keeps what is on stderr with the action's results
        traceback.print_exc()
        ours = RetrofitError(f"{type(error).__name__}: {error}", hint="this is a bug of retrofit")
        result = _failed(ours)
    juju.set_results(result.facts)
    if result.error is not None:
        hint = f" (hint: {result.error.hint})" if result.error.hint else ""
        juju.fail(f"{result.error.message}{hint}")


def _done(name: str, values: Mapping[str, Any]) -> Result:
    if name not in ACTIONS:
        raise ConfigError(f"there is no action {name!r}", hint=f"there are: {', '.join(ACTIONS)}")
    return ACTIONS[name](Given(action=name, values=values))


def _failed(error: RetrofitError) -> Result:
    return Result(facts=_of_error(error), error=error)


def _application() -> str:
    return os.environ.get("JUJU_UNIT_NAME", "retrofit/0").partition("/")[0]


def _of_error(error: RetrofitError) -> Facts:
    return {
        "outcome": "failed",
        "error-code": error.code,
        "error-message": error.message,
        "error-hint": error.hint or "",
    }


def _configured(given: Given) -> tuple[Settings, list[Target]]:
    """Read the configuration, and return the targets that the action is about."""
    from retrofit.settings_file import load  # noqa: PLC0415

    settings = load()
    wanted = given.text("target")
    chosen = [each for each in settings.targets if wanted in {None, each.name}]
    if not chosen:
        known = ", ".join(each.name for each in settings.targets)
        raise ConfigError(f"there is no target {wanted}", hint=f"the configuration has: {known}")
    return settings, chosen


def _the_only(targets: list[Target], what: str) -> Target:
    if len(targets) == 1:
        return targets[0]
    names = ", ".join(target.name for target in targets)
    raise ConfigError(f"{what} is for one target, there are {names}", hint="name it: target=NAME")


def _with_source(target: Target, image: str) -> Target:
    """Return the target with the source that was asked for, from Glance whatever else is set."""
    named = {"origin": "glance", "publish_stock": False, "image": image}
    return target.model_copy(update={"source": target.source.model_copy(update=named)})


def _reported(reports: list[RunReport]) -> Result:
    failed = [report.error for report in reports if report.error is not None]
    return Result(
        facts=joined([of_report(report.as_dict()) for report in reports]),
        error=failed[0] if failed else None,
    )


def _end_with_whoever_called() -> None:
    """Ask the kernel for a SIGTERM when our parent is gone.

    `juju cancel-task` kills the charm's process, which can then pass nothing on.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


if __name__ == "__main__":
    main()
