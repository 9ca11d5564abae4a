"""`retrofit-charm-action`: an action of a Juju charm, by the same operations as the command line.

Juju calls it, or a charm does, with the name of the action in JUJU_ACTION_NAME and its four tools
on PATH. It ends with exit code 0 once Juju has the result, failures too: any other exit code makes
Juju replace the message of the failure by the number.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from retrofit.config import Settings, Target
from retrofit.errors import ConfigError, InterruptedRunError, RetrofitError
from retrofit.runs.report import RunReport
from retrofit.runs.report_document import ReportDocument
from retrofit.system.signals import interruptible
from retrofit.times import end_of_pause
from scheduler.juju import tools
from scheduler.juju.log import events_to_juju, progress_logged
from scheduler.juju.results import (
    Facts,
    joined,
    of_pause,
    of_preview,
    of_report,
    of_rollover,
    of_status,
)

PR_SET_PDEATHSIG = 1
"""See prctl(2)."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """The parameters of an action, read as what they have to be. Raises ConfigError."""

    action: str
    values: Mapping[str, Any]

    def only(self, *known: str) -> None:
        """Refuse parameters that would have no effect."""
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
    """The result of an action, and its error where it failed."""

    facts: Facts
    error: RetrofitError | None = None


def retrofit_image(given: Given) -> Result:
    """Bring every target up to date; `source-image` is used instead of choosing a source."""
    given.only("source-image", "force", "target")
    from retrofit.operations import run  # noqa: PLC0415  (what is imported late: see retrofit.cli)

    settings, targets = _configured(given)
    image = given.image_id("source-image")
    if image is not None:
        targets = [_with_source(_the_only(targets, "source-image"), image)]
    with progress_logged() as progress:
        reports = list(
            run.run_targets(targets, settings, force=given.flag("force"), progress=progress)
        )
    return _reported(reports)


def status(given: Given) -> Result:
    """Show the image that Octavia selects, its age, and the last run."""
    given.only("target")
    from retrofit.operations.status import target_statuses  # noqa: PLC0415

    settings, targets = _configured(given)
    statuses = target_statuses(targets, settings)
    errors = [each.cloud_error for each in statuses if each.cloud_error]
    return Result(
        facts=joined([of_status(each) for each in statuses]),
        error=errors[0].as_error() if errors else None,
    )


def rollback(given: Given) -> Result:
    """Go back to the image before the promoted one, or to an older one by its id."""
    given.only("image", "target")
    from retrofit.operations import manual  # noqa: PLC0415

    settings, targets = _configured(given)
    target = _the_only(targets, "rollback")
    wanted = manual.preview_rollback(target, given.image_id("image"))
    report = manual.rollback(target, settings, wanted.image.id)
    return _reported([report])


def rollover(given: Given) -> Result:
    """Move running load balancers to the promoted image; `dry-run` only shows the schedule."""
    given.only("dry-run", "resume", "reason", "target")
    from retrofit.operations import rollover as operation  # noqa: PLC0415

    settings, targets = _configured(given)
    if given.flag("dry-run"):
        previews = [operation.preview_rollover(target, settings) for target in targets]
        return Result(facts=joined([of_preview(each) for each in previews]))
    if given.flag("resume"):
        for target in targets:
            operation.resume_rollover(target, settings)
    with progress_logged() as progress:
        reports = [
            operation.roll_over(target, settings, reason=given.text("reason"), progress=progress)
            for target in targets
        ]
    return _reported(reports, of=of_rollover)


def pause(given: Given) -> Result:
    """Stop all runs, on every unit, until a time or until `resume`."""
    given.only("reason", "until", "target")
    from retrofit.operations import pause as operation  # noqa: PLC0415

    settings, targets = _configured(given)
    reason, until = given.text("reason"), given.text("until")
    if reason is None:
        raise ConfigError(
            "a pause needs a reason",
            hint=f'juju run {_application()}/leader pause reason="moving racks"',
        )
    try:
        end = None if until is None else end_of_pause(until, datetime.now(UTC))
    except ValueError as error:
        raise ConfigError(f"until: {error}", hint="such as 12h, 3d, 2026-12-24T18:00") from error
    unit = os.environ.get("JUJU_UNIT_NAME", "Juju")
    changes = operation.pause(targets, settings, reason=reason, until=end, by=unit)
    return Result(facts=joined([of_pause(change.as_dict()) for change in changes]))


def resume(given: Given) -> Result:
    """End a pause."""
    given.only("target")
    from retrofit.operations import pause as operation  # noqa: PLC0415

    settings, targets = _configured(given)
    changes = operation.resume(targets, settings)
    return Result(facts=joined([of_pause(change.as_dict()) for change in changes]))


ACTIONS: Mapping[str, Callable[[Given], Result]] = {
    "retrofit-image": retrofit_image,
    "status": status,
    "rollback": rollback,
    "rollover": rollover,
    "pause": pause,
    "resume": resume,
}


def main() -> None:
    """Do the action that Juju names, and return its result to Juju."""
    _end_with_parent()
    try:
        act(os.environ.get("JUJU_ACTION_NAME", ""))
    except RetrofitError as error:  # of Juju's own tools: only stderr is left
        sys.stderr.write(f"error: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"hint: {error.hint}\n")
        sys.exit(error.exit_code)


def act(name: str) -> None:
    """Do an action and return its result to Juju. Raises NoActionError where Juju's tools fail."""
    try:
        with interruptible(), events_to_juju():
            result = _done(name, tools.parameters())
    except tools.NoActionError:
        raise
    except RetrofitError as error:
        result = _failed(error)
    except KeyboardInterrupt:
        result = _failed(InterruptedRunError("the action was interrupted", hint="run it again"))
    except Exception as error:  # Juju keeps stderr with the action's results
        traceback.print_exc()
        ours = RetrofitError(
            f"{type(error).__name__}: {error}", hint="internal error, please report"
        )
        result = _failed(ours)
    tools.set_results(result.facts)
    if result.error is not None:
        hint = f" (hint: {result.error.hint})" if result.error.hint else ""
        tools.fail(f"{result.error.message}{hint}")


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
    from retrofit.config.file import load  # noqa: PLC0415
    from retrofit.operations.targets import select_targets  # noqa: PLC0415

    settings = load()
    return settings, select_targets(settings, given.text("target"))


def _the_only(targets: list[Target], what: str) -> Target:
    if len(targets) == 1:
        return targets[0]
    names = ", ".join(target.name for target in targets)
    raise ConfigError(f"{what} is for one target, there are {names}", hint="name it: target=NAME")


def _with_source(target: Target, image: str) -> Target:
    """Return the target with an image in Glance as its source, whatever the settings are."""
    named = {"origin": "glance", "image": image}
    return target.model_copy(update={"source": target.source.model_copy(update=named)})


def _reported(
    reports: list[RunReport], of: Callable[[ReportDocument], Facts] = of_report
) -> Result:
    failed = [report.error for report in reports if report.error is not None]
    return Result(
        facts=joined([of(report.document()) for report in reports]),
        error=failed[0] if failed else None,
    )


def _end_with_parent() -> None:
    """Ask the kernel for a SIGTERM when our parent ends.

    `juju cancel-task` kills the charm's process, which cannot pass the signal on.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


if __name__ == "__main__":
    main()
